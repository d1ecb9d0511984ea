/** Keeps the records of moved snapshots: observes, decides (moved-snapshot-records.ts), applies. Runs in one node-agent at a time. */
import { type Backup, backupStorageLocations, backups, LABELS } from "@drayage/api";
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

/** Until a data upload that outlived its backup is looked at again. */
const UNDER_WAY_MS = 60_000;

export function startMovedSnapshotRecordsController(deps: MovedSnapshotRecordsDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer(backups, { client, clock, random, logger, namespace });
  const records = startInformer(configMaps, { client, clock, random, logger, namespace, labelSelector: `${LABELS.dataUploadSnapshotInfo}=true` });
  // A tarball never changes once its backup has ended and nothing of it is under way: it is read once.
  const known = new Map<string, readonly MovedVolume[]>();
  const end = informer.onChange((before, after) => {
    if (after === undefined) known.delete(before?.metadata.uid ?? "");
  });
  const controller = startController({
    name: "moved-snapshot-records",
    sources: [
      source(informer),
      // One that a deletion took away, and may need again.
      source(records, {
        when: (_before, after) => after === undefined,
        toKeys: ({ metadata }) => (metadata.ownerReferences ?? []).map(({ name }) => ({ namespace, name })),
      }),
    ],
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
      records.stop();
    },
  };

  async function reconcile(key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> {
    const backup = informer.get(key);
    if (backup === undefined) return {};
    const uid = backup.metadata.uid ?? "";
    const observe = (moved: readonly MovedVolume[] | undefined) => ({
      phase: backup.status?.phase ?? "New",
      deleting: isDeleting(backup),
      movesData: backup.spec.snapshotMoveData === true,
      moved,
      recorded: records.list().map(({ metadata }) => metadata.name ?? ""),
    });
    let decision = decideRecords(observe(known.get(uid)));
    let again: ReconcileResult = {};
    if (decision.do === "lookUp") {
      const { volumes, final } = await lookUp(backup, signal);
      if (final) known.set(uid, volumes);
      else again = { requeueAfterMs: UNDER_WAY_MS };
      decision = decideRecords(observe(volumes));
    }
    if (decision.do !== "create") return again;
    for (const volume of decision.volumes) {
      try {
        await client.create(configMaps, buildRecord(backup, volume), { signal });
        logger.info("Recorded a moved snapshot for its deletion", { backup: key.name, dataUpload: volume.uploadName, snapshot: volume.snapshotId });
      } catch (error) {
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
    }
    return again;
  }

  async function lookUp(backup: Backup, signal: AbortSignal): ReturnType<typeof movedVolumesOf> {
    const name = backup.spec.storageLocation ?? "";
    const location = await client.find(backupStorageLocations, { namespace, name }, signal);
    if (location === undefined)
      throw new DrayError("KUBE_NOT_FOUND", `Cannot look up what backup "${backup.metadata.name}" moved: its location "${name}" is not there`);
    return movedVolumesOf(client, await deps.stores.open(location, signal), backup, signal);
  }
}
