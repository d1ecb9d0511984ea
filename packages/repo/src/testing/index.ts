export * from "./memory-contents.ts";
export * from "./memory-objects.ts";
