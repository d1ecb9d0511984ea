/**
 * OpenAPI v3, one document a group version. Clients use the schemas to explain and to merge, and the paths to learn which kinds there are and which options a patch takes.
 */
import { builtInSchemas, type OpenApiSchema } from "@drayage/protocols/kubernetes";
import { sha256 } from "./hashes.ts";
import { isObject, type JsonObject } from "./json.ts";
import { type Catalog, type ServedResource, schemaOf } from "./served-resource.ts";

const REFERENCE = "#/components/schemas/";

interface Document {
  readonly body: JsonObject;
  readonly hash: string;
}

export class OpenApi {
  readonly #catalog: Catalog;
  #generation = -1;
  #documents = new Map<string, Document>();

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** Where each document is. The hash in the address lets clients keep what did not change. */
  index(): JsonObject {
    this.#refresh();
    const paths = this.#paths().map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${this.#document(path)?.hash ?? ""}` }] as const);
    return { paths: Object.fromEntries(paths) };
  }

  /** The document of `api/v1` or `apis/GROUP/VERSION`, or undefined. */
  document(path: string): JsonObject | undefined {
    this.#refresh();
    return this.#document(path)?.body;
  }

  #refresh(): void {
    if (this.#generation === this.#catalog.generation) return;
    this.#generation = this.#catalog.generation;
    this.#documents = new Map();
  }

  #paths(): string[] {
    return [...new Set(this.#catalog.all().map(rootOf))].sort();
  }

  #document(path: string): Document | undefined {
    const known = this.#documents.get(path);
    if (known !== undefined) return known;
    const resources = this.#catalog.all().filter((it) => rootOf(it) === path);
    if (resources.length === 0) return undefined;
    const body = documentOf(resources);
    const document = { body, hash: sha256(JSON.stringify(body)).toString("hex").toUpperCase() };
    this.#documents.set(path, document);
    return document;
  }
}

const rootOf = (it: ServedResource): string => (it.group === "" ? `api/${it.version}` : `apis/${it.group}/${it.version}`);

function documentOf(resources: readonly ServedResource[]): JsonObject {
  const schemas = new Map<string, OpenApiSchema>();
  const paths: JsonObject = {};
  for (const resource of resources) {
    const name = schemaName(resource);
    const schema = schemaOf(resource);
    if (schema !== undefined) collect(name, schema, schemas);
    Object.assign(paths, pathsOf(resource, name));
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.34.4" },
    paths,
    components: { schemas: Object.fromEntries([...schemas].sort(([a], [b]) => (a < b ? -1 : 1))) as unknown as JsonObject },
  };
}

/** Reversed domain, version and kind for what is not in the built-in table: `io.velero.v1.Backup`. */
function schemaName(resource: ServedResource): string {
  return resource.schemaName ?? `${resource.group.split(".").reverse().join(".")}.${resource.version}.${resource.kind}`;
}

/** A schema with everything it refers to. */
function collect(name: string, schema: OpenApiSchema, into: Map<string, OpenApiSchema>): void {
  if (into.has(name)) return;
  into.set(name, schema);
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) {
      for (const item of node) walk(item);
    } else if (isObject(node)) {
      const reference = node["$ref"];
      if (typeof reference === "string" && reference.startsWith(REFERENCE)) {
        const target = reference.slice(REFERENCE.length);
        const found = builtInSchemas()[target];
        if (found !== undefined) collect(target, found, into);
      }
      for (const child of Object.values(node)) walk(child);
    }
  };
  walk(schema);
}

const ACTIONS: Readonly<Record<string, readonly [method: string, action: string, onItem: boolean]>> = {
  list: ["get", "list", false],
  create: ["post", "post", false],
  deletecollection: ["delete", "deletecollection", false],
  get: ["get", "get", true],
  update: ["put", "put", true],
  patch: ["patch", "patch", true],
  delete: ["delete", "delete", true],
};

function pathsOf(resource: ServedResource, schema: string): JsonObject {
  const base = `/${rootOf(resource)}/${resource.namespaced ? "namespaces/{namespace}/" : ""}${resource.plural}`;
  const paths: JsonObject = { [base]: {}, [`${base}/{name}`]: {} };
  for (const verb of resource.verbs) {
    const action = ACTIONS[verb];
    if (action === undefined) continue;
    const path = action[2] ? `${base}/{name}` : base;
    (paths[path] as JsonObject)[action[0]] = operation(resource, schema, action[1]);
  }
  if (resource.namespaced && resource.verbs.includes("list")) paths[`/${rootOf(resource)}/${resource.plural}`] = { get: operation(resource, schema, "list") };
  for (const [path, item] of Object.entries(paths)) if (Object.keys(item as JsonObject).length === 0) delete paths[path];
  return paths;
}

function operation(resource: ServedResource, schema: string, action: string): JsonObject {
  const content = { schema: { $ref: `${REFERENCE}${schema}` } };
  const writes = ["post", "put", "patch"].includes(action);
  const queries = writes
    ? ["dryRun", "fieldManager", "fieldValidation", ...(action === "patch" ? ["force"] : [])]
    : action.startsWith("delete")
      ? ["dryRun", "gracePeriodSeconds", "propagationPolicy"]
      : [];
  return {
    operationId: `${action}${resource.version}${resource.kind}`,
    ...(queries.length === 0
      ? {}
      : {
          parameters: queries.map((name) => ({
            name,
            in: "query",
            schema: { type: name === "force" ? "boolean" : name === "gracePeriodSeconds" ? "integer" : "string", uniqueItems: true },
          })),
        }),
    ...(writes ? { requestBody: { content: bodyTypes(resource, action, content), required: true } } : {}),
    responses: { 200: { description: "OK", content: { "application/json": content } } },
    "x-kubernetes-action": action,
    "x-kubernetes-group-version-kind": { group: resource.group, version: resource.version, kind: resource.kind },
  } as JsonObject;
}

function bodyTypes(resource: ServedResource, action: string, content: JsonObject): JsonObject {
  if (action !== "patch") return { "*/*": content };
  const types = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    ...(resource.custom === undefined ? ["application/strategic-merge-patch+json"] : []),
  ];
  return Object.fromEntries(types.map((type) => [type, { schema: { type: "object" } }]));
}
