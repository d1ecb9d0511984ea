/** Runs DataMoverBackups and DataMoverRestores: observe, decide, apply. One leader at a time does so. */
import { type Clock, dispositionOf, errorFields, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type Discovery, type KubeClient, type ObjectKey, pods, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import type { MoverPodSettings } from "../exposers/exposer-deps.ts";
import { apply, typeOf } from "./apply.ts";
import { decide, isTerminal } from "./move.ts";
import { MOVE_KINDS, type Move, type MoveKind, observe } from "./observe.ts";

export interface MoverMovesControllerDeps {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly pod: MoverPodSettings;
}

const LOST_RACE_MS = 200;

export function startMoverMovesController(deps: MoverMovesControllerDeps): RunningController {
  const controllers = [start(deps, MOVE_KINDS.backup), start(deps, MOVE_KINDS.restore)];
  return {
    async idle() {
      for (const controller of controllers) await controller.idle();
    },
    async stop() {
      for (const controller of controllers) await controller.stop();
    },
  };
}

function start(deps: MoverMovesControllerDeps, kind: MoveKind): RunningController {
  const { client, clock, random, logger, namespace } = deps;
  const informerOptions = { client, clock, random, logger, namespace };
  const moves = startInformer<Move>(typeOf(kind), informerOptions);
  const podCache = startInformer(pods, { ...informerOptions, labelSelector: kind.label });
  const full = { ...deps, nowMs: () => clock.nowMs() };
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    // From the API server: a cache that is behind would have a pod made twice, or an ending overwritten.
    const move = await client.find<Move>(typeOf(kind), key, signal);
    if (move === undefined) return {};
    const decision = decide(await observe(full, kind, move, signal));
    if (decision.waitingFor !== undefined) logger.debug("Waiting", { name: key.name, for: decision.waitingFor });
    for (const step of decision.steps) {
      try {
        await apply(full, kind, move, step, signal);
      } catch (error) {
        if (hasCode(error, "KUBE_CONFLICT")) return { requeueAfterMs: LOST_RACE_MS };
        if (dispositionOf(error) === "retry" || isTerminal(move.status?.phase ?? "New")) throw error;
        logger.warn("Cannot go on", { name: key.name, step: step.do, ...errorFields(error) });
        await apply(full, kind, move, { do: "setPhase", to: "Failed", message: messageOf(error) }, signal);
        return { requeueAfterMs: 0 };
      }
    }
    return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
  };
  const controller = startController({
    name: typeOf(kind).plural,
    clock,
    random,
    logger,
    sources: [
      source(moves),
      source(podCache, {
        toKeys: ({ metadata }) => (metadata.ownerReferences ?? []).filter((owner) => owner.kind === typeOf(kind).kind).map(({ name }) => ({ namespace, name })),
      }),
    ],
    reconcile,
    workers: 4,
    resyncMs: 60_000,
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      moves.stop();
      podCache.stop();
    },
  };
}
