/** Runs the VolumeSnapshotRestores of this installation: those whose protected namespace is its own. A data mover of OADP's that still runs elsewhere keeps its own. */
import { type DataDownload, dataDownloads, type VolumeSnapshotRestore, volumeSnapshotRestores } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type KubeClient, parseKey, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import { apply, OWNER_ANNOTATION } from "./apply.ts";
import { observe } from "./observe.ts";
import { decide } from "./volume-snapshot-restore.ts";

export interface VolumeSnapshotRestoreControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation. */
  readonly namespace: string;
  /** Of one Restore, worked on at once; OADP's 10 when left out. */
  readonly concurrency?: number;
  /** Those that another controller carries out. */
  readonly except?: (restore: VolumeSnapshotRestore) => boolean;
}

const CONCURRENCY = 10;
const RESYNC_MS = 60_000;
const CONFLICT_MS = 200;

export function startVolumeSnapshotRestoreController(deps: VolumeSnapshotRestoreControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const restores = startInformer<VolumeSnapshotRestore>(volumeSnapshotRestores, { client, clock, random, logger });
  const downloads = startInformer<DataDownload>(dataDownloads, { client, clock, random, logger, namespace });
  const isOurs = (restore: VolumeSnapshotRestore): boolean => restore.spec?.protectedNamespace === namespace && deps.except?.(restore) !== true;
  const observer = { client, namespace, concurrency: deps.concurrency ?? CONCURRENCY, all: () => restores.list().filter(isOurs) };
  const applier = { client, namespace, logger, nowMs: () => clock.nowMs() };
  const controller = startController({
    name: "volume-snapshot-restore",
    clock,
    random,
    logger,
    resyncMs: RESYNC_MS,
    sources: [
      source(restores, { when: (before, after) => [before, after].some((restore) => restore !== undefined && isOurs(restore)) }),
      source(downloads, {
        toKeys: ({ metadata }) => {
          const owner = metadata.annotations?.[OWNER_ANNOTATION];
          return owner === undefined ? [] : [parseKey(owner)];
        },
      }),
    ],
    async reconcile(key, signal) {
      const restore = await client.find(volumeSnapshotRestores, key, signal);
      if (restore === undefined || !isOurs(restore)) return {};
      const decision = decide(await observe(observer, restore));
      for (const step of decision.steps) {
        try {
          await apply(applier, restore, step);
        } catch (error) {
          if (!hasCode(error, "KUBE_CONFLICT")) throw error;
          return { requeueAfterMs: CONFLICT_MS };
        }
      }
      return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
    },
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      restores.stop();
      downloads.stop();
    },
  };
}
