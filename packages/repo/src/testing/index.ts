export { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
export { rememberingKeys } from "../format/key-hierarchy.ts";
export * from "./memory-contents.ts";
export * from "./memory-objects.ts";
export * from "./memory-repository.ts";
