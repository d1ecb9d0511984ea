/** What a repository needs of a store, checked on the store itself. */
export * from "./provider-checks.ts";
export * from "./validate-provider.ts";
