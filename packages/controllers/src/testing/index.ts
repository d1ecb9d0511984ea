export * from "./simulated-storage.ts";
