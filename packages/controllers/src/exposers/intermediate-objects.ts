/** Making and taking away what exists only while data moves. Each function looks and says what is next. */
import { volumeSnapshots } from "@drayage/api";
import { hasCode } from "@drayage/base";
import {
  groupResourceOf,
  isDeleting,
  isOwnedBy,
  type KubeClient,
  type KubeObject,
  type ObjectKey,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  secrets,
} from "@drayage/kube";
import { epochOf } from "../data-movement/movement.ts";
import { act, failed, recheckAfterMs, type Work, wait } from "../data-movement/work.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { isJustAskedToGo } from "./sightings.ts";

/** A pod on a node that does not answer stays for ever unless it is taken away by force; what it was granted to end by itself comes first. */
const FORCE_AFTER_MS = 60_000;
export const WATCHED_RECHECK_MS = 2_500;

/** An object of an earlier movement of the same name must not be taken for ours. */
export function notOurs(object: KubeObject | undefined, owner: KubeObject): Work | undefined {
  if (object === undefined || isOwnedBy(object, owner)) return undefined;
  return failed(`${object.kind ?? "object"} "${object.metadata.namespace ?? ""}/${object.metadata.name ?? ""}" is there already and belongs to something else`);
}

export interface RemovalOptions {
  /** Nothing else is taken away. */
  readonly ownedBy?: KubeObject;
  readonly force?: boolean | "now";
  /** That it has to go is enough. */
  readonly asked?: boolean;
}

/** Deletes an object and waits until it is gone; undefined once it is. */
export async function removal<T extends KubeObject>(
  deps: Pick<ExposerDeps, "client" | "clock" | "snapshots">,
  type: ResourceType<T>,
  key: ObjectKey,
  options: RemovalOptions = {},
): Promise<Work | undefined> {
  const what = `${groupResourceOf(type)} "${key.namespace === undefined ? "" : `${key.namespace}/`}${key.name}"`;
  const known = await deps.client.find(type, key);
  const isAsked = known !== undefined && isJustAskedToGo(known);
  if (options.asked === true && known !== undefined && isDeleting(known)) return undefined;
  const watched = groupResourceOf(type) === groupResourceOf(volumeSnapshots) ? deps.snapshots?.get(key) : undefined;
  // Its end will be told.
  if (isAsked && watched !== undefined) return wait(`${what} to be gone`, WATCHED_RECHECK_MS);
  const object = isAsked ? await findAnew(deps.client, type, key) : known;
  if (object === undefined || (options.ownedBy !== undefined && !isOwnedBy(object, options.ownedBy))) return undefined;
  const precondition = object.metadata.uid === undefined ? {} : { preconditions: { uid: object.metadata.uid } };
  if (options.force === "now" && object.metadata.deletionGracePeriodSeconds !== 0) {
    return act(`delete ${what} by force`, () => deps.client.delete(type, key, { ...precondition, gracePeriodSeconds: 0 }));
  }
  if (!isDeleting(object)) return act(`delete ${what}`, () => deps.client.delete(type, key, precondition));
  const { deletionGracePeriodSeconds: graceSeconds = 0 } = object.metadata;
  const deletingForMs = steadyAgeMs(deps.clock, `deletion of ${object.metadata.uid}`);
  const isStuck = deletingForMs >= graceSeconds * 1_000 + FORCE_AFTER_MS;
  if (options.force === true && isStuck && object.metadata.deletionGracePeriodSeconds !== 0) {
    return act(`delete ${what} by force`, () => deps.client.delete(type, key, { ...precondition, gracePeriodSeconds: 0 }));
  }
  const isWatched = watched !== undefined || groupResourceOf(type) === groupResourceOf(pods);
  return wait(`${what} to be gone`, isWatched ? WATCHED_RECHECK_MS : recheckAfterMs(deletingForMs));
}

/** As `find`, but whatever a client remembers. */
export async function findAnew<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, key: ObjectKey): Promise<T | undefined> {
  try {
    return await client.get(type, key);
  } catch (error) {
    if (hasCode(error, "KUBE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** The name of the claim in which a restore keeps what it has read of its repository. */
export function cacheNameOf({ metadata }: KubeObject): string {
  return `${metadata.name ?? ""}-cache`;
}

/** Takes the mover pod away. */
export async function podRemoval(deps: ExposerDeps, owner: KubeObject, options: Pick<RemovalOptions, "asked"> = {}): Promise<Work | undefined> {
  return removal(deps, pods, { namespace: deps.namespace, name: owner.metadata.name ?? "" }, { ownedBy: owner, force: true, ...options });
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
  const cache = cacheNameOf(owner);
  if (isEarlier(await deps.client.find(persistentVolumeClaims, { ...key, name: cache }))) return claimRemoval(deps, owner, { name: cache });
  return isEarlier(await deps.client.find(secrets, key)) ? secretRemoval(deps, owner) : undefined;
}

/** Takes the mover's Secret away. */
export async function secretRemoval(deps: ExposerDeps, owner: KubeObject, options: Pick<RemovalOptions, "asked"> = {}): Promise<Work | undefined> {
  return removal(deps, secrets, { namespace: deps.namespace, name: owner.metadata.name ?? "" }, { ownedBy: owner, ...options });
}

/** Takes an intermediate claim away together with its volume, whatever the storage class says of that. */
export async function claimRemoval(
  deps: ExposerDeps,
  owner: KubeObject,
  { name = owner.metadata.name ?? "", ...options }: Pick<RemovalOptions, "asked"> & { readonly name?: string } = {},
): Promise<Work | undefined> {
  const key = { namespace: deps.namespace, name };
  const claim = await deps.client.find(persistentVolumeClaims, key);
  if (claim === undefined || !isOwnedBy(claim, owner)) return undefined;
  if (isDeleting(claim)) return removal(deps, persistentVolumeClaims, key, { ownedBy: owner, ...options });
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
  return removal(deps, persistentVolumeClaims, key, { ownedBy: owner, ...options });
}

/** Asks for the end of everything that is only a mover's, then waits for it; undefined once it is gone. `patient` is whether waiting is worth while, `claims` are the names of its claims. */
export async function moverRemoval(
  deps: ExposerDeps,
  owner: KubeObject,
  options: { readonly patient: boolean; readonly claims: readonly string[] },
): Promise<Work | undefined> {
  for (const asked of [true, false]) {
    const steps = [
      () => podRemoval(deps, owner, { asked }),
      ...options.claims.map((name) => () => claimRemoval(deps, owner, { name, asked })),
      () => secretRemoval(deps, owner, { asked }),
    ];
    for (const next of steps) {
      const work = await next();
      if (work !== undefined && (work.state !== "wait" || options.patient)) return work;
    }
  }
  return undefined;
}
