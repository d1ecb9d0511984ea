export type { ExposerDeps, MoverPodSettings } from "./exposer-deps.ts";
export { type LocationSecrets, readLocationSecrets, readRepositoryPassword } from "./mover-secret.ts";
