export * from "./bucket.ts";
export * from "./crds.ts";
export * from "./data-path.ts";
export * from "./generated/index.ts";
export * from "./label-value.ts";
export * from "./labels.ts";
export * from "./location-secrets.ts";
export * from "./meta.ts";
