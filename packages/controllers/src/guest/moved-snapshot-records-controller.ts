/** Keeps the records of moved snapshots: observes, decides (moved-snapshot-records.ts), applies. Runs in one node-agent at a time. */
import { type Backup, backupStorageLocations, backups, LABELS, validLabelValue } from "@drayage/api";
import { type Clock, DrayError, hasCode, type Logger, type RandomSource } from "@drayage/base";
import {
  type Controller,
  configMaps,
  isDeleting,
  type KubeClient,
  type ObjectKey,
  type ReconcileResult,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { BackupStores } from "../ports.ts";
import { buildRecord, decideRecords, type MovedVolume, movedVolumesOf } from "./moved-snapshot-records.ts";

export interface MovedSnapshotRecordsDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
}

export function startMovedSnapshotRecordsController(deps: MovedSnapshotRecordsDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer(backups, { client, clock, random, logger, namespace });
  // A tarball never changes once its backup has ended: it is read once.
  const known = new Map<string, readonly MovedVolume[]>();
  const end = informer.onChange((before, after) => {
    if (after === undefined) known.delete(before?.metadata.uid ?? "");
  });
  const controller = startController({
    name: "moved-snapshot-records",
    sources: [source(informer)],
    reconcile: (key, signal) => reconcile(key, signal),
    clock,
    random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      end();
      informer.stop();
    },
  };

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const backup = informer.get(key);
    if (backup === undefined) return {};
    const uid = backup.metadata.uid ?? "";
    const observe = async (moved: readonly MovedVolume[] | undefined) => ({
      phase: backup.status?.phase ?? "New",
      deleting: isDeleting(backup),
      movesData: backup.spec.snapshotMoveData === true,
      moved,
      recorded: moved === undefined || moved.length === 0 ? [] : await recordsOf(backup, signal),
    });
    let decision = decideRecords(await observe(known.get(uid)));
    if (decision.do === "lookUp") {
      const moved = await lookUp(backup, signal);
      known.set(uid, moved);
      decision = decideRecords(await observe(moved));
    }
    if (decision.do !== "create") return {};
    for (const volume of decision.volumes) {
      try {
        await client.create(configMaps, buildRecord(backup, volume), { signal });
        logger.info("Recorded a moved snapshot for its deletion", { backup: key.name, dataUpload: volume.uploadName, snapshot: volume.snapshotId });
      } catch (error) {
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
    }
    return {};
  }

  async function recordsOf({ metadata }: Backup, signal: AbortSignal): Promise<readonly string[]> {
    const labelSelector = `${LABELS.backupName}=${validLabelValue(metadata.name ?? "")},${LABELS.dataUploadSnapshotInfo}=true`;
    return (await allOf(client.listAll(configMaps, { namespace, labelSelector, signal }))).map((record) => record.metadata.name ?? "");
  }

  async function lookUp(backup: Backup, signal: AbortSignal): Promise<readonly MovedVolume[]> {
    const name = backup.spec.storageLocation ?? "";
    const location = await client.find(backupStorageLocations, { namespace, name }, signal);
    if (location === undefined)
      throw new DrayError("KUBE_NOT_FOUND", `Cannot look up what backup "${backup.metadata.name}" moved: its location "${name}" is not there`);
    return movedVolumesOf(client, await deps.stores.open(location, signal), backup, signal);
  }
}
