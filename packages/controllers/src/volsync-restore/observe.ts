/** Sees what `decide` needs to know of one VolumeSnapshotRestore that VolSync carries out. Reads only, except for the Secret of its location. */
import {
  LABELS,
  type ReplicationDestination,
  replicationDestinations,
  type VolumeSnapshotRestore,
  VSM_FINALIZER,
  VSR_ANNOTATIONS,
  volumeSnapshotRestores,
} from "@drayage/api";
import { parseTime } from "@drayage/base";
import { hasFinalizer, isDeleting } from "@drayage/kube";
import { done, type Work } from "../data-movement/work.ts";
import { isChildOf } from "../volsync-era/children.ts";
import { faultsAsWork } from "../volsync-era/faults.ts";
import { progressOf } from "../volsync-era/moved-bytes.ts";
import type { VolSyncEraSettings } from "../volsync-era/settings.ts";
import { synchronizationOf } from "../volsync-era/synchronization.ts";
import { phaseOf } from "../volume-snapshot-restore/observe.ts";
import type { BatchingStatus } from "../volume-snapshot-restore/volume-snapshot-restore.ts";
import { handOver } from "./hand-over.ts";
import { childNames, cleanUp, imageOf, type PrepareDeps, parentOf, prepare } from "./prepare.ts";
import { isTerminal, type Observed } from "./volsync-restore.ts";

export interface ObserverDeps extends PrepareDeps {
  readonly settings: VolSyncEraSettings;
}

/** Whether VolSync carries it out. One that somebody else's plug-in made waits for a snapshot, where this server has VolSync at all. */
export function isIntoSnapshot({ metadata }: VolumeSnapshotRestore): boolean {
  const into = metadata.annotations?.[VSR_ANNOTATIONS.into];
  return into === undefined ? metadata.annotations?.[VSR_ANNOTATIONS.location] === undefined : into === "snapshot";
}

export async function observe(deps: ObserverDeps, restore: VolumeSnapshotRestore): Promise<Observed> {
  const { client, clock, namespace, settings } = deps;
  const { status, metadata } = restore;
  const nowMs = clock.nowMs();
  const phase = phaseOf(restore);
  const batching = (status?.batchingStatus ?? "") as BatchingStatus;
  const found = await client.find<ReplicationDestination>(replicationDestinations, { namespace, name: childNames(restore).destination });
  const destination = found !== undefined && isChildOf(found, parentOf(restore)) ? found : undefined;
  const synchronization = synchronizationOf(destination, destination?.spec?.trigger?.manual, nowMs);
  const isCleaning = isDeleting(restore) || phase === "Cleanup" || isTerminal(phase);
  const isPreparing = phase === "InProgress" && batching === "Processing" && !isCleaning && synchronization.state === "absent";
  const preparation: Work = isPreparing ? await faultsAsWork(() => prepare(deps, restore)) : done;
  const cleaned = isCleaning ? await cleanUp(deps, restore, destination) : done;
  const mayHandOver = hasFinalizer(restore, VSM_FINALIZER) && cleaned.state === "done" && (isDeleting(restore) || isTerminal(phase));
  const since = (text: string | null | undefined): number => nowMs - (parseTime(text ?? undefined) ?? nowMs);
  return {
    phase,
    batching,
    deleting: isDeleting(restore),
    finalizer: hasFinalizer(restore, VSM_FINALIZER),
    cancelRequested: metadata.annotations?.[VSR_ANNOTATIONS.cancel] === "true",
    slotFree: batching === "Processing" || isCleaning || (await isSlotFree(deps, restore)),
    preparation,
    preparingForMs: since(status?.startTimestamp),
    synchronization,
    progressNoted: progressOf(restore) !== undefined,
    destinationRecorded: (status?.replicationDestinationData?.name ?? "") !== "",
    movingForMs: since(status?.replicationDestinationData?.startTimestamp ?? destination?.metadata.creationTimestamp),
    image: synchronization.state === "done" && !isCleaning ? await imageOf(deps, destination) : { state: "pending", why: "VolSync to restore the data" },
    cleanUp: cleaned,
    handOver: mayHandOver ? await handOver(deps, restore) : done,
    limits: { prepareMs: settings.prepareTimeoutMs, moveMs: settings.moveTimeoutMs },
  };
}

/** Of its own Restore's places; volumes of others have their own. Counted in the objects themselves, so that no restart forgets one and no failure keeps a place. */
async function isSlotFree({ client, namespace, settings }: ObserverDeps, restore: VolumeSnapshotRestore): Promise<boolean> {
  let taken = 0;
  for await (const other of client.listAll<VolumeSnapshotRestore>(volumeSnapshotRestores)) {
    if (other.metadata.labels?.[LABELS.restoreName] !== restore.metadata.labels?.[LABELS.restoreName]) continue;
    if (other.spec.protectedNamespace !== namespace || other.metadata.uid === restore.metadata.uid || isTerminal(phaseOf(other)) || isDeleting(other)) continue;
    if (other.status?.batchingStatus === "Processing") taken++;
  }
  return taken < settings.concurrentRestores;
}
