export { openGcsObjectStore } from "./gcs-object-store.ts";
export * from "./gcs-options.ts";
export { openGcsStorage } from "./gcs-storage.ts";
export * from "./location-config.ts";
