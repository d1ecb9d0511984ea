export * from "./manifests.ts";
export * from "./recovery-file.ts";
