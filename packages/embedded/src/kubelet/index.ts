export type { ImageMapping } from "./images.ts";
export { type Kubelet, type StartKubeletOptions, startKubelet } from "./kubelet.ts";
export { checkNamespaces, isRootless } from "./namespaces.ts";
