export * from "./fake-kube-client.ts";
export { applyJsonPatch, applyMergePatch } from "./json-patches.ts";
