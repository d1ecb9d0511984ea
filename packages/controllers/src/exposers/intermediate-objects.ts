/** Making and taking away what exists only while data moves. Each function looks and says what is next. */
import { parseTime } from "@drayage/base";
import {
  groupResourceOf,
  isDeleting,
  isOwnedBy,
  type KubeObject,
  type ObjectKey,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  secrets,
} from "@drayage/kube";
import { epochOf } from "../data-movement/movement.ts";
import { act, failed, type Work, wait } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";

/** A pod on a node that does not answer stays for ever unless it is taken away by force. */
const FORCE_AFTER_MS = 60_000;

/** An object of an earlier movement of the same name must not be taken for ours. */
export function notOurs(object: KubeObject | undefined, owner: KubeObject): Work | undefined {
  if (object === undefined || isOwnedBy(object, owner)) return undefined;
  return failed(`${object.kind ?? "object"} "${object.metadata.namespace ?? ""}/${object.metadata.name ?? ""}" is there already and belongs to something else`);
}

/** Deletes an object and waits until it is gone; undefined once it is. */
export async function removal<T extends KubeObject>(
  deps: Pick<ExposerDeps, "client" | "clock">,
  type: ResourceType<T>,
  key: ObjectKey,
  options: { readonly ownedBy?: KubeObject; readonly force?: boolean | "now" } = {},
): Promise<Work | undefined> {
  const object = await deps.client.find(type, key);
  if (object === undefined || (options.ownedBy !== undefined && !isOwnedBy(object, options.ownedBy))) return undefined;
  const what = `${groupResourceOf(type)} "${key.namespace === undefined ? "" : `${key.namespace}/`}${key.name}"`;
  const precondition = object.metadata.uid === undefined ? {} : { preconditions: { uid: object.metadata.uid } };
  if (options.force === "now" && object.metadata.deletionGracePeriodSeconds !== 0) {
    return act(`delete ${what} by force`, () => deps.client.delete(type, key, { ...precondition, gracePeriodSeconds: 0 }));
  }
  if (!isDeleting(object)) return act(`delete ${what}`, () => deps.client.delete(type, key, precondition));
  const deletingForMs = deps.clock.nowMs() - (parseTime(object.metadata.deletionTimestamp) ?? deps.clock.nowMs());
  if (options.force === true && deletingForMs >= FORCE_AFTER_MS && object.metadata.deletionGracePeriodSeconds !== 0) {
    return act(`delete ${what} by force`, () => deps.client.delete(type, key, { ...precondition, gracePeriodSeconds: 0 }));
  }
  return wait(`${what} to be gone`);
}

/** Takes the mover pod away. */
export async function podRemoval(deps: ExposerDeps, owner: KubeObject): Promise<Work | undefined> {
  return removal(deps, pods, { namespace: deps.namespace, name: owner.metadata.name ?? "" }, { ownedBy: owner, force: true });
}

/**
 * Takes away what was made for an earlier epoch of a movement: the pod that may still run on a node that nobody hears, so by force; the claim, whose volume may be attached there, or
 * half written; the Secret, whose credentials may have been changed since. A volume that such a pod still writes to is never given to another.
 */
export async function earlierEpochRemoval(deps: ExposerDeps, owner: KubeObject): Promise<Work | undefined> {
  const epoch = epochOf(owner);
  if (epoch === 0) return undefined;
  const key = { namespace: deps.namespace, name: owner.metadata.name ?? "" };
  const isEarlier = (object: KubeObject | undefined): boolean => object !== undefined && isOwnedBy(object, owner) && epochOf(object) !== epoch;
  if (isEarlier(await deps.client.find(pods, key))) return removal(deps, pods, key, { ownedBy: owner, force: "now" });
  if (isEarlier(await deps.client.find(persistentVolumeClaims, key))) return claimRemoval(deps, owner);
  return isEarlier(await deps.client.find(secrets, key)) ? secretRemoval(deps, owner) : undefined;
}

/** Takes the mover's Secret away. */
export async function secretRemoval(deps: ExposerDeps, owner: KubeObject): Promise<Work | undefined> {
  return removal(deps, secrets, { namespace: deps.namespace, name: owner.metadata.name ?? "" }, { ownedBy: owner });
}

/** Takes an intermediate claim away together with its volume, whatever the storage class says of that. */
export async function claimRemoval(deps: ExposerDeps, owner: KubeObject): Promise<Work | undefined> {
  const key = { namespace: deps.namespace, name: owner.metadata.name ?? "" };
  const claim = await deps.client.find(persistentVolumeClaims, key);
  if (claim === undefined || !isOwnedBy(claim, owner)) return undefined;
  const volumeName = claim.spec.volumeName;
  if (volumeName !== undefined && volumeName !== "") {
    const volume = await deps.client.find(persistentVolumes, { name: volumeName });
    const isOurs = volume?.spec.claimRef?.uid === claim.metadata.uid;
    if (volume !== undefined && isOurs && volume.spec.persistentVolumeReclaimPolicy !== "Delete") {
      return act(`make the volume "${volumeName}" go with its claim`, () =>
        deps.client.patch(persistentVolumes, { name: volumeName }, "merge", { spec: { persistentVolumeReclaimPolicy: "Delete" } }),
      );
    }
  }
  return removal(deps, persistentVolumeClaims, key, { ownedBy: owner });
}
