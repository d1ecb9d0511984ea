export type { LocationSecrets } from "@drayage/api";
export type { ExposerDeps, MoverPodSettings } from "./exposer-deps.ts";
export { type InheritedPod, inheritedPod, inheritedSettings } from "./inherited-settings.ts";
export { buildRequestSecret, missingFiles, programOf } from "./mover-program.ts";
export { readLocationSecrets } from "./mover-secret.ts";
export { isForsaken, retireContent } from "./retire-content.ts";
