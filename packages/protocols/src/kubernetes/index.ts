export * from "./built-in-resources.ts";
export * from "./protobuf.ts";
