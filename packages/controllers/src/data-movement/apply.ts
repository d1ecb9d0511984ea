/** Runs one step. Each makes at most one write to the object itself, which fails when the object is not the one that was looked at. */

import { DRAYAGE_ANNOTATIONS, LABELS } from "@drayage/api";
import { dispositionOf, errorFields, formatTime, fromUtf8, hasCode, type Logger, messageOf } from "@drayage/base";
import { type EventRecorder, isDeleting, type KubeClient, keyOf, withFinalizer, withLabels, withoutFinalizer } from "@drayage/kube";
import { finalizerFor } from "./data-movers.ts";
import { type DataMovement, type Ending, epochOf, MOVEMENT_ANNOTATIONS, type MovementKind, phaseOf } from "./movement.ts";
import { tell } from "./movement-events.ts";
import { slotKey } from "./observe.ts";
import { ADOPTIONS_MAX, type Step, WAITING } from "./phases.ts";
import type { Slots } from "./slots.ts";

export interface ApplierDeps<T extends DataMovement> {
  readonly client: KubeClient;
  readonly kind: MovementKind<T>;
  readonly logger: Logger;
  readonly slots: Slots;
  readonly namespace: string;
  readonly nodeName: string;
  readonly nowMs: () => number;
  readonly events: EventRecorder;
  /** Told of each change that was written, with what it was made from. */
  readonly replaced?: (before: T, after: T) => void;
}

/** How much of a failed mover's log goes into ours. */
const MOVER_LOG_LINES = 50;
const MOVER_LOG_BYTES_MAX = 64 << 10;

/**
 * How the API server says that a namespace has no room, or that nobody has counted yet how much a new quota leaves: others may end, and the count comes, so this is waited for, within the time
 * for preparing. A pod that lacks what a quota wants it to say (`failed quota`) is refused for good.
 */
const QUOTA = /exceeded quota|status unknown for quota/;

type Status = NonNullable<DataMovement["status"]>;

export async function apply<T extends DataMovement>(deps: ApplierDeps<T>, movement: T, step: Step): Promise<void> {
  const { kind, nodeName } = deps;
  const now = formatTime(deps.nowMs());
  const write = async (changed: T): Promise<void> => deps.replaced?.(movement, await deps.client.replace(kind.type, changed));
  const withStatus = (changed: T, status: Status): T => ({ ...changed, status: { ...changed.status, ...status } });
  const finalizer = kind.finalizer ?? finalizerFor(movement.spec.datamover ?? "");
  const nodeFields = kind.nodeFields ?? ["acceptedByNode", "node"];
  switch (step.do) {
    case "removeFinalizer":
      return write(withoutFinalizer(movement, finalizer));
    case "claim":
      await write(
        withStatus(withFinalizer(withLabels(movement, { [LABELS.exposeOnGoing]: "true" }), finalizer), {
          phase: "Accepted",
          ...(nodeFields.includes("acceptedByNode") ? { acceptedByNode: nodeName } : {}),
          // Only this node can go on with it, and the others must know whom they wait for.
          ...(kind.pinnedTo !== undefined && nodeFields.includes("node") ? { node: nodeName } : {}),
          // A successor goes on within the time that the first one had.
          acceptedTimestamp: movement.status?.acceptedTimestamp ?? now,
        }),
      );
      if (phaseOf(movement) === "New") kind.begun?.(movement);
      deps.logger.info("Claimed", { name: movement.metadata.name });
      tell(deps.events, movement, "Accepted", `accepted by node "${nodeName}"`);
      return;
    case "adopt":
      await write(adopted(deps, movement, step.why, now));
      tell(deps.events, movement, "TakenOver", adoptedMessage(deps, movement, step.why));
      deps.logger.warn("Taken over", { name: movement.metadata.name, why: step.why, epoch: epochOf(movement) + 1 });
      return;
    case "inherit":
      await write(withStatus(movement, { node: nodeName }));
      deps.logger.warn("Taken over after its mover had ended", { name: movement.metadata.name });
      tell(deps.events, movement, "TakenOver", `node "${nodeName}" finishes what a mover on node "${movement.status?.node ?? ""}" has moved`);
      return;
    case "tellWaiting":
      await write(withStatus(movement, { message: step.message }));
      tell(deps.events, movement, "Waiting", step.message);
      return;
    case "stampCancel":
      return write(withAnnotations(movement, { [MOVEMENT_ANNOTATIONS.cancelSeen]: now }));
    case "requestCancel":
      return write(withStatus({ ...movement, spec: { ...movement.spec, cancel: true } }, { message: step.message }));
    case "reportProgress": {
      const details = step.details === undefined ? {} : { [DRAYAGE_ANNOTATIONS.transfer]: JSON.stringify({ ...step.details, at: now }) };
      return write(withStatus(withAnnotations(movement, details), { progress: { totalBytes: step.totalBytes, bytesDone: step.doneBytes } }));
    }
    case "recordEnding": {
      if (step.phase === "Failed") await logMover(deps, movement);
      const { phase, message, status } = step;
      return write(
        withEnding(movement, { phase, at: now, by: nodeName, ...(message === undefined ? {} : { message }), ...(status === undefined ? {} : { status }) }),
      );
    }
    case "conclude":
      deps.slots.seen(slotKey(kind, movement));
      await write(concluded(deps, movement, step.ending, now, finalizer));
      kind.ended?.(movement);
      tell(deps.events, movement, step.ending.phase, step.ending.message ?? `${kind.noun} completed`);
      deps.logger[step.ending.phase === "Failed" ? "warn" : "info"](step.ending.phase, { name: movement.metadata.name, message: step.ending.message });
      return;
    case "setPhase":
      if (!(await setPhase(deps, movement, step, now, write))) return;
      deps.logger.info(step.to, { name: movement.metadata.name });
      if (step.to === "Prepared") tell(deps.events, movement, "Prepared", `the volume is exposed on node "${nodeName}"`);
      return;
    case "work":
      deps.logger.debug("Doing", { name: movement.metadata.name, what: step.work.what });
      return perform(deps, movement, step, now, write);
  }
}

/** False when the phase could not be entered after all: another data path took the last slot. */
async function setPhase<T extends DataMovement>(
  deps: ApplierDeps<T>,
  movement: T,
  step: Extract<Step, { do: "setPhase" }>,
  now: string,
  write: (changed: T) => Promise<void>,
): Promise<boolean> {
  const { to } = step;
  // What was waited for has come.
  const { message, ...before } = movement.status ?? {};
  const said = message === undefined || message.startsWith(WAITING) ? {} : { message };
  const next = (status: Status): T => ({ ...movement, status: { ...before, ...said, ...status, phase: to } });
  if (step.to === "InProgress") {
    // One that was adopted has been at it since its first start.
    const startTimestamp = epochOf(movement) > 0 ? (movement.status?.startTimestamp ?? now) : now;
    const started = withAnnotations(withLabels(next({ startTimestamp }), { [LABELS.exposeOnGoing]: undefined }), {
      [DRAYAGE_ANNOTATIONS.moverPod]: step.moverPod,
    });
    return deps.slots.take(slotKey(deps.kind, movement), () => write({ ...started, status: { ...started.status, ...deps.kind.startStatus } }));
  }
  const hasNode = deps.kind.nodeFields?.includes("node") ?? true;
  await write(next(to === "Prepared" && hasNode ? { node: deps.nodeName } : {}));
  return true;
}

/** What cannot be made ends the movement; what may pass is tried again by the queue, within the time for preparing. */
async function perform<T extends DataMovement>(
  deps: ApplierDeps<T>,
  movement: T,
  step: Extract<Step, { do: "work" }>,
  now: string,
  write: (changed: T) => Promise<void>,
): Promise<void> {
  try {
    await step.work.run();
  } catch (error) {
    // The world was not what it looked like: another agent was quicker, or a cache was behind. Looking again settles it.
    const isStale = hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND", "KUBE_ALREADY_EXISTS");
    const isEnding = movement.metadata.annotations?.[MOVEMENT_ANNOTATIONS.ending] !== undefined;
    if (isStale || isEnding || dispositionOf(error) === "retry") throw error;
    if (hasCode(error, "KUBE_FORBIDDEN") && QUOTA.test(messageOf(error))) {
      const message = `${WAITING}room in a quota: ${messageOf(error)}`;
      if (movement.status?.message !== message) {
        await write({ ...movement, status: { ...movement.status, message } });
        tell(deps.events, movement, "Waiting", message);
      }
      // Tried again by the queue, at the pace of what somebody else has to change.
      throw error;
    }
    deps.logger.warn("Cannot go on", { name: movement.metadata.name, what: step.work.what, ...errorFields(error) });
    await write(withEnding(movement, { phase: "Failed", message: `cannot ${step.work.what}: ${messageOf(error)}`, at: now, by: deps.nodeName }));
  }
}

function withEnding<T extends DataMovement>(movement: T, ending: Ending): T {
  return withAnnotations(movement, { [MOVEMENT_ANNOTATIONS.ending]: JSON.stringify(ending) });
}

/** Accepted once more, with the whole time for preparing where it had been prepared before. No pod may move it until one is named again. */
function adopted<T extends DataMovement>(deps: ApplierDeps<T>, movement: T, why: string, now: string): T {
  const epoch = epochOf(movement) + 1;
  const { node: _, ...status } = movement.status ?? {};
  const acceptedTimestamp = status.phase === "Accepted" ? (status.acceptedTimestamp ?? now) : now;
  const message = adoptedMessage(deps, movement, why);
  return {
    ...withAnnotations(withLabels(movement, { [LABELS.exposeOnGoing]: "true" }), {
      [DRAYAGE_ANNOTATIONS.epoch]: String(epoch),
      [DRAYAGE_ANNOTATIONS.moverPod]: undefined,
    }),
    status: { ...status, phase: "Accepted", acceptedByNode: deps.nodeName, acceptedTimestamp, message },
  };
}

function adoptedMessage<T extends DataMovement>({ nodeName }: ApplierDeps<T>, movement: T, why: string): string {
  return `taken over by node "${nodeName}" (${epochOf(movement) + 1} of at most ${ADOPTIONS_MAX} times): ${why}`;
}

/** What is being deleted keeps its finalizer for one more write: it would be gone with that one, and nobody would see how it ended. */
function concluded<T extends DataMovement>(deps: ApplierDeps<T>, movement: T, ending: Ending, now: string, finalizer: string): T {
  const released = isDeleting(movement) ? movement : withoutFinalizer(movement, finalizer);
  const cleared = withAnnotations(withLabels(released, { [LABELS.exposeOnGoing]: undefined }), {
    [MOVEMENT_ANNOTATIONS.ending]: undefined,
    [MOVEMENT_ANNOTATIONS.cancelSeen]: undefined,
    [MOVEMENT_ANNOTATIONS.handover]: undefined,
    [DRAYAGE_ANNOTATIONS.moverPod]: undefined,
  });
  const { message: _, ...status } = movement.status ?? {};
  const startsNow = deps.kind.stampsStartOnEnd && (status.startTimestamp ?? undefined) === undefined;
  return {
    ...cleared,
    status: {
      ...status,
      ...ending.status,
      phase: ending.phase,
      ...(ending.message === undefined ? {} : { message: ending.message }),
      completionTimestamp: now,
      ...(startsNow ? { startTimestamp: now } : {}),
    },
  };
}

/** A value of undefined takes the annotation away. */
function withAnnotations<T extends DataMovement>(movement: T, annotations: Readonly<Record<string, string | undefined>>): T {
  const merged = { ...movement.metadata.annotations };
  for (const [key, value] of Object.entries(annotations)) {
    if (value === undefined) delete merged[key];
    else merged[key] = value;
  }
  const { annotations: _, ...metadata } = movement.metadata;
  return { ...movement, metadata: Object.keys(merged).length === 0 ? metadata : { ...metadata, annotations: merged } };
}

/** The pod goes with its log, so the end of it is kept here. Nothing depends on it. */
async function logMover<T extends DataMovement>(deps: ApplierDeps<T>, movement: T): Promise<void> {
  const key = { namespace: deps.namespace, name: keyOf(movement).name };
  try {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const part of deps.client.podLog(key, { tailLines: MOVER_LOG_LINES })) {
      length += part.length;
      if (length > MOVER_LOG_BYTES_MAX) break;
      parts.push(part);
    }
    for (const line of fromUtf8(Buffer.concat(parts)).split("\n")) if (line !== "") deps.logger.info("Log of the mover", { name: key.name, line });
  } catch (error) {
    deps.logger.debug("The log of the mover cannot be read", { name: key.name, ...errorFields(error) });
  }
}
