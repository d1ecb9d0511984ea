/** Storages for tests: in memory, and with faults on demand. */
export { MemoryObjectStore } from "../memory/memory-object-store.ts";
export { MemoryStorage } from "../memory/memory-storage.ts";
export * from "./faulty-storage.ts";
export * from "./sha256-ranges.ts";
export * from "./token-endpoint.ts";
