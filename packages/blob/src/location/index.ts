export * from "./location-fields.ts";
export * from "./open-location.ts";
export * from "./storage-url.ts";
