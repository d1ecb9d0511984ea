export * from "./crds.ts";
export * from "./generated/index.ts";
export * from "./meta.ts";
