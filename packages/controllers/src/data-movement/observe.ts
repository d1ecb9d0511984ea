/** Sees everything that `decide` needs to know about one object, and nothing else. Reads only. */
import { DATA_PATH_CANCELED, DRAYAGE_ANNOTATIONS, isProven, parseDataPathProgress, parseToldResult, parseTransferDetails } from "@drayage/api";
import { dispositionOf, isDrayError, messageOf, parseTime } from "@drayage/base";
import { type CoreEvent, formatKey, hasFinalizer, isDeleting, isOwnedBy, keyOf, type Pod, requireDuration } from "@drayage/kube";
import { failureMessage, hasEndedWell, isDisrupted, successMessage } from "../exposers/hosting-pod.ts";
import type { DataMovementCaches } from "./caches.ts";
import { claimDelayMs } from "./claim-order.ts";
import { type DataMoverClaims, finalizerFor } from "./data-movers.ts";
import { type DataMovement, endingOf, epochOf, isTerminal, MOVEMENT_ANNOTATIONS, type MovementKind, phaseOf } from "./movement.ts";
import { readyOf } from "./node-health.ts";
import { type DataPath, type Loss, type MovementProgress, type MoverResult, mayConclude, type Observed, type Role } from "./phases.ts";
import type { Slots } from "./slots.ts";
import { done, failed, type Work, wait } from "./work.ts";

export interface ObserverDeps<T extends DataMovement> {
  readonly kind: MovementKind<T>;
  readonly caches: DataMovementCaches;
  readonly claims: DataMoverClaims;
  readonly slots: Slots;
  readonly nodeName: string;
  readonly namespace: string;
  readonly prepareTimeoutMs: number;
  /** Objects that may be prepared at once in the whole cluster; 0 means any number. */
  readonly prepareQueueLength: number;
  readonly nowMs: () => number;
  /** How long this agent has known of a new movement. */
  readonly knownForMs: (movement: T) => number;
}

/** A node that is not Ready for this long is taken for dead (DESIGN 8.5). */
const NODE_DEAD_MS = 60_000;
/** So is one on which no agent has run for this long: longer than an upgrade takes that has to fetch its image. */
const AGENT_DEAD_MS = 10 * 60_000;
/** What no node has taken after this long is looked into. */
const ASTRAY_MS = 2 * 60_000;
/** Cleaning up is tried for this long where it is not allowed. */
const CLEAN_UP_MAX_MS = 30 * 60_000;

export async function observe<T extends DataMovement>(deps: ObserverDeps<T>, movement: T): Promise<Observed> {
  const { kind, claims, nodeName } = deps;
  const nowMs = deps.nowMs();
  const since = (time: string | null | undefined): number | undefined => {
    const ms = parseTime(time);
    return ms === undefined ? undefined : nowMs - ms;
  };
  const phase = phaseOf(movement);
  const datamover = movement.spec.datamover ?? "";
  const serves = [...claims.serves, ...(kind.alsoServedBy ?? [])];
  const registered = deps.caches.movers?.get({ name: datamover });
  const selfStarting = !serves.includes(datamover) && registered !== undefined && registered.spec.controller !== true;
  const ours = selfStarting || serves.includes(datamover);
  const claim = ours ? "ours" : registered === undefined && claims.unknown === "fail" ? "nobodys" : "others";
  const ending = endingOf(movement);
  const pinned = kind.pinnedTo?.(movement);
  const { acceptedByNode, node: movedBy } = movement.status ?? {};
  const ownerNode = pinned ?? (phase === "Accepted" ? acceptedByNode : isTerminal(phase) ? (movedBy ?? acceptedByNode) : movedBy) ?? "";
  const role = pinned === undefined ? roleOf(deps, phase, ownerNode) : pinnedRole(deps, pinned);
  const pod = deps.caches.pods.get({ namespace: deps.namespace, name: movement.metadata.name ?? "" });
  // A pod of an earlier epoch is one that is to go; one beside the pod that was named has no business here.
  const named = movement.metadata.annotations?.[DRAYAGE_ANNOTATIONS.moverPod];
  const isCurrent = pod !== undefined && isOwnedBy(pod, movement) && epochOf(pod) === epochOf(movement) && (named === undefined || named === pod.metadata.uid);
  const ourPod = isCurrent ? pod : undefined;
  const podNode = ourPod?.spec.nodeName;
  const strandedBy = podNode === undefined || podNode === nodeName ? undefined : lossOf(deps.caches, podNode);
  const dataPath = await dataPathOf(deps, movement, ourPod);
  const delivering = kind.isDelivering(movement);
  const endedForMs = since(ending?.at) ?? 0;
  const cancelRequested = movement.spec.cancel === true;
  const facts = {
    phase,
    claimInMs: pinned === undefined && phase === "New" ? claimInMs(deps, movement) : undefined,
    completedForMs: since(movement.status?.completionTimestamp),
    ageMs: since(movement.metadata.creationTimestamp),
    claim,
    role,
    hosting: podNode === nodeName,
    podUid: ourPod?.metadata.uid,
    stranded: strandedBy?.inMs === 0 ? strandedBy.why : undefined,
    epoch: epochOf(movement),
    pinned: pinned !== undefined,
    finalizer: hasFinalizer(movement, kind.finalizer ?? finalizerFor(datamover)),
    cancelRequested,
    cancelSeenForMs: since(movement.metadata.annotations?.[MOVEMENT_ANNOTATIONS.cancelSeen]),
    deleting: isDeleting(movement),
    ending,
    endedForMs,
    endingIsMine: ending?.by === nodeName,
    preparingForMs: since(movement.status?.acceptedTimestamp) ?? 0,
    prepareTimeoutMs: deps.prepareTimeoutMs,
    queueFull: deps.prepareQueueLength > 0 && deps.caches.exposing().length >= deps.prepareQueueLength,
    slotFree: deps.slots.isFree(slotKey(kind, movement)) && (phase !== "Prepared" || kind.leavesPlaceTo?.(movement) === undefined),
    selfStarting,
    heldBy: phase === "Accepted" ? kind.heldBy?.(movement) : undefined,
    dataPath,
    detailsForMs: ageOfDetails(movement, nowMs),
    reported: { totalBytes: movement.status?.progress?.totalBytes ?? 0, doneBytes: movement.status?.progress?.bytesDone ?? 0 },
    delivering,
    noun: kind.noun,
    datamover,
    knownMovers: [...new Set([...serves.filter((name) => name !== ""), ...(deps.caches.movers?.list() ?? []).map(({ metadata }) => metadata.name ?? "")])],
    ownerNode,
    // Where nobody knows yet whose it is, nobody is dead.
    loss: ownerNode === "" || ownerNode === nodeName ? undefined : lossOf(deps.caches, ownerNode),
    message: movement.status?.message,
  } as const;
  const blockedBy = phase === "New" && ours && !cancelRequested && role === "owner" ? await kind.blockedBy(movement) : undefined;
  const isAstray = phase === "New" && ours && pinned === "" && (since(movement.metadata.creationTimestamp) ?? 0) >= ASTRAY_MS;
  const astray = isAstray ? await kind.astray?.(movement) : undefined;
  const work = claim === "others" ? undefined : await workFor(deps, movement, facts);
  // By this process's own clock: that of who created it may be hours off.
  const isBlockedTooLong = blockedBy !== undefined && deps.knownForMs(movement) >= (kind.blockedMaxMs ?? Number.POSITIVE_INFINITY);
  return { ...facts, blockedBy, isBlockedTooLong, astray, work };
}

/** How long a new movement is left to other nodes. Its cancelling and an unknown mover are not: those are told at once. */
function claimInMs<T extends DataMovement>({ caches, nodeName, knownForMs }: ObserverDeps<T>, movement: T): number {
  const ready = caches.nodes
    .list()
    .filter((node) => readyOf(node)?.status === "True")
    .map(({ metadata }) => metadata.name ?? "");
  return Math.max(0, claimDelayMs(movement.metadata.uid ?? "", nodeName, ready) - knownForMs(movement));
}

type Facts = Omit<Observed, "blockedBy" | "isBlockedTooLong" | "astray" | "work">;

/** Looks for what is next only where this agent would do it: other objects are read for it. */
async function workFor<T extends DataMovement>(deps: ObserverDeps<T>, movement: T, facts: Facts): Promise<Work | undefined> {
  const { kind } = deps;
  const { ending, endedForMs } = facts;
  if (isTerminal(facts.phase)) return undefined;
  if (ending !== undefined) {
    if (!mayConclude(facts)) return undefined;
    const work = await guarded(() => kind.cleanUp(movement, ending, endedForMs));
    if (work.state !== "failed") return work;
    // What may not be removed now may be later; but the end is not kept back for ever for it.
    return endedForMs < CLEAN_UP_MAX_MS ? wait(`permission to clean up: ${work.message}`) : done;
  }
  if (facts.role !== "owner") return undefined;
  if (facts.phase === "Accepted" && !facts.cancelRequested) return invalidSpec(movement) ?? guarded(() => kind.expose(movement));
  const isRunning = facts.phase === "InProgress" || facts.phase === "Canceling";
  return isRunning && (facts.delivering || facts.dataPath.state === "succeeded")
    ? guarded(() => kind.deliver(movement, facts.dataPath.state === "succeeded" ? facts.dataPath.result.totalBytes : undefined))
    : undefined;
}

/** A look that fails is a fact as well: otherwise no time limit would be looked at either. */
async function guarded(look: () => Promise<Work>): Promise<Work> {
  try {
    return await look();
  } catch (error) {
    if (dispositionOf(error) === "retry") return wait(`the API server: ${messageOf(error)}`);
    const hint = isDrayError(error) ? error.hint : undefined;
    return failed(hint === undefined ? messageOf(error) : `${messageOf(error)}. ${hint}`);
  }
}

/** What the schema lets pass and cannot be worked with. */
function invalidSpec(movement: DataMovement): Work | undefined {
  if (movement.spec.operationTimeout === undefined) return undefined;
  try {
    requireDuration(movement.spec.operationTimeout, "spec.operationTimeout");
    return undefined;
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
}

export function slotKey<T extends DataMovement>(kind: MovementKind<T>, movement: T): string {
  return `${kind.type.plural}/${formatKey(keyOf(movement))}`;
}

function roleOf<T extends DataMovement>(deps: ObserverDeps<T>, phase: Observed["phase"], ownerNode: string): Role {
  // Before it is claimed everybody is equal, and the write decides.
  if (phase === "New" || ownerNode === deps.nodeName) return "owner";
  return isLost(deps.caches, ownerNode) ? "heir" : "bystander";
}

/** Nobody but its own node's agent can do the work; another can only end it when that node is dead. */
function pinnedRole<T extends DataMovement>(deps: ObserverDeps<T>, node: string): Role {
  if (node === deps.nodeName) return "owner";
  return node !== "" && isLost(deps.caches, node) ? "heir" : "bystander";
}

/** Whether nobody acts on a node any more. */
export function isLost(caches: LossCaches, nodeName: string): boolean {
  return lossOf(caches, nodeName)?.inMs === 0;
}

export type LossCaches = Pick<DataMovementCaches, "nodes" | "nodeHealth" | "agents">;

/** What is the matter with a node, and in how long it is given up for it; undefined for one that is well. */
export function lossOf({ nodes, nodeHealth, agents }: LossCaches, nodeName: string): Loss | undefined {
  const unreadyMs = nodes.get({ name: nodeName }) === undefined ? NODE_DEAD_MS : nodeHealth.unreadyForMs(nodeName);
  const deadMs = unreadyMs === undefined ? undefined : Math.max(0, NODE_DEAD_MS - unreadyMs);
  const absentMs = agents.absentForMs(nodeName);
  const silentMs = absentMs === undefined ? undefined : Math.max(0, AGENT_DEAD_MS - absentMs);
  if (deadMs !== undefined && deadMs <= (silentMs ?? Number.POSITIVE_INFINITY)) return { of: "node", inMs: deadMs, why: `node "${nodeName}" is not ready` };
  return silentMs === undefined
    ? undefined
    : { of: "agent", inMs: silentMs, why: `no node-agent has run on node "${nodeName}" for ${AGENT_DEAD_MS / 60_000} minutes` };
}

async function dataPathOf<T extends DataMovement>(deps: ObserverDeps<T>, movement: T, pod: Pod | undefined): Promise<DataPath> {
  if (pod === undefined) return { state: "absent" };
  const told = deps.caches.events.byIndex("about", formatKey(keyOf(movement)));
  const podPhase = pod.status?.phase ?? "Pending";
  // A kubelet looks at its containers once a second; a mover says itself that it is up.
  const isUp = podPhase === "Pending" && pod.metadata.uid !== undefined && told.some(({ related }) => related?.uid === pod.metadata.uid);
  switch (isUp ? "Running" : podPhase) {
    case "Pending":
      return { state: "starting" };
    case "Running": {
      if (hasEndedWell(pod)) return successOf(deps, movement, pod);
      // It says the same in the termination message, which is what counts where this is none.
      const text = await toldResultOf(deps, movement, pod.metadata.uid ?? "", told);
      const result = text === undefined ? undefined : resultOf(deps, movement, text);
      if (result !== undefined) return { state: "succeeded", result };
      const progress = latestProgress(told, movement);
      return { state: "running", ...(progress === undefined ? {} : { progress }) };
    }
    case "Succeeded":
      return successOf(deps, movement, pod);
    default: {
      const message = failureMessage(pod);
      const partial = resultOf(deps, movement, message);
      if (partial !== undefined) return { state: "failed", canceled: false, message: partial.message ?? "the snapshot is not whole", status: partial.status };
      return { state: "failed", message, canceled: message.endsWith(DATA_PATH_CANCELED), disrupted: isDisrupted(pod) };
    }
  }
}

function successOf<T extends DataMovement>(deps: ObserverDeps<T>, movement: T, pod: Pod): DataPath {
  const text = successMessage(pod);
  const result = resultOf(deps, movement, text);
  if (result !== undefined) return { state: "succeeded", result };
  return { state: "failed", canceled: false, message: `the mover ended without a result: its last message is ${JSON.stringify(text.slice(0, 200))}` };
}

/** What the pod has told of its end itself, and has proven. */
async function toldResultOf<T extends DataMovement>(
  { kind }: ObserverDeps<T>,
  movement: T,
  podUid: string,
  told: readonly CoreEvent[],
): Promise<string | undefined> {
  for (const { related, message = "" } of told) {
    const claim = related?.uid === podUid ? parseToldResult(message) : undefined;
    // Where the key cannot be read now, the kubelet says the same in a moment.
    const key = claim === undefined ? undefined : await kind.resultKey(movement).catch(() => undefined);
    if (claim !== undefined && key !== undefined && isProven(key, podUid, claim)) return claim.result;
  }
  return undefined;
}

function resultOf<T extends DataMovement>({ kind }: ObserverDeps<T>, movement: T, text: string): MoverResult | undefined {
  const parsed = kind.parseResult(text, movement);
  if (parsed === undefined) return undefined;
  const { status, totalBytes, message } = parsed;
  return { status: { ...status, progress: { bytesDone: totalBytes, totalBytes } }, totalBytes, ...(message === undefined ? {} : { message }) };
}

/** Progress never goes back, whichever of the Events comes last. A total that is not known yet stays what was reported. */
function latestProgress(events: readonly CoreEvent[], movement: DataMovement): MovementProgress | undefined {
  let best: MovementProgress | undefined;
  for (const { message, involvedObject } of events) {
    if (involvedObject.uid !== undefined && involvedObject.uid !== movement.metadata.uid) continue;
    const progress = parseDataPathProgress(message ?? "");
    if (progress === undefined) continue;
    const details = best !== undefined && best.doneBytes > progress.doneBytes ? best.details : progress.details;
    best = {
      totalBytes: Math.max(best?.totalBytes ?? 0, progress.totalBytes),
      doneBytes: Math.max(best?.doneBytes ?? 0, progress.doneBytes),
      ...(details === undefined ? {} : { details }),
    };
  }
  if (best === undefined) return undefined;
  return {
    totalBytes: Math.max(best.totalBytes, movement.status?.progress?.totalBytes ?? 0),
    doneBytes: Math.max(best.doneBytes, movement.status?.progress?.bytesDone ?? 0),
    ...(best.details === undefined ? {} : { details: best.details }),
  };
}

function ageOfDetails({ metadata }: DataMovement, nowMs: number): number | undefined {
  const details = metadata.annotations?.[DRAYAGE_ANNOTATIONS.transfer];
  const atMs = details === undefined ? undefined : parseTime(parseTransferDetails(details)?.at);
  return atMs === undefined ? undefined : nowMs - atMs;
}
