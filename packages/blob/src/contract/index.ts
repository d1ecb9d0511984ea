/** The contract suites: one set of cases that every provider and every wrapper passes. */
export * from "./blob-storage-contract.ts";
export * from "./object-store-contract.ts";
