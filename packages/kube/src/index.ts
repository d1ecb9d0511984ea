export * from "./core.ts";
export * from "./types.ts";
