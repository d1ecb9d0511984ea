export * from "./object-store.ts";
export * from "./storage.ts";
