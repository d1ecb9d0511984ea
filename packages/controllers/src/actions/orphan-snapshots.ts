/** Snapshots that a backup cut and nobody took over: the answer to a request was lost, or the process that had cut them is gone. */
import { type Backup, type DataUpload, dataUploads, LABELS, type VolumeSnapshot, validLabelValue, volumeSnapshots } from "@drayage/api";
import { type Clock, hasCode, type RandomSource, type RetryPolicy, retry } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { isOfThisRun } from "./of-this-run.ts";
import { type RemoveSnapshotOptions, removeSnapshot } from "./remove-snapshot.ts";
import { removeOrphanGroups } from "./volume-group-snapshots.ts";

/** What is not removed now is removed by nobody before the backup itself goes: the API server gets a while to come back. */
const POLICY: RetryPolicy = { attemptsMax: 10, firstDelayMs: 200, factor: 2, delayMaxMs: 5_000, budgetMs: 30_000 };

export interface RemoveOrphansOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly backup: Backup;
  readonly signal: AbortSignal;
  /** `namespace/name` of snapshots that are the backup's own. */
  readonly kept?: ReadonlySet<string>;
}

/** Removes them, trying again where that fails for a while. Returns how many there were. */
export function removeOrphanSnapshots({ client, clock, random, backup, signal, kept = new Set() }: RemoveOrphansOptions): Promise<number> {
  let count = 0;
  return retry(
    async () => {
      count += await removeOnce({ client, clock, backup, signal }, kept);
      return count;
    },
    { clock, random, signal, policy: POLICY },
  );
}

/** Removes them, and the snapshots in the storage behind them. Returns how many there were. Those of a DataUpload are its mover's; `kept` (`namespace/name`) are the backup's own. */
async function removeOnce(options: RemoveSnapshotOptions, kept: ReadonlySet<string>): Promise<number> {
  const { client, backup, signal } = options;
  const uploads = await allOf(
    client.listAll<DataUpload>(dataUploads, { namespace: backup.metadata.namespace, labelSelector: `${LABELS.backupUid}=${backup.metadata.uid}`, signal }),
  );
  const taken = new Set(uploads.map(({ spec }) => `${spec.sourceNamespace}/${spec.csiSnapshot?.volumeSnapshot ?? ""}`));
  let count = await removeOrphanGroups(client, backup, signal);
  try {
    const labelSelector = `${LABELS.backupName}=${validLabelValue(backup.metadata.name ?? "")}`;
    for (const snapshot of await allOf(client.listAll<VolumeSnapshot>(volumeSnapshots, { labelSelector, signal }))) {
      const name = `${snapshot.metadata.namespace}/${snapshot.metadata.name}`;
      if (taken.has(name) || kept.has(name) || !isOfThisRun(snapshot, backup)) continue;
      await removeSnapshot(snapshot, options);
      count++;
    }
  } catch (error) {
    // A cluster that does not know snapshots has none to remove.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
  return count;
}
