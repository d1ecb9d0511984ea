/** What is served: the built-in resources, and those of CustomResourceDefinitions as they come and go. */
import { type BuiltInSubresource, builtInResources, builtInSchemas, type OpenApiSchema } from "@drayage/protocols/kubernetes";
import type { CustomVersion } from "./custom-resource.ts";
import type { ApiObject } from "./json.ts";
import { type Strategy, strategyFor } from "./strategies/strategy.ts";

export interface ServedResource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly BuiltInSubresource[];
  /** Under what name the storage keeps its objects; versions of a group share it. */
  readonly storedAs: string;
  readonly strategy: Strategy;
  /** Name of the schema in the built-in table; undefined for custom resources. */
  readonly schemaName: string | undefined;
  /** The CustomResourceDefinition's version that defines it; undefined for built-in resources. */
  readonly custom: CustomVersion | undefined;
}

export const apiVersionOf = (it: { readonly group: string; readonly version: string }): string => (it.group === "" ? it.version : `${it.group}/${it.version}`);

/** Resources of a group version whose objects live elsewhere: both forms of an Event are one object. */
const STORED_ELSEWHERE: Readonly<Record<string, string>> = { "events.k8s.io/events": "events" };

/** Kept out of what is served: autoscaling/v1's object is a lossy form of autoscaling/v2's, and would need a conversion that nobody here uses. */
const NOT_SERVED: ReadonlySet<string> = new Set(["autoscaling/v1/horizontalpodautoscalers"]);

export class Catalog {
  readonly #builtIn: readonly ServedResource[];
  #custom: readonly ServedResource[] = [];
  #byPath = new Map<string, ServedResource>();
  #all: readonly ServedResource[] = [];
  #stored: ReadonlyMap<string, ServedResource> = new Map();
  #generation = 0;

  constructor() {
    this.#builtIn = builtInResources()
      .filter((it) => !NOT_SERVED.has(`${it.group}/${it.version}/${it.plural}`))
      .map((it) => {
        const name = storageName(it.group, it.plural);
        return {
          ...it,
          listKind: `${it.kind}List`,
          storedAs: STORED_ELSEWHERE[name] ?? name,
          strategy: strategyFor(it.group, it.plural),
          schemaName: it.schema,
          custom: undefined,
        };
      });
    this.#index();
  }

  /** Grows with every change of what is served; caches of discovery and OpenAPI are keyed by it. */
  get generation(): number {
    return this.#generation;
  }

  /** Every resource that is served, built-in ones first. */
  all(): readonly ServedResource[] {
    return this.#all;
  }

  setCustom(resources: readonly ServedResource[]): void {
    this.#custom = resources;
    this.#index();
  }

  find(group: string, version: string, plural: string): ServedResource | undefined {
    return this.#byPath.get(`${group}/${version}/${plural}`);
  }

  hasGroup(group: string): boolean {
    return this.all().some((it) => it.group === group);
  }

  /** One served resource for each name under which objects are stored. */
  stored(): Iterable<ServedResource> {
    return this.#stored.values();
  }

  /** The resource by which objects stored under a name are handled. */
  storedAs(name: string): ServedResource | undefined {
    return this.#stored.get(name);
  }

  #index(): void {
    this.#generation++;
    this.#all = [...this.#builtIn, ...this.#custom];
    this.#byPath = new Map(this.#all.map((it) => [`${it.group}/${it.version}/${it.plural}`, it]));
    const listed = this.#all.filter((it) => it.verbs.includes("list"));
    // A resource stored under another one's name is handled as that one.
    this.#stored = new Map(listed.filter((it) => storageName(it.group, it.plural) === it.storedAs).map((it) => [it.storedAs, it]));
  }
}

export function storageName(group: string, plural: string): string {
  return group === "" ? plural : `${group}/${plural}`;
}

/** The schema by which an object of this resource is merged and described. */
export function schemaOf(resource: ServedResource): OpenApiSchema | undefined {
  if (resource.custom !== undefined) return resource.custom.openApi;
  return resource.schemaName === undefined ? undefined : builtInSchemas()[resource.schemaName];
}

/** Group and plural as messages name a resource. */
export const resourceName = (it: ServedResource): { group: string; name: string } => ({ group: it.group, name: it.plural });
export const kindName = (it: ServedResource): { group: string; name: string } => ({ group: it.group, name: it.kind });

/** Whether the object is on its way out. */
export const isDeleting = (object: ApiObject): boolean => object.metadata.deletionTimestamp !== undefined;
