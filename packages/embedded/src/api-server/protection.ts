/**
 * Storage in use is not deleted: a claim that is being deleted waits (finalizer `kubernetes.io/pvc-protection`) until no pod on a node uses it, a volume
 * (`kubernetes.io/pv-protection`) until it is bound no more.
 */
import { type ApiObject, clone, objectsAt, textAt } from "./json.ts";
import type { Operations } from "./operations.ts";
import { type Catalog, isDeleting } from "./served-resource.ts";
import { isStatusError } from "./status-error.ts";
import type { Change, Storage } from "./storage.ts";

const CLAIM = "kubernetes.io/pvc-protection";
const VOLUME = "kubernetes.io/pv-protection";

export class StorageProtection {
  readonly #storage: Storage;
  readonly #catalog: Catalog;
  readonly #operations: Operations;

  constructor(storage: Storage, catalog: Catalog, operations: Operations) {
    this.#storage = storage;
    this.#catalog = catalog;
    this.#operations = operations;
    storage.subscribe((change) => this.#observe(change));
    for (const claim of storage.list("persistentvolumeclaims")) this.#releaseClaim(claim);
    for (const volume of storage.list("persistentvolumes")) this.#releaseVolume(volume);
  }

  #observe(change: Change): void {
    if (change.resource === "persistentvolumeclaims" && change.type !== "DELETED") this.#later(() => this.#releaseClaim(change.object));
    else if (change.resource === "persistentvolumes" && change.type !== "DELETED") this.#later(() => this.#releaseVolume(change.object));
    else if (change.resource === "pods" && change.type === "DELETED") {
      for (const name of claimsOf(change.object)) {
        const claim = this.#storage.get("persistentvolumeclaims", `${change.object.metadata.namespace}/${name}`);
        if (claim !== undefined) this.#later(() => this.#releaseClaim(claim));
      }
    }
  }

  /** Nothing of this belongs to the request that caused it. */
  #later(work: () => void): void {
    setImmediate(work);
  }

  #releaseClaim(seen: ApiObject): void {
    const { namespace, name = "" } = seen.metadata;
    const claim = this.#storage.get("persistentvolumeclaims", `${namespace}/${name}`);
    if (claim === undefined || !isDeleting(claim)) return;
    const used = this.#storage.list("pods", namespace).some((pod) => textAt(pod, "spec", "nodeName") !== "" && claimsOf(pod).includes(name));
    if (!used) this.#removeFinalizer("persistentvolumeclaims", claim, CLAIM);
  }

  #releaseVolume(seen: ApiObject): void {
    const volume = this.#storage.get("persistentvolumes", seen.metadata.name ?? "");
    if (volume !== undefined && isDeleting(volume) && textAt(volume, "status", "phase") !== "Bound") this.#removeFinalizer("persistentvolumes", volume, VOLUME);
  }

  #removeFinalizer(plural: string, object: ApiObject, finalizer: string): void {
    const resource = this.#catalog.find("", "v1", plural);
    if (resource === undefined || !(object.metadata.finalizers ?? []).includes(finalizer)) return;
    const produce = (current: ApiObject): ApiObject => {
      const next = clone(current);
      next.metadata.finalizers = (next.metadata.finalizers ?? []).filter((it) => it !== finalizer);
      return next;
    };
    try {
      this.#operations.update(
        resource,
        object.metadata.namespace,
        object.metadata.name ?? "",
        produce,
        { dryRun: false, manager: "kube-controller-manager", fieldValidation: "Ignore", warnings: [] },
        { isPatch: true },
      );
    } catch (error) {
      if (!isStatusError(error)) throw error;
    }
  }
}

/** Claims a pod uses, those made for its ephemeral volumes included. */
function claimsOf(pod: ApiObject): string[] {
  return objectsAt(pod, "spec", "volumes").flatMap((volume) => {
    const claim = textAt(volume, "persistentVolumeClaim", "claimName");
    if (claim !== "") return [claim];
    return volume["ephemeral"] === undefined ? [] : [`${pod.metadata.name}-${textAt(volume, "name")}`];
  });
}
