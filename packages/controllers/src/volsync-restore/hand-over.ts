/**
 * What becomes of VolSync's content once the data is restored. It stays until the Restore has a content of its own for the same snapshot, so that something in the cluster stands for the
 * snapshot wherever a process ends:
 *
 *   the Restore has one of its own ──► this one goes, and keeps the snapshot
 *   the Restore ended without one  ──► this one goes, and the snapshot with it
 */
import {
  LABELS,
  type Restore,
  restores,
  type VolumeSnapshotContent,
  type VolumeSnapshotRestore,
  VSR_ANNOTATIONS,
  validLabelValue,
  volumeSnapshotContents,
} from "@drayage/api";
import { done, type Work, wait } from "../data-movement/work.ts";
import { removal } from "../exposers/intermediate-objects.ts";
import type { ChildDeps } from "../volsync-era/children.ts";
import { phaseOf } from "../volume-snapshot-restore/observe.ts";
import { setPolicy } from "./prepare.ts";

const RESTORE_ENDS: readonly string[] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
/** The Restore looks every second for the end of the one volume that it is at; others may be hours away. */
const RESTORE_RECHECK_MS = 10_000;

export async function handOver(deps: ChildDeps, restore: VolumeSnapshotRestore): Promise<Work> {
  const { client, namespace } = deps;
  const { snapshotHandle, volumeSnapshotContentName: name = "" } = restore.status ?? {};
  const content = name === "" ? undefined : await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name });
  if (content?.spec.volumeSnapshotRef.namespace !== namespace || content.status?.snapshotHandle !== snapshotHandle) return done;
  const fate = await fateOf(deps, restore, content);
  if (fate === "open") return wait("its Restore to take the snapshot", RESTORE_RECHECK_MS);
  const policy = fate === "taken" ? "Retain" : "Delete";
  if (content.spec.deletionPolicy !== policy) return setPolicy(client, name, policy);
  return (await removal(deps, volumeSnapshotContents, { name })) ?? done;
}

async function fateOf(
  { client, namespace }: ChildDeps,
  restore: VolumeSnapshotRestore,
  content: VolumeSnapshotContent,
): Promise<"taken" | "open" | "nobody's"> {
  const { labels, annotations } = restore.metadata;
  const uid = annotations?.[VSR_ANNOTATIONS.restoreUid];
  // Whoever made it, a plug-in of somebody else's or a person, takes the snapshot from its status when it likes.
  if (uid === undefined) return "taken";
  // A Restore takes nothing from one that was deleted before it was Completed.
  if (phaseOf(restore) !== "Completed") return "nobody's";
  const ofRestore = labels?.[LABELS.restoreName] ?? "";
  // Before the contents are looked at: a Restore that has ended makes none after them.
  const isOver = await isRestoreOver({ client, namespace }, uid, ofRestore);
  const labelSelector = `${LABELS.restoreName}=${ofRestore}`;
  for await (const { metadata, spec } of client.listAll<VolumeSnapshotContent>(volumeSnapshotContents, { labelSelector }))
    if (metadata.name !== content.metadata.name && spec.source.snapshotHandle === content.status?.snapshotHandle) return "taken";
  return isOver ? "nobody's" : "open";
}

async function isRestoreOver({ client, namespace }: Pick<ChildDeps, "client" | "namespace">, uid: string, ofRestore: string): Promise<boolean> {
  const named = await client.find<Restore>(restores, { namespace, name: ofRestore });
  if (named !== undefined) return named.metadata.uid !== uid || RESTORE_ENDS.includes(named.status?.phase ?? "");
  // A long name is not its own label.
  for await (const { metadata, status } of client.listAll<Restore>(restores, { namespace }))
    if (metadata.uid === uid && validLabelValue(metadata.name ?? "") === ofRestore) return RESTORE_ENDS.includes(status?.phase ?? "");
  return true;
}
