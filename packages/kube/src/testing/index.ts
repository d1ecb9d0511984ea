export { clone } from "./clone.ts";
export * from "./fake-call.ts";
export { FakeKubeClient } from "./fake-kube-client.ts";
export { applyJsonPatch, applyMergePatch } from "./json-patches.ts";
export { type PermissionRule, type Permissions, type PermittedClient, permittedClient } from "./permitted-client.ts";
