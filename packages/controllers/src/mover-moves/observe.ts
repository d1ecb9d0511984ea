/** Sees everything that `decide` needs to know of one DataMoverBackup or DataMoverRestore. Reads only. */
import {
  DATA_PATH_EVENTS,
  type DataMover,
  type DataMoverBackup,
  type DataMoverRestore,
  dataMovers,
  MOVED_DATA_FINALIZER,
  MOVER_LABELS,
  parseDataPathProgress,
} from "@drayage/api";
import { type Clock, parseTime } from "@drayage/base";
import {
  type CoreEvent,
  type Discovery,
  events,
  type GenericObject,
  hasFinalizer,
  isDeleting,
  type KubeClient,
  type Pod,
  parseDuration,
  pods,
  secrets,
} from "@drayage/kube";
import { parseMoverEnd, parseMoverResult } from "@drayage/mover-sdk";
import { failureMessage, startingReason, successMessage, unrecoverableReason } from "../exposers/hosting-pod.ts";
import { missingFiles } from "../exposers/mover-program.ts";
import { isBuiltIn } from "../mover-choice/mover-registry.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { MovePod, Observed, PodOf } from "./move.ts";

export type Move = (DataMoverBackup | DataMoverRestore) & { readonly spec: { readonly deletionPolicy?: "Retain" | "Delete" } };

export interface MoveKind {
  readonly kind: "backup" | "restore";
  /** Names the object on its pods and Secrets. */
  readonly label: string;
}

export const MOVE_KINDS: { readonly backup: MoveKind; readonly restore: MoveKind } = {
  backup: { kind: "backup", label: MOVER_LABELS.backup },
  restore: { kind: "restore", label: MOVER_LABELS.restore },
};

export interface MoveObserverDeps {
  readonly client: KubeClient;
  readonly discovery: Discovery;
  readonly namespace: string;
  readonly nowMs: () => number;
}

export interface MoveObservation extends MoveObserverDeps {
  readonly clock: Pick<Clock, "monotonicMs">;
}

/** Of the pod and the Secret of a move, and of the removal of its data. */
export function podName(move: Move, of: PodOf): string {
  return of === "move" ? (move.metadata.name ?? "") : `${move.metadata.name}-delete`;
}

export async function observe(deps: MoveObservation, { kind }: MoveKind, move: Move, signal: AbortSignal): Promise<Observed> {
  const { client, namespace } = deps;
  const { spec } = move;
  const status = (move.status ?? {}) as NonNullable<DataMoverBackup["status"]>;
  const nowMs = deps.nowMs();
  const since = (time: string | null | undefined): number => {
    const ms = parseTime(time);
    return ms === undefined ? 0 : nowMs - ms;
  };
  const phase = status.phase ?? "New";
  const mover = await client.find(dataMovers, { name: spec.mover }, signal);
  const pod = await client.find(pods, { namespace, name: podName(move, "move") }, signal);
  const removalPod = kind === "backup" ? await client.find(pods, { namespace, name: podName(move, "removal") }, signal) : undefined;
  const parse = kind === "backup" ? backupStatus : restoreStatus;
  return {
    kind,
    phase,
    mover: isBuiltIn(spec.mover) ? "built-in" : mover === undefined ? "missing" : mover.spec.controller === true ? "external" : "runnable",
    missingFiles: mover === undefined ? undefined : await missingFiles(client, namespace, mover, signal),
    moverName: spec.mover,
    knownMovers: mover === undefined ? await namesOfMovers(client, signal) : [],
    sourceAwaits: phase === "Accepted" ? await sourceAwaits(deps, move, signal) : undefined,
    finalizer: hasFinalizer(move, MOVED_DATA_FINALIZER),
    cancelRequested: spec.cancel === true,
    deleting: isDeleting(move),
    deletesData: spec.deletionPolicy === "Delete",
    started: (status.startTimestamp ?? undefined) !== undefined,
    removed: status.dataRemoved,
    preparingForMs: since(status.acceptedTimestamp),
    runningForMs: since(status.startTimestamp),
    timeoutMs: parseDuration(spec.timeout ?? "") ?? 0,
    pod: podState(pod, parse, spec.mover, phase === "InProgress" ? await progressOf(client, move, signal) : undefined),
    secret: (await client.find(secrets, { namespace, name: podName(move, "move") }, signal)) !== undefined,
    removalPod: podState(removalPod, restoreStatus, spec.mover),
    removalSecret: kind === "backup" && (await client.find(secrets, { namespace, name: podName(move, "removal") }, signal)) !== undefined,
    removingForMs: removalPod === undefined ? 0 : steadyAgeMs(deps.clock, `removal by ${removalPod.metadata.uid}`),
    reported: { totalBytes: status.progress?.totalBytes ?? 0, doneBytes: status.progress?.bytesDone ?? 0 },
  };
}

function podState(
  pod: Pod | undefined,
  parse: (text: string) => Readonly<Record<string, unknown>> | undefined,
  mover: string,
  progress?: { readonly totalBytes: number; readonly doneBytes: number },
): MovePod {
  if (pod === undefined) return { state: "absent" };
  switch (pod.status?.phase) {
    case "Running":
      return { state: "running", ...(progress === undefined ? {} : { progress }) };
    case "Succeeded": {
      const text = successMessage(pod);
      const status = parse(text);
      if (status !== undefined) return { state: "succeeded", status };
      const said = text === "" ? "it said nothing" : `its last message is ${JSON.stringify(text.slice(0, 200))}`;
      return { state: "failed", message: `mover "${mover}" ended without a result: ${said}` };
    }
    case "Failed":
      return { state: "failed", message: `mover "${mover}" failed: ${failureMessage(pod)}` };
    default: {
      const hopeless = unrecoverableReason(pod);
      return hopeless === undefined ? { state: "starting", why: startingReason(pod) } : { state: "failed", message: `mover "${mover}": ${hopeless}` };
    }
  }
}

function backupStatus(text: string): Readonly<Record<string, unknown>> | undefined {
  const parsed = parseMoverResult(text);
  if (parsed === undefined) return undefined;
  const { snapshotId, totalBytes, incrementalBytes, result = {} } = parsed;
  return {
    snapshotID: snapshotId,
    progress: { totalBytes, bytesDone: totalBytes },
    ...(incrementalBytes === undefined ? {} : { incrementalBytes }),
    ...(Object.keys(result).length === 0 ? {} : { result }),
  };
}

function restoreStatus(text: string): Readonly<Record<string, unknown>> | undefined {
  const parsed = parseMoverEnd(text);
  return parsed === undefined ? undefined : { progress: { totalBytes: parsed.totalBytes, bytesDone: parsed.totalBytes } };
}

/** A restore begins when the resource whose data it is is there. */
async function sourceAwaits(deps: MoveObserverDeps, move: Move, signal: AbortSignal): Promise<string | undefined> {
  const { kind, namespace, name } = move.spec.source;
  const found = await findSource(deps, move, signal);
  return found === undefined ? `${kind} "${namespace === undefined ? "" : `${namespace}/`}${name}" to be there` : undefined;
}

/** The resource that is moved, as it is in the cluster. */
export async function findSource({ client, discovery }: MoveObserverDeps, { spec }: Move, signal: AbortSignal): Promise<GenericObject | undefined> {
  const { apiVersion, kind, namespace, name } = spec.source;
  const resource = await discovery.forKind(apiVersion, kind, signal);
  if (resource === undefined) {
    // Its definition may have come since.
    discovery.invalidate();
    return undefined;
  }
  return client.find<GenericObject>(resource, namespace === undefined ? { name } : { namespace, name }, signal);
}

/** Progress never goes back, whichever of the Events comes last. */
async function progressOf(
  client: KubeClient,
  move: Move,
  signal: AbortSignal,
): Promise<{ readonly totalBytes: number; readonly doneBytes: number } | undefined> {
  const { name = "", namespace, uid } = move.metadata;
  const status = move.status?.progress;
  let best: { totalBytes: number; doneBytes: number } | undefined;
  const fieldSelector = `involvedObject.name=${name},reason=${DATA_PATH_EVENTS.progress}`;
  for await (const { message, involvedObject } of client.listAll<CoreEvent>(events, { namespace, fieldSelector, signal })) {
    if (involvedObject.uid !== uid) continue;
    const told = parseDataPathProgress(message ?? "");
    if (told === undefined) continue;
    best = {
      totalBytes: Math.max(told.totalBytes, best?.totalBytes ?? status?.totalBytes ?? 0),
      doneBytes: Math.max(told.doneBytes, best?.doneBytes ?? status?.bytesDone ?? 0),
    };
  }
  return best;
}

async function namesOfMovers(client: KubeClient, signal: AbortSignal): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { metadata } of client.listAll<DataMover>(dataMovers, { signal })) names.push(metadata.name ?? "");
  return names.sort();
}
