/**
 * The garbage collector: what is owned goes with its owners. Background: dependents go after the owner. Foreground (finalizer `foregroundDeletion`): the owner waits for those
 * dependents that block it. Orphan (finalizer `orphan`): dependents lose the reference and stay.
 *
 * An owner counts as gone when no object with its uid exists.
 */
import type { Logger } from "@drayage/base";
import { type ApiObject, clone } from "./json.ts";
import type { Operations } from "./operations.ts";
import { type Catalog, isDeleting, type ServedResource } from "./served-resource.ts";
import { type Change, keyOf, type Storage } from "./storage.ts";
import { TurnQueue } from "./turn-queue.ts";

interface Place {
  readonly resource: string;
  readonly key: string;
}

const ORPHAN = "orphan";
const FOREGROUND = "foregroundDeletion";

export class GarbageCollector {
  readonly #storage: Storage;
  readonly #catalog: Catalog;
  readonly #operations: Operations;
  /** Where the object of a uid is. */
  readonly #places = new Map<string, Place>();
  /** Uids of the dependents of a uid. */
  readonly #dependents = new Map<string, Set<string>>();
  readonly #queue: TurnQueue;

  constructor(storage: Storage, catalog: Catalog, operations: Operations, logger: Logger) {
    this.#storage = storage;
    this.#catalog = catalog;
    this.#operations = operations;
    this.#queue = new TurnQueue({ work: (uid) => this.#process(uid), isStopped: () => storage.closed, logger });
    for (const resource of storage.resources()) for (const object of storage.list(resource)) this.#index(resource, object, undefined);
    for (const uid of this.#places.keys()) this.#queue.add(uid);
    storage.subscribe((change) => this.#observe(change));
  }

  #observe(change: Change): void {
    const uid = change.object.metadata.uid;
    if (uid === undefined) return;
    if (change.type === "DELETED") {
      this.#forget(change.object);
      for (const dependent of this.#dependents.get(uid) ?? []) this.#queue.add(dependent);
      for (const owner of change.object.metadata.ownerReferences ?? []) this.#queue.add(owner.uid);
      this.#dependents.delete(uid);
      return;
    }
    this.#index(change.resource, change.object, change.previous);
    if ((change.object.metadata.ownerReferences ?? []).length > 0 || isDeleting(change.object)) this.#queue.add(uid);
  }

  #index(resource: string, object: ApiObject, previous: ApiObject | undefined): void {
    const uid = object.metadata.uid ?? "";
    this.#places.set(uid, { resource, key: keyOf(object) });
    for (const owner of previous?.metadata.ownerReferences ?? []) this.#dependents.get(owner.uid)?.delete(uid);
    for (const owner of object.metadata.ownerReferences ?? []) {
      const known = this.#dependents.get(owner.uid) ?? new Set<string>();
      this.#dependents.set(owner.uid, known.add(uid));
    }
  }

  #forget(object: ApiObject): void {
    const uid = object.metadata.uid ?? "";
    this.#places.delete(uid);
    for (const owner of object.metadata.ownerReferences ?? []) this.#dependents.get(owner.uid)?.delete(uid);
  }

  #object(uid: string): { readonly object: ApiObject; readonly resource: ServedResource } | undefined {
    const place = this.#places.get(uid);
    const object = place === undefined ? undefined : this.#storage.get(place.resource, place.key);
    const resource = place === undefined ? undefined : this.#catalog.storedAs(place.resource);
    return object === undefined || resource === undefined || object.metadata.uid !== uid ? undefined : { object, resource };
  }

  #process(uid: string): void {
    const found = this.#object(uid);
    if (found === undefined) return;
    const { object, resource } = found;
    if (isDeleting(object)) {
      const finalizers = object.metadata.finalizers ?? [];
      if (finalizers.includes(ORPHAN)) this.#orphanDependents(uid, object, resource);
      else if (finalizers.includes(FOREGROUND)) this.#deleteDependentsFirst(uid, object, resource);
      return;
    }
    const owners = object.metadata.ownerReferences ?? [];
    if (owners.length === 0) return;
    const present = owners.filter((owner) => this.#places.has(owner.uid));
    if (present.length === owners.length && !present.every((owner) => this.#isForeground(owner.uid))) return;
    if (present.length === 0) {
      this.#delete(resource, object, "Background");
      return;
    }
    // Every owner that is left waits for its dependents, or some are gone: dangling references are removed as long as one owner stays.
    const staying = present.filter((owner) => !this.#isForeground(owner.uid));
    if (staying.length === 0) this.#delete(resource, object, (this.#dependents.get(uid)?.size ?? 0) > 0 ? "Foreground" : "Background");
    else this.#rewrite(resource, object, { ownerReferences: staying });
  }

  #isForeground(uid: string): boolean {
    const owner = this.#object(uid)?.object;
    return owner !== undefined && isDeleting(owner) && (owner.metadata.finalizers ?? []).includes(FOREGROUND);
  }

  #orphanDependents(uid: string, object: ApiObject, resource: ServedResource): void {
    for (const dependent of [...(this.#dependents.get(uid) ?? [])]) {
      const found = this.#object(dependent);
      if (found === undefined) continue;
      this.#rewrite(found.resource, found.object, { ownerReferences: (found.object.metadata.ownerReferences ?? []).filter((it) => it.uid !== uid) });
    }
    this.#removeFinalizer(resource, object, ORPHAN);
  }

  #deleteDependentsFirst(uid: string, object: ApiObject, resource: ServedResource): void {
    const dependents = [...(this.#dependents.get(uid) ?? [])].flatMap((it) => this.#object(it) ?? []);
    for (const it of dependents) if (!isDeleting(it.object)) this.#queue.add(it.object.metadata.uid ?? "");
    const blocks = (it: ApiObject): boolean => (it.metadata.ownerReferences ?? []).some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true);
    if (!dependents.some((it) => blocks(it.object))) this.#removeFinalizer(resource, object, FOREGROUND);
  }

  #delete(resource: ServedResource, object: ApiObject, propagationPolicy: string): void {
    this.#operations.delete(resource, object.metadata.namespace, object.metadata.name ?? "", { dryRun: false, propagationPolicy, uid: object.metadata.uid });
  }

  #removeFinalizer(resource: ServedResource, object: ApiObject, finalizer: string): void {
    this.#rewrite(resource, object, { finalizers: (object.metadata.finalizers ?? []).filter((it) => it !== finalizer) });
  }

  #rewrite(resource: ServedResource, object: ApiObject, metadata: Pick<ApiObject["metadata"], "finalizers" | "ownerReferences">): void {
    const produce = (current: ApiObject): ApiObject => {
      const next = clone({ ...current, metadata: { ...current.metadata, ...metadata } });
      for (const field of ["finalizers", "ownerReferences"] as const) if (next.metadata[field]?.length === 0) delete next.metadata[field];
      return next;
    };
    this.#operations.update(
      resource,
      object.metadata.namespace,
      object.metadata.name ?? "",
      produce,
      { dryRun: false, manager: "kube-controller-manager", fieldValidation: "Ignore", warnings: [] },
      { isPatch: true },
    );
  }
}
