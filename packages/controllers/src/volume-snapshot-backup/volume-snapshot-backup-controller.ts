/** Runs the VolumeSnapshotBackups of this installation: those whose protected namespace is its own. A data mover of OADP's that still runs elsewhere keeps its own. */
import { type ReplicationSource, replicationSources, type VolumeSnapshotBackup, VSM_OWNER_ANNOTATIONS, volumeSnapshotBackups } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type KubeClient, parseKey, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import type { ResticEnvironment, VolSyncEraSettings } from "../volsync-era/settings.ts";
import { apply } from "./apply.ts";
import { observe } from "./observe.ts";
import type { PrepareDeps } from "./prepare.ts";
import { decide } from "./volume-snapshot-backup.ts";

export interface VolumeSnapshotBackupControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation. */
  readonly namespace: string;
  readonly settings: VolSyncEraSettings;
  readonly environment: ResticEnvironment;
  /** The pod that has a volume bound until VolSync's mover uses it. */
  readonly holder: PrepareDeps["holder"];
}

const RESYNC_MS = 60_000;
const CONFLICT_MS = 200;

export function startVolumeSnapshotBackupController(deps: VolumeSnapshotBackupControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const backups = startInformer<VolumeSnapshotBackup>(volumeSnapshotBackups, { client, clock, random, logger });
  const sources = startInformer<ReplicationSource>(replicationSources, { client, clock, random, logger, namespace });
  const isOurs = ({ spec }: VolumeSnapshotBackup): boolean => spec.protectedNamespace === namespace;
  const applier = { client, logger, nowMs: () => clock.nowMs() };
  const controller = startController({
    name: "volume-snapshot-backup",
    clock,
    random,
    logger,
    resyncMs: RESYNC_MS,
    sources: [
      source(backups, { when: (before, after) => [before, after].some((backup) => backup !== undefined && isOurs(backup)) }),
      source(sources, {
        toKeys: ({ metadata }) => {
          const owner = metadata.annotations?.[VSM_OWNER_ANNOTATIONS.volumeSnapshotBackup];
          return owner === undefined ? [] : [parseKey(owner)];
        },
      }),
    ],
    // One after the other: each looks for a free place in the objects themselves.
    async reconcile(key, signal) {
      const backup = await client.find(volumeSnapshotBackups, key, signal);
      if (backup === undefined || !isOurs(backup)) return {};
      const decision = decide(await observe(deps, backup));
      if (decision.waitingFor !== undefined) logger.debug("VolumeSnapshotBackup waits", { name: key.name, namespace: key.namespace, for: decision.waitingFor });
      for (const step of decision.steps) {
        try {
          await apply(applier, backup, step);
        } catch (error) {
          if (!hasCode(error, "KUBE_CONFLICT")) throw error;
          return { requeueAfterMs: CONFLICT_MS };
        }
      }
      // What was made for it is not all watched, so the next step follows at once.
      if (decision.steps.some((step) => step.do === "work")) return { requeueAfterMs: 0 };
      return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
    },
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      backups.stop();
      sources.stop();
    },
  };
}
