export * from "./golden.ts";
export * from "./seal.ts";
