/**
 * CustomResourceDefinitions at work: names are accepted, resources served from then on, and when a definition goes its objects go first. Runs in the turn in which a definition
 * changes, so discovery is never behind.
 */
import { formatTime } from "@drayage/base";
import { resourcesOf } from "./custom-resource.ts";
import { type ApiObject, clone, equal, type JsonObject, objectAt, objectsAt, textAt, textsAt } from "./json.ts";
import type { Operations } from "./operations.ts";
import { type Catalog, isDeleting, type ServedResource } from "./served-resource.ts";
import { isStatusError } from "./status-error.ts";
import type { World } from "./strategies/strategy.ts";

const STORED_AS = "apiextensions.k8s.io/customresourcedefinitions";
const CLEANUP = "customresourcecleanup.apiextensions.k8s.io";

export class Definitions {
  readonly #world: World;
  readonly #catalog: Catalog;
  readonly #operations: Operations;
  #served = new Map<string, { readonly definition: ApiObject; readonly resources: readonly ServedResource[] }>();

  constructor(world: World, catalog: Catalog, operations: Operations) {
    this.#world = world;
    this.#catalog = catalog;
    this.#operations = operations;
    this.#serveAll();
    world.storage.subscribe((change) => {
      if (change.resource === STORED_AS) {
        if (change.type !== "DELETED") this.#settle(change.object);
        this.#serveAll();
      }
      const owner = this.#owner(change.resource);
      if (change.type === "DELETED" && owner !== undefined && isDeleting(owner)) this.#finish(owner);
    });
  }

  /** Brings a definition's status up to date, and moves a deletion on. */
  #settle(definition: ApiObject): void {
    const status = objectAt(definition, "status") ?? {};
    const next = this.#statusOf(definition, status);
    const resource = this.#catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    if (!equal(next, status) && resource !== undefined) {
      const options = { dryRun: false, manager: "kube-apiserver", fieldValidation: "Ignore", warnings: [] } as const;
      this.#operations.update(
        resource,
        undefined,
        definition.metadata.name ?? "",
        (current) => ({ ...current, status: next }),
        { ...options, warnings: [] },
        { subresource: "status", isPatch: true },
      );
      return;
    }
    if (isDeleting(definition)) this.#removeObjects(definition);
  }

  #statusOf(definition: ApiObject, status: JsonObject): JsonObject {
    const problem = this.#nameConflict(definition);
    const names = objectAt(definition, "spec", "names") ?? {};
    const conditions = clone(objectsAt(status, "conditions"));
    const accepted = problem === undefined ? clone(names) : (objectAt(status, "acceptedNames") ?? { plural: "", kind: "" });
    const set = (type: string, isTrue: boolean, reason: string, message: string): void => {
      const before = conditions.find((it) => it["type"] === type);
      const text = isTrue ? "True" : "False";
      if (before?.["status"] === text && before["reason"] === reason && before["message"] === message) return;
      const lastTransitionTime = before?.["status"] === text ? (before["lastTransitionTime"] ?? "") : formatTime(this.#world.clock.nowMs());
      const next = { type, status: text, lastTransitionTime, reason, message };
      if (before === undefined) conditions.push(next);
      else Object.assign(before, next);
    };
    if (problem === undefined) set("NamesAccepted", true, "NoConflicts", "no conflicts found");
    else set("NamesAccepted", false, "NamesConflict", problem);
    const established = conditions.some((it) => it["type"] === "Established" && it["status"] === "True");
    if (problem === undefined) set("Established", true, "InitialNamesAccepted", "the initial names have been accepted");
    else if (!established) set("Established", false, "NotAccepted", "not all names are accepted");
    return { ...status, conditions, acceptedNames: accepted };
  }

  /** Whether another established definition of the group has one of the names. */
  #nameConflict(definition: ApiObject): string | undefined {
    const names = (it: ApiObject): string[] => [
      textAt(it, "spec", "names", "plural"),
      textAt(it, "spec", "names", "singular"),
      ...textsAt(it, "spec", "names", "shortNames"),
    ];
    for (const other of this.#world.storage.list(STORED_AS)) {
      if (other.metadata.name === definition.metadata.name || textAt(other, "spec", "group") !== textAt(definition, "spec", "group")) continue;
      if (textAt(other, "status", "acceptedNames", "kind") === "") continue;
      const taken = names(definition).find((name) => name !== "" && names(other).includes(name));
      if (taken !== undefined) return `"${taken}" is already in use`;
      const kind = textAt(definition, "spec", "names", "kind");
      if (kind === textAt(other, "spec", "names", "kind")) return `"${kind}" is already in use`;
    }
    return undefined;
  }

  #serveAll(): void {
    const served = new Map<string, { definition: ApiObject; resources: readonly ServedResource[] }>();
    let changed = false;
    for (const definition of this.#world.storage.list(STORED_AS)) {
      const name = definition.metadata.name ?? "";
      const established = objectsAt(definition, "status", "conditions").some((it) => it["type"] === "Established" && it["status"] === "True");
      if (!established) continue;
      const before = this.#served.get(name);
      // Served resources are rebuilt only when what defines them changed: their compiled rules and views stay.
      if (
        before !== undefined &&
        equal(before.definition["spec"], definition["spec"]) &&
        equal(objectAt(before.definition, "status", "acceptedNames"), objectAt(definition, "status", "acceptedNames"))
      ) {
        served.set(name, { definition, resources: before.resources });
      } else {
        served.set(name, { definition, resources: resourcesOf(definition) });
        changed = true;
      }
    }
    changed ||= served.size !== this.#served.size || [...served.keys()].some((name) => !this.#served.has(name));
    this.#served = served;
    if (changed) this.#catalog.setCustom([...served.values()].flatMap((it) => it.resources));
  }

  #owner(storedAs: string): ApiObject | undefined {
    const [group, plural] = storedAs.split("/");
    return group === undefined || plural === undefined ? undefined : this.#world.storage.get(STORED_AS, `${plural}.${group}`);
  }

  #removeObjects(definition: ApiObject): void {
    const served = this.#served.get(definition.metadata.name ?? "");
    const resource = served?.resources.find((it) => it.version === it.custom?.storageVersion) ?? served?.resources[0];
    if (resource !== undefined) {
      for (const object of this.#world.storage.list(resource.storedAs)) {
        if (isDeleting(object)) continue;
        try {
          this.#operations.delete(resource, object.metadata.namespace, object.metadata.name ?? "", { dryRun: false });
        } catch (error) {
          if (!isStatusError(error)) throw error;
        }
      }
    }
    this.#finish(definition);
  }

  /** Lets a definition go when none of its objects is left. */
  #finish(definition: ApiObject): void {
    const name = definition.metadata.name ?? "";
    const current = this.#world.storage.get(STORED_AS, name);
    if (current === undefined || !isDeleting(current)) return;
    const storedAs = `${textAt(current, "spec", "group")}/${textAt(current, "spec", "names", "plural")}`;
    if (this.#world.storage.list(storedAs).length > 0) return;
    const finalizers = (current.metadata.finalizers ?? []).filter((it) => it !== CLEANUP);
    if (finalizers.length === 0) {
      this.#world.storage.remove(STORED_AS, name);
      return;
    }
    if (finalizers.length === current.metadata.finalizers?.length) return;
    this.#world.storage.put(STORED_AS, { ...current, metadata: { ...current.metadata, finalizers } });
  }
}
