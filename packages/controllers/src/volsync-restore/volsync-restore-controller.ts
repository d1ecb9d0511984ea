/** Runs the VolumeSnapshotRestores of this installation that VolSync carries out. */
import { type ReplicationDestination, replicationDestinations, type VolumeSnapshotRestore, VSM_OWNER_ANNOTATIONS, volumeSnapshotRestores } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type KubeClient, parseKey, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import type { ResticEnvironment, VolSyncEraSettings } from "../volsync-era/settings.ts";
import { apply } from "./apply.ts";
import { isIntoSnapshot, observe } from "./observe.ts";
import { decide } from "./volsync-restore.ts";

export interface VolSyncRestoreControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation. */
  readonly namespace: string;
  readonly settings: VolSyncEraSettings;
  readonly environment: ResticEnvironment;
}

const RESYNC_MS = 60_000;
const CONFLICT_MS = 200;

export function startVolSyncRestoreController(deps: VolSyncRestoreControllerDeps): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const restores = startInformer<VolumeSnapshotRestore>(volumeSnapshotRestores, { client, clock, random, logger });
  const destinations = startInformer<ReplicationDestination>(replicationDestinations, { client, clock, random, logger, namespace });
  const isOurs = (restore: VolumeSnapshotRestore): boolean => restore.spec.protectedNamespace === namespace && isIntoSnapshot(restore);
  const applier = { client, logger, nowMs: () => clock.nowMs() };
  const controller = startController({
    name: "volsync-restore",
    clock,
    random,
    logger,
    resyncMs: RESYNC_MS,
    sources: [
      source(restores, { when: (before, after) => [before, after].some((restore) => restore !== undefined && isOurs(restore)) }),
      source(destinations, {
        toKeys: ({ metadata }) => {
          const owner = metadata.annotations?.[VSM_OWNER_ANNOTATIONS.volumeSnapshotRestore];
          return owner === undefined ? [] : [parseKey(owner)];
        },
      }),
    ],
    // One after the other: each looks for a free place in the objects themselves.
    async reconcile(key, signal) {
      const restore = await client.find(volumeSnapshotRestores, key, signal);
      if (restore === undefined || !isOurs(restore)) return {};
      const decision = decide(await observe(deps, restore));
      if (decision.waitingFor !== undefined)
        logger.debug("VolumeSnapshotRestore waits", { name: key.name, namespace: key.namespace, for: decision.waitingFor });
      for (const step of decision.steps) {
        try {
          await apply(applier, restore, step);
        } catch (error) {
          if (!hasCode(error, "KUBE_CONFLICT")) throw error;
          return { requeueAfterMs: CONFLICT_MS };
        }
      }
      if (decision.steps.some((step) => step.do === "work")) return { requeueAfterMs: 0 };
      return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
    },
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      restores.stop();
      destinations.stop();
    },
  };
}
