/** Runs ReplicationSources and ReplicationDestinations of all namespaces where no VolSync does. */
import { SYNCHRONIZING_REASONS, VOLSYNC_OWNER_LABEL } from "@drayage/api";
import { type Clock, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type KubeClient, type Pod, pods, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import { apply } from "./apply.ts";
import { observe } from "./observe.ts";
import { DESTINATION, type Replication, type ReplicationKind, SOURCE } from "./replication-kinds.ts";
import { decide } from "./synchronization.ts";
import { createVolSyncPresence } from "./volsync-presence.ts";

export interface VolSyncControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the mover's pods: the server's own. */
  readonly image: string;
  readonly logLevel: string;
  readonly resticProgram?: string | undefined;
}

/** A VolSync that is installed or removed is seen within this time. */
const RESYNC_MS = 60_000;
const CONFLICT_MS = 200;
const WORKERS = 4;

export function startVolSyncController(deps: VolSyncControllerDeps): RunningController {
  const { client, clock, random, logger } = deps;
  const movers = startInformer<Pod>(pods, { client, clock, random, logger, labelSelector: VOLSYNC_OWNER_LABEL });
  const volSyncRuns = createVolSyncPresence(client, clock);
  const start = (kind: ReplicationKind): RunningController => {
    const objects = startInformer<Replication>(kind.type, { client, clock, random, logger });
    const controller = startController({
      name: `volsync-${kind.direction}`,
      clock,
      random,
      logger,
      workers: WORKERS,
      resyncMs: RESYNC_MS,
      sources: [
        source(objects),
        source(movers, {
          toKeys: ({ metadata }) =>
            (metadata.ownerReferences ?? []).filter((owner) => owner.kind === kind.type.kind).map(({ name }) => ({ namespace: metadata.namespace, name })),
        }),
      ],
      async reconcile(key, signal) {
        const object = await client.find(kind.type, key, signal);
        if (object === undefined) return {};
        const decision = decide(await observe({ client, clock, volSyncRuns }, object));
        for (const step of decision.steps) {
          try {
            await apply(deps, kind, object, step);
          } catch (error) {
            // The object has changed; it is looked at again.
            if (hasCode(error, "KUBE_CONFLICT")) return { requeueAfterMs: CONFLICT_MS };
            // What the API server refuses (a service account that is missing, a quota) shows where its user looks, and is tried again.
            await apply(deps, kind, object, { do: "setCondition", status: "False", reason: SYNCHRONIZING_REASONS.error, message: messageOf(error) });
            throw error;
          }
        }
        return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
      },
    });
    return {
      idle: () => controller.idle(),
      async stop() {
        await controller.stop();
        objects.stop();
      },
    };
  };
  const running = [start(SOURCE as unknown as ReplicationKind), start(DESTINATION as unknown as ReplicationKind)];
  return {
    async idle() {
      for (const controller of running) await controller.idle();
    },
    async stop() {
      for (const controller of running) await controller.stop();
      movers.stop();
    },
  };
}
