/**
 * The built-in kinds of Kubernetes 1.34 as data: where each is served and the structure of its objects. Made by tools/import-kubernetes-openapi.ts from a
 * running API server; names, numbers and types only.
 */
import { readFileSync } from "node:fs";

/** An OpenAPI v3 schema as the API server publishes it, without descriptions. */
export interface OpenApiSchema {
  readonly type?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, OpenApiSchema>>;
  readonly additionalProperties?: OpenApiSchema | boolean;
  readonly items?: OpenApiSchema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly $ref?: string;
  readonly allOf?: readonly OpenApiSchema[];
  readonly oneOf?: readonly OpenApiSchema[];
  readonly "x-kubernetes-group-version-kind"?: readonly { readonly group: string; readonly version: string; readonly kind: string }[];
  readonly "x-kubernetes-patch-strategy"?: string;
  readonly "x-kubernetes-patch-merge-key"?: string;
  readonly "x-kubernetes-list-type"?: string;
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: string;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
}

export interface BuiltInSubresource {
  readonly name: string;
  readonly verbs: readonly string[];
  /** The kind that is sent and answered when it is not that of the resource. */
  readonly kind?: { readonly group: string; readonly version: string; readonly kind: string };
}

export interface BuiltInResource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly BuiltInSubresource[];
  /** Name of its schema in `builtInSchemas()`. */
  readonly schema: string | undefined;
}

type ResourceRow = Omit<BuiltInResource, "group" | "version" | "plural" | "schema"> & { schema?: string };

/** Every built-in resource, in the order in which a real server lists its groups. */
export function builtInResources(): readonly BuiltInResource[] {
  resources ??= Object.entries(readTable<Partial<ResourceRow> & Pick<ResourceRow, "kind" | "singular" | "namespaced" | "verbs">>("resources.json")).map(
    ([path, row]) => {
      const [group = "", version = "", plural = ""] = path.split("/");
      return { shortNames: [], categories: [], subresources: [], ...row, group, version, plural, schema: row.schema };
    },
  );
  return resources;
}

/** The schemas of the built-in kinds by their published names, as `io.k8s.api.core.v1.Pod`. References are `#/components/schemas/NAME`. */
export function builtInSchemas(): Readonly<Record<string, OpenApiSchema>> {
  schemas ??= readTable<OpenApiSchema>("schemas.json");
  return schemas;
}

let resources: readonly BuiltInResource[] | undefined;
let schemas: Readonly<Record<string, OpenApiSchema>> | undefined;

const data = new URL("./data/", import.meta.url);

/** A table of the data folder. Loaded on first use, so that a program that never serves the API does not pay for it. */
export function readTable<T>(name: string): Record<string, T> {
  return JSON.parse(readFileSync(new URL(name, data), "utf8")) as Record<string, T>;
}
