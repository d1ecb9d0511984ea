export type { LocationSecrets } from "@drayage/api";
export type { ExposerDeps, MoverPodSettings } from "./exposer-deps.ts";
export { readLocationSecrets } from "./mover-secret.ts";
