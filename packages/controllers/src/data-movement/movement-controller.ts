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
import { KnownMovements } from "./claim-order.ts";
import type { DataMoverClaims } from "./data-movers.ts";
import { type DataMovement, isMoving, isTerminal, type MovementKind, phaseOf } from "./movement.ts";
import { readyOf } from "./node-health.ts";
import { observe, slotKey } from "./observe.ts";
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
/** So is a write of our own, and its arrival is a change that is seen; this is for a cache whose watch has ended. */
const BEHIND_MS = 1_000;

export function startMovementController<T extends DataMovement>(informer: Informer<T>, kind: MovementKind<T>, deps: MovementControllerDeps): Controller {
  const { client, clock, caches, claims, slots, nodeName, namespace } = deps;
  const logger = deps.logger.child({ kind: kind.type.kind, node: nodeName });
  const nowMs = (): number => clock.nowMs();
  const known = new KnownMovements(clock);
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
    knownForMs: ({ metadata }: T): number => known.forMs(metadata.uid),
  };
  const own = new OwnWrites();
  const applier = { client, kind, logger, slots, namespace, nodeName, nowMs, events: deps.events, replaced: own.note.bind(own) };

  const mayTell = tellingLimit(nowMs);
  const reconcile = async (key: ObjectKey): Promise<ReconcileResult> => {
    const movement = informer.get(key);
    if (movement === undefined) {
      slots.seen(`${kind.type.plural}/${formatKey(key)}`);
      own.forget(key);
      return {};
    }
    if (own.isBehind(movement)) return { requeueAfterMs: BEHIND_MS };
    const phase = phaseOf(movement);
    known.seen(movement.metadata.uid, phase === "New");
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
      source(caches.repositories, {
        when: (before, after) => before?.status?.phase !== after?.status?.phase,
        toKeys: () => awaitingRepository(deps, kind, informer),
      }),
    ],
    reconcile,
    workers: deps.workers ?? 4,
    resyncMs: TICK_MS,
    clock,
    random: deps.random,
    logger: deps.logger,
  });
}

/** Those that may wait for their repository: that this node's agent has accepted, or whose mover is up on this node. */
function awaitingRepository<T extends DataMovement>(
  { nodeName, namespace, caches }: MovementControllerDeps,
  kind: MovementKind<T>,
  informer: Informer<T>,
): readonly ObjectKey[] {
  const isHere = (movement: T): boolean =>
    (kind.pinnedTo?.(movement) ?? movement.status?.acceptedByNode) === nodeName ||
    caches.pods.get({ namespace, name: movement.metadata.name ?? "" })?.spec.nodeName === nodeName;
  return informer
    .list()
    .filter((movement) => phaseOf(movement) === "Accepted" && isHere(movement))
    .map(keyOf);
}

/** Versions that this agent has replaced. While the cache still shows one of them, whatever is decided is decided of the past, and a write by it is a lost race with ourselves. */
class OwnWrites {
  readonly #replaced = new Map<string, string>();

  note({ metadata: before }: KubeObject, { metadata: after }: KubeObject): void {
    // A write that changes nothing leaves the version.
    if (before.resourceVersion === undefined || before.resourceVersion === after.resourceVersion) return;
    this.#replaced.set(`${before.namespace}/${before.name}`, `${before.uid}/${before.resourceVersion}`);
  }

  isBehind({ metadata: { namespace, name, uid, resourceVersion } }: KubeObject): boolean {
    const isBehind = this.#replaced.get(`${namespace}/${name}`) === `${uid}/${resourceVersion}`;
    if (!isBehind) this.#replaced.delete(`${namespace}/${name}`);
    return isBehind;
  }

  forget({ namespace, name }: ObjectKey): void {
    this.#replaced.delete(`${namespace}/${name}`);
  }
}

/** Reasons may change with every look; people read slower than that, and each is a write. */
function tellingLimit(nowMs: () => number): (movement: KubeObject) => boolean {
  const told = new Map<string, number>();
  return ({ metadata: { uid = "" } }) => {
    const last = told.get(uid);
    if (last !== undefined && nowMs() - last < TELL_EVERY_MS) return false;
    for (const [other, atMs] of told) if (nowMs() - atMs >= TELL_EVERY_MS) told.delete(other);
    told.set(uid, nowMs());
    return true;
  };
}

function changesReady(before: Node | undefined, after: Node | undefined): boolean {
  return before !== undefined && readyOf(before)?.status !== readyOf(after)?.status;
}

/** Whether something has left the queue of what is prepared, or has stopped running. */
function freesPlace(before: DataMovement | undefined, after: DataMovement | undefined): boolean {
  if (before === undefined) return false;
  const isPreparing = ({ metadata }: DataMovement): boolean => metadata.labels?.[LABELS.exposeOnGoing] === "true";
  return (isMoving(before) && (after === undefined || !isMoving(after))) || (isPreparing(before) && (after === undefined || !isPreparing(after)));
}
