export * from "./data-mover.ts";
export * from "./description.ts";
export * from "./parameters.ts";
export * from "./pod-contract.ts";
export * from "./store.ts";
