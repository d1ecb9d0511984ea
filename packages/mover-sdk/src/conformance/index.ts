export * from "./conformance.ts";
export * from "./sample.ts";
