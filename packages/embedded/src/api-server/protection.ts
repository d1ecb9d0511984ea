/**
 * Storage in use is not deleted: a claim that is being deleted waits (finalizer `kubernetes.io/pvc-protection`) until no pod on a node uses it, a volume
 * (`kubernetes.io/pv-protection`) until it is bound no more.
 */
import type { Logger } from "@drayage/base";
import { type ApiObject, clone, objectsAt, textAt } from "./json.ts";
import type { Operations } from "./operations.ts";
import { type Catalog, isDeleting } from "./served-resource.ts";
import { type Change, keyOf, type Storage } from "./storage.ts";
import { TurnQueue } from "./turn-queue.ts";

const CLAIM = "kubernetes.io/pvc-protection";
const VOLUME = "kubernetes.io/pv-protection";

export class StorageProtection {
  readonly #storage: Storage;
  readonly #catalog: Catalog;
  readonly #operations: Operations;
  readonly #claims: TurnQueue;
  readonly #volumes: TurnQueue;

  constructor(storage: Storage, catalog: Catalog, operations: Operations, logger: Logger) {
    this.#storage = storage;
    this.#catalog = catalog;
    this.#operations = operations;
    const isStopped = (): boolean => storage.closed;
    this.#claims = new TurnQueue({ work: (key) => this.#releaseClaim(key), isStopped, logger });
    this.#volumes = new TurnQueue({ work: (key) => this.#releaseVolume(key), isStopped, logger });
    storage.subscribe((change) => this.#observe(change));
    for (const claim of storage.list("persistentvolumeclaims")) this.#claims.add(keyOf(claim));
    for (const volume of storage.list("persistentvolumes")) this.#volumes.add(keyOf(volume));
  }

  #observe(change: Change): void {
    if (change.resource === "persistentvolumeclaims" && isDeleting(change.object)) this.#claims.add(keyOf(change.object));
    else if (change.resource === "persistentvolumes" && isDeleting(change.object)) this.#volumes.add(keyOf(change.object));
    else if (change.resource === "pods" && change.type === "DELETED")
      for (const name of claimsOf(change.object)) this.#claims.add(`${change.object.metadata.namespace}/${name}`);
  }

  #releaseClaim(key: string): void {
    const claim = this.#storage.get("persistentvolumeclaims", key);
    if (claim === undefined || !isDeleting(claim)) return;
    const { namespace, name = "" } = claim.metadata;
    const used = this.#storage.list("pods", namespace).some((pod) => textAt(pod, "spec", "nodeName") !== "" && claimsOf(pod).includes(name));
    if (!used) this.#removeFinalizer("persistentvolumeclaims", claim, CLAIM);
  }

  #releaseVolume(key: string): void {
    const volume = this.#storage.get("persistentvolumes", key);
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

/** Claims a pod uses, those made for its ephemeral volumes included. */
function claimsOf(pod: ApiObject): string[] {
  return objectsAt(pod, "spec", "volumes").flatMap((volume) => {
    const claim = textAt(volume, "persistentVolumeClaim", "claimName");
    if (claim !== "") return [claim];
    return volume["ephemeral"] === undefined ? [] : [`${pod.metadata.name}-${textAt(volume, "name")}`];
  });
}
