/** Sees what `decide` needs to know of one VolumeSnapshotBackup. Reads only, except for the Secret of its location. */
import {
  backups,
  LABELS,
  type ReplicationSource,
  replicationSources,
  type VolumeSnapshotBackup,
  VSB_ANNOTATIONS,
  VSM_FINALIZER,
  volumeSnapshotBackups,
} from "@drayage/api";
import { parseTime } from "@drayage/base";
import { hasFinalizer, isDeleting } from "@drayage/kube";
import { act, done, failed, type Work } from "../data-movement/work.ts";
import { isChildOf } from "../volsync-era/children.ts";
import { faultsAsWork } from "../volsync-era/faults.ts";
import { progressOf } from "../volsync-era/moved-bytes.ts";
import type { VolSyncEraSettings } from "../volsync-era/settings.ts";
import { type Synchronization, synchronizationOf } from "../volsync-era/synchronization.ts";
import { childNames, cleanUp, type PrepareDeps, parentOf, prepare } from "./prepare.ts";
import { factsOf, findFacts } from "./volume-facts.ts";
import { type BackupPhase, type BatchingStatus, isTerminal, type Observed } from "./volume-snapshot-backup.ts";

export interface ObserverDeps extends PrepareDeps {
  readonly settings: VolSyncEraSettings;
}

export function phaseOf({ status }: VolumeSnapshotBackup): BackupPhase {
  return (status?.phase ?? "") as BackupPhase;
}

export async function observe(deps: ObserverDeps, backup: VolumeSnapshotBackup): Promise<Observed> {
  const { client, clock, namespace, settings } = deps;
  const { status, metadata } = backup;
  const nowMs = clock.nowMs();
  const phase = phaseOf(backup);
  const batching = (status?.batchingStatus ?? "") as BatchingStatus;
  const found = await client.find<ReplicationSource>(replicationSources, { namespace, name: childNames(backup).source });
  const source = found !== undefined && isChildOf(found, parentOf(backup)) ? found : undefined;
  const synchronization: Synchronization = synchronizationOf(source, source?.spec?.trigger?.manual, nowMs);
  const isPreparing = phase === "InProgress" && batching === "Processing" && !isDeleting(backup) && synchronization.state === "absent";
  const isCleaning = isDeleting(backup) || phase === "Cleanup" || isTerminal(phase);
  const since = (text: string | null | undefined): number => nowMs - (parseTime(text ?? undefined) ?? nowMs);
  return {
    phase,
    batching,
    deleting: isDeleting(backup),
    finalizer: hasFinalizer(backup, VSM_FINALIZER),
    cancelRequested: metadata.annotations?.[VSB_ANNOTATIONS.cancel] === "true",
    backupEnded: isCleaning ? undefined : await badEndOfBackup(deps, backup),
    slotFree: batching === "Processing" || isCleaning || (await isSlotFree(deps, backup)),
    preparation: isPreparing ? await faultsAsWork(() => nextPreparation(deps, backup)) : done,
    preparingForMs: since(status?.startTimestamp),
    synchronization,
    progressNoted: progressOf(backup) !== undefined,
    sourceRecorded: (status?.replicationSourceData?.name ?? "") !== "",
    movingForMs: since(status?.replicationSourceData?.startTimestamp ?? source?.metadata.creationTimestamp),
    cleanUp: isCleaning ? await cleanUp(deps, backup) : done,
    limits: { prepareMs: settings.prepareTimeoutMs, moveMs: settings.moveTimeoutMs },
  };
}

async function nextPreparation(deps: ObserverDeps, backup: VolumeSnapshotBackup): Promise<Work> {
  if (factsOf(backup) !== undefined) return prepare(deps, backup);
  const found = await findFacts(deps, backup);
  if ("fault" in found) return failed(found.fault);
  return act("write down what it is of", () => deps.client.replaceStatus(volumeSnapshotBackups, { ...backup, status: { ...backup.status, ...found.status } }));
}

/** A Backup that failed has no use for the data any more. */
async function badEndOfBackup({ client, namespace }: ObserverDeps, { metadata }: VolumeSnapshotBackup): Promise<string | undefined> {
  const name = metadata.labels?.[LABELS.backupName] ?? "";
  const phase = name === "" ? undefined : (await client.find(backups, { namespace, name }))?.status?.phase;
  return phase === "Failed" || phase === "PartiallyFailed" || phase === "FailedValidation" ? phase : undefined;
}

/** Of its own Backup's places; volumes of others have their own. Counted in the objects themselves, so that no restart forgets one and no failure keeps a place. Older ones first. */
async function isSlotFree({ client, namespace, settings }: ObserverDeps, backup: VolumeSnapshotBackup): Promise<boolean> {
  let taken = 0;
  let before = 0;
  for await (const other of client.listAll<VolumeSnapshotBackup>(volumeSnapshotBackups)) {
    if (other.metadata.labels?.[LABELS.backupName] !== backup.metadata.labels?.[LABELS.backupName]) continue;
    if (other.spec.protectedNamespace !== namespace || other.metadata.uid === backup.metadata.uid || isTerminal(phaseOf(other)) || isDeleting(other)) continue;
    if (other.status?.batchingStatus === "Processing") taken++;
    else if (other.status?.batchingStatus === "Queued" && comesBefore(other, backup)) before++;
  }
  return taken + before < settings.concurrentBackups;
}

function comesBefore({ metadata: a }: VolumeSnapshotBackup, { metadata: b }: VolumeSnapshotBackup): boolean {
  const [createdA, createdB] = [a.creationTimestamp ?? "", b.creationTimestamp ?? ""];
  return createdA === createdB ? (a.uid ?? "") < (b.uid ?? "") : createdA < createdB;
}
