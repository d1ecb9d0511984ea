export * from "./azure-credentials.ts";
export { openAzureObjectStore } from "./azure-object-store.ts";
export * from "./azure-options.ts";
export { openAzureStorage } from "./azure-storage.ts";
export * from "./location-config.ts";
