/** Runs one kind of data movement on one node: observe, decide, apply. */
import { LABELS } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import {
  type Controller,
  type ControllerSource,
  type EventRecorder,
  formatKey,
  type Informer,
  type KubeClient,
  type KubeObject,
  keyOf,
  type Node,
  type ObjectKey,
  type ReconcileResult,
  source,
  startController,
} from "@drayage/kube";
import { apply } from "./apply.ts";
import type { DataMovementCaches } from "./caches.ts";
import type { DataMoverClaims } from "./data-movers.ts";
import { type DataMovement, isTerminal, type MovementKind, phaseOf } from "./movement.ts";
import { observe, readyOf, slotKey } from "./observe.ts";
import { decide } from "./phases.ts";
import type { Slots } from "./slots.ts";

export interface MovementControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly nodeName: string;
  readonly caches: DataMovementCaches;
  readonly claims: DataMoverClaims;
  readonly slots: Slots;
  readonly events: EventRecorder;
  /** How long an object may be Accepted; Velero's 30 minutes when left out. */
  readonly prepareTimeoutMs?: number;
  readonly prepareQueueLength?: number;
  /** What else may let a movement of this kind go on. */
  readonly moreSources?: readonly ControllerSource[];
  /** Reconciles at once; 4 when left out. */
  readonly workers?: number;
}

const PREPARE_TIMEOUT_MS = 30 * 60_000;
const TICK_MS = 60_000;
const TELL_EVERY_MS = 10_000;
/** After a lost race the winner's write is on its way to the cache. */
const LOST_RACE_MS = 200;

export function startMovementController<T extends DataMovement>(informer: Informer<T>, kind: MovementKind<T>, deps: MovementControllerDeps): Controller {
  const { client, clock, caches, claims, slots, nodeName, namespace } = deps;
  const logger = deps.logger.child({ kind: kind.type.kind, node: nodeName });
  const nowMs = (): number => clock.nowMs();
  const observer = {
    kind,
    caches,
    claims,
    slots,
    nodeName,
    namespace,
    prepareTimeoutMs: deps.prepareTimeoutMs ?? PREPARE_TIMEOUT_MS,
    prepareQueueLength: deps.prepareQueueLength ?? 0,
    nowMs,
  };
  const applier = { client, kind, logger, slots, namespace, nodeName, nowMs, events: deps.events };

  /** Reasons may change with every look; people read slower than that, and each is a write. */
  const told = new Map<string, number>();
  const mayTell = ({ metadata: { uid = "" } }: T): boolean => {
    const last = told.get(uid);
    if (last !== undefined && nowMs() - last < TELL_EVERY_MS) return false;
    for (const [other, atMs] of told) if (nowMs() - atMs >= TELL_EVERY_MS) told.delete(other);
    told.set(uid, nowMs());
    return true;
  };

  const reconcile = async (key: ObjectKey): Promise<ReconcileResult> => {
    const movement = informer.get(key);
    if (movement === undefined) {
      slots.seen(`${kind.type.plural}/${formatKey(key)}`);
      return {};
    }
    const phase = phaseOf(movement);
    // What was started and is Accepted again was adopted by another node.
    if (phase !== "Prepared") slots.seen(slotKey(kind, movement));
    const decision = decide(await observe(observer, movement));
    if (decision.waitingFor !== undefined) logger.debug("Waiting", { name: key.name, phase, for: decision.waitingFor });
    for (const step of decision.steps) {
      if (step.do === "tellWaiting" && !mayTell(movement)) continue;
      try {
        await apply(applier, movement, step);
      } catch (error) {
        if (!hasCode(error, "KUBE_CONFLICT")) throw error;
        logger.debug("The object was changed in the meantime", { name: key.name, step: step.do });
        return { requeueAfterMs: LOST_RACE_MS };
      }
    }
    return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
  };

  /** Those that may be waiting for others to be prepared, or for others to end on this node. */
  const waiting = (): readonly ObjectKey[] =>
    informer
      .list()
      .filter((movement) => phaseOf(movement) === "New" || (phaseOf(movement) === "Prepared" && movement.status?.node === nodeName))
      .map(keyOf);
  const onNode = ({ metadata }: Node): readonly ObjectKey[] =>
    informer
      .list()
      .filter((movement) => !isTerminal(phaseOf(movement)) && [movement.status?.acceptedByNode, movement.status?.node].includes(metadata.name))
      .map(keyOf);
  const named = (object: KubeObject): readonly ObjectKey[] => [{ namespace, name: object.metadata.name ?? "" }];
  return startController({
    name: kind.type.plural,
    sources: [
      source(informer),
      // A mover pod and what it tells concern the object of its name; a name that is not one of this kind finds nothing.
      source(caches.pods, { toKeys: (pod) => (pod.metadata.labels?.[kind.podLabel] === undefined ? [] : named(pod)) }),
      source(caches.events, {
        toKeys: ({ involvedObject }) => (involvedObject.kind === kind.type.kind ? [{ namespace, name: involvedObject.name ?? "" }] : []),
      }),
      // A place that gets free is somebody's at once.
      source(caches.uploads, { when: freesPlace, toKeys: waiting }),
      source(caches.downloads, { when: freesPlace, toKeys: waiting }),
      source(caches.volumeBackups, { when: freesPlace, toKeys: waiting }),
      source(caches.volumeRestores, { when: freesPlace, toKeys: waiting }),
      ...(deps.moreSources ?? []),
      // A node that falls silent, or comes back, concerns what is on it; its heartbeats concern nobody.
      source(caches.nodes, { when: changesReady, toKeys: onNode }),
      source(caches.repositories, { toKeys: () => [] }),
    ],
    reconcile,
    workers: deps.workers ?? 4,
    resyncMs: TICK_MS,
    clock,
    random: deps.random,
    logger: deps.logger,
  });
}

function changesReady(before: Node | undefined, after: Node | undefined): boolean {
  return before !== undefined && readyOf(before)?.status !== readyOf(after)?.status;
}

/** Whether something has left the queue of what is prepared, or has stopped running. */
function freesPlace(before: DataMovement | undefined, after: DataMovement | undefined): boolean {
  if (before === undefined) return false;
  const isRunning = (movement: DataMovement): boolean => phaseOf(movement) === "InProgress" || phaseOf(movement) === "Canceling";
  const isPreparing = ({ metadata }: DataMovement): boolean => metadata.labels?.[LABELS.exposeOnGoing] === "true";
  return (isRunning(before) && (after === undefined || !isRunning(after))) || (isPreparing(before) && (after === undefined || !isPreparing(after)));
}
