/** Carries out one step for an object. Each can be repeated; the status is written by compare-and-swap. */
import {
  type ReplicationDestinationStatus,
  type ReplicationSourceStatus,
  SOURCE_IDENTITY_ANNOTATION,
  SYNCHRONIZING,
  SYNCHRONIZING_REASONS,
  VOLSYNC_ANNOTATIONS,
  type VolSyncRequest,
} from "@drayage/api";
import { type Clock, formatTime, hasCode, type Logger, parseTime } from "@drayage/base";
import { formatDuration, type KubeClient, namespaces, nodes, type Pod, pods } from "@drayage/kube";
import { buildMoverPod } from "./mover-pod.ts";
import { dueMsOf, podsOf, triggerOf } from "./observe.ts";
import { copiesDirectly, copyMethodOf, formatOf, isSource, type Replication, type ReplicationKind, volumeClaimName } from "./replication-kinds.ts";
import type { Step } from "./synchronization.ts";
import { imageName, volumeTraces } from "./volumes.ts";

export interface ApplierDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of the mover's pods. */
  readonly image: string;
  readonly logLevel: string;
  /** Where the image has restic, if not in its PATH. */
  readonly resticProgram?: string | undefined;
}

type Status = ReplicationSourceStatus & ReplicationDestinationStatus;

const DAY_MS = 24 * 3_600_000;
/** VolSync's. */
const PRUNE_INTERVAL_DAYS = 7;
/** VolSync keeps as much of a log. */
const LOG_CHARS_MAX = 1024;

export async function apply(deps: ApplierDeps, kind: ReplicationKind, object: Replication, step: Step): Promise<void> {
  const { client, clock, logger } = deps;
  const { name = "", namespace = "" } = object.metadata;
  const now = formatTime(clock.nowMs());
  switch (step.do) {
    case "start":
      await writeStatus(deps, kind, object, {
        ...withCondition(deps, object, { status: "True", reason: SYNCHRONIZING_REASONS.inProgress, message: "Synchronization in-progress" }),
        lastSyncStartTime: now,
      });
      logger.info("Synchronization begins", { kind: kind.type.kind, namespace, name });
      return;
    case "advance":
      logger.debug("A volume is prepared", { kind: kind.type.kind, namespace, name, step: step.work.what });
      await step.work.run();
      return;
    case "createMover":
      try {
        await client.create(pods, await moverPodFor(deps, kind, object, step.attempt));
      } catch (error) {
        // Its name holds our UID, so it is ours.
        if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
      }
      return;
    case "deleteMover":
      for (const pod of await podsOf(client, object)) await client.delete(pods, { namespace, name: pod.metadata.name ?? "" });
      return;
    case "cleanUp":
      for (const pod of await podsOf(client, object)) await client.delete(pods, { namespace, name: pod.metadata.name ?? "" });
      for (const trace of await volumeTraces(client, object)) await client.delete(trace.type, { namespace, name: trace.object.metadata.name ?? "" });
      return;
    case "recordFailure": {
      const latestMoverStatus = { result: "Failed", logs: step.result.logs.slice(-LOG_CHARS_MAX) };
      if (object.status?.latestMoverStatus?.result === latestMoverStatus.result && object.status.latestMoverStatus.logs === latestMoverStatus.logs) return;
      await writeStatus(deps, kind, object, { ...object.status, latestMoverStatus });
      logger.warn("Synchronization failed and is tried again", { kind: kind.type.kind, namespace, name, message: step.result.message });
      return;
    }
    case "finish":
      await writeStatus(deps, kind, object, statusAtEnd(deps, object, step));
      logger.info("Synchronization is done", { kind: kind.type.kind, namespace, name, message: step.mover.result.message });
      return;
    case "setCondition":
      if (isSaid(object, step) && isNextTold(object)) return;
      await writeStatus(deps, kind, object, { ...withCondition(deps, object, step), ...nextSync(object) });
  }
}

async function writeStatus({ client }: ApplierDeps, { type }: ReplicationKind, object: Replication, status: Status): Promise<void> {
  await client.replaceStatus(type, { ...object, status } as Replication);
}

/** Everything of the end in one write: a crash leaves either a mover that has ended, or a synchronization that is over. */
function statusAtEnd(deps: ApplierDeps, object: Replication, { mover }: Extract<Step, { do: "finish" }>): Status {
  const { lastSyncStartTime, ...before } = withCondition(deps, object, { status: "False", reason: SYNCHRONIZING_REASONS.cleaningUp, message: "Cleaning up" });
  const endedMs = deps.clock.nowMs();
  const startedMs = parseTime(lastSyncStartTime) ?? endedMs;
  const { result, tag } = mover;
  const now = formatTime(endedMs);
  const status: Status = {
    ...before,
    lastSyncTime: now,
    lastSyncDuration: formatDuration(Math.max(endedMs - startedMs, 0)),
    latestMoverStatus: { result: "Successful", logs: result.logs.slice(-LOG_CHARS_MAX) },
    // The tag that the mover was started for: one that came meanwhile asks for another.
    ...(tag === undefined ? {} : { lastManualSync: tag }),
  };
  const next = nextSync({ ...object, status } as Replication);
  if (isSource(object)) {
    const { unlock } = object.spec.restic ?? {};
    const restic = {
      ...object.status?.restic,
      ...(result.pruned === true ? { lastPruned: now } : {}),
      ...(result.unlocked === true && unlock !== undefined ? { lastUnlocked: unlock } : {}),
    };
    return { ...status, ...next, ...(Object.keys(restic).length === 0 ? {} : { restic }) };
  }
  const claim = volumeClaimName(object);
  const latestImage =
    copyMethodOf(object) === "Snapshot"
      ? { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: imageName(claim, startedMs) }
      : { apiGroup: "", kind: "PersistentVolumeClaim", name: claim };
  return { ...status, ...next, latestImage };
}

/** `nextSyncTime`, which a trigger without a schedule has none of. */
function nextSync(object: Replication): Pick<Status, "nextSyncTime"> {
  const dueMs = triggerOf(object).kind === "schedule" ? dueMsOf(object) : undefined;
  return dueMs === undefined ? ({ nextSyncTime: undefined } as unknown as Pick<Status, "nextSyncTime">) : { nextSyncTime: formatTime(dueMs) };
}

function isNextTold(object: Replication): boolean {
  return (object.status?.nextSyncTime ?? undefined) === nextSync(object).nextSyncTime;
}

type Said = Pick<Extract<Step, { do: "setCondition" }>, "status" | "reason" | "message">;

function isSaid({ status, metadata }: Replication, { status: is, reason, message }: Said): boolean {
  const before = status?.conditions?.find(({ type }) => type === SYNCHRONIZING);
  return before?.status === is && before.reason === reason && before.message === message && before.observedGeneration === metadata.generation;
}

function withCondition({ clock }: ApplierDeps, { status, metadata }: Replication, { status: is, reason, message }: Said): Status {
  const before = status?.conditions?.find(({ type }) => type === SYNCHRONIZING);
  const condition = {
    type: SYNCHRONIZING,
    status: is,
    reason,
    message,
    lastTransitionTime: before?.status === is ? before.lastTransitionTime : formatTime(clock.nowMs()),
    ...(metadata.generation === undefined ? {} : { observedGeneration: metadata.generation }),
  };
  return { ...(status as Status | undefined), conditions: [...(status?.conditions ?? []).filter(({ type }) => type !== SYNCHRONIZING), condition] };
}

async function moverPodFor(deps: ApplierDeps, kind: ReplicationKind, object: Replication, attempt: number): Promise<Pod> {
  const { client, image, logLevel, resticProgram } = deps;
  const { namespace = "" } = object.metadata;
  const annotations = (await client.find(namespaces, { name: namespace }))?.metadata.annotations;
  const trigger = triggerOf(object);
  return buildMoverPod({
    ...{ kind, object, image, logLevel, resticProgram, attempt },
    request: requestOf(object, deps.clock.nowMs()),
    tag: trigger.kind === "manual" ? trigger.tag : undefined,
    isPrivileged: annotations?.[VOLSYNC_ANNOTATIONS.privilegedMovers] === "true",
    hostName: await hostNameFor(client, object),
  });
}

export function requestOf(object: Replication, nowMs: number): VolSyncRequest {
  const { name = "", namespace = "", creationTimestamp, annotations } = object.metadata;
  const format = formatOf(object) ?? "restic";
  if (isSource(object)) {
    const { retain, pruneIntervalDays, unlock } = object.spec.restic ?? {};
    const { lastPruned, lastUnlocked } = object.status?.restic ?? {};
    const sinceMs = parseTime(lastPruned) ?? parseTime(creationTimestamp) ?? nowMs;
    const intervalMs = (pruneIntervalDays === undefined || pruneIntervalDays <= 0 ? PRUNE_INTERVAL_DAYS : pruneIntervalDays) * DAY_MS;
    return {
      operation: "backup",
      format,
      identity: `${name}@${namespace}`,
      retain: retain ?? {},
      prune: nowMs > sinceMs + intervalMs,
      unlock: unlock !== undefined && unlock !== "" && unlock !== lastUnlocked,
    };
  }
  const { restoreAsOf, previous, enableFileDeletion } = object.spec.restic ?? {};
  const identity = annotations?.[SOURCE_IDENTITY_ANNOTATION];
  return {
    operation: "restore",
    format,
    previous: Math.max(previous ?? 0, 0),
    ...(restoreAsOf === undefined ? {} : { restoreAsOf }),
    ...(enableFileDeletion === true ? { deleteOthers: true } : {}),
    ...(identity === undefined ? {} : { identity }),
  };
}

/** The node on which a volume is in use already, by its label: most volumes can be on one node only. */
async function hostNameFor(client: KubeClient, object: Replication): Promise<string | undefined> {
  const { namespace = "" } = object.metadata;
  if (isSource(object) && !copiesDirectly(object)) return undefined;
  const claim = volumeClaimName(object);
  const { items } = await client.list(pods, { namespace });
  const user = items.find(
    ({ spec, status }) =>
      spec.nodeName !== undefined &&
      (status?.phase === "Running" || status?.phase === "Pending") &&
      spec.volumes?.some(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === claim) === true,
  );
  if (user?.spec.nodeName === undefined) return undefined;
  const node = await client.find(nodes, { name: user.spec.nodeName });
  return node?.metadata.labels?.["kubernetes.io/hostname"] ?? user.spec.nodeName;
}
