export { MemoryStorage } from "@drayage/blob/testing";
export * from "./memory-contents.ts";
export * from "./memory-objects.ts";
export * from "./memory-repository.ts";
