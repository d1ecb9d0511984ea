export * from "./built-in-schema.ts";
export * from "./json.ts";
export * from "./merge-patch.ts";
export * from "./schema-walk.ts";
export * from "./strategic-merge-patch.ts";
