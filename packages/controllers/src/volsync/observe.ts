/** Sees what `decide` needs to know of one object. Reads only. */
import { type ReplicationSource, VOLSYNC_OWNER_LABEL } from "@drayage/api";
import { type Clock, parseTime } from "@drayage/base";
import { isDeleting, type KubeClient, type Pod, pods } from "@drayage/kube";
import { done, type Work, wait } from "../data-movement/work.ts";
import { parseCron } from "../schedule/cron.ts";
import { overdueTrigger } from "./copy-trigger.ts";
import { faultOf, isExternal } from "./faults.ts";
import { moverOf } from "./mover-pod.ts";
import { isSource, type Replication, volumeClaimName } from "./replication-kinds.ts";
import type { Observed, Trigger } from "./synchronization.ts";
import { copyTold, imageWork, sourceClaim, startedMsOf, volumeTraces, volumeWork } from "./volumes.ts";

export interface ObserverDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Whether a VolSync runs in the cluster. */
  readonly volSyncRuns: () => Promise<boolean>;
}

export async function observe({ client, clock, volSyncRuns }: ObserverDeps, object: Replication): Promise<Observed> {
  const { spec, status } = object;
  const trigger = triggerOf(object);
  const nowMs = clock.nowMs();
  const startedMs = startedMsOf(object);
  const mine = await podsOf(client, object);
  const servedElsewhere = isExternal(object) || (await volSyncRuns());
  const mover = moverOf(mine);
  const scheduleFault = scheduleFaultOf(object);
  const fault = servedElsewhere || isDeleting(object) ? undefined : (scheduleFault ?? (await faultOf(client, object)));
  const isServed = !servedElsewhere && !isDeleting(object) && fault === undefined && startedMs !== undefined;
  const traces = mine.length > 0 || (await volumeTraces(client, object)).length > 0 || (servedElsewhere && startedMs !== undefined && mine.length > 0);
  return {
    nowMs,
    servedElsewhere,
    deleting: isDeleting(object),
    paused: spec.paused === true,
    trigger,
    lastManualSync: status?.lastManualSync,
    isSynchronized: parseTime(status?.lastSyncTime) !== undefined,
    dueMs: scheduleFault === undefined ? dueMsOf(object) : undefined,
    startedMs,
    fault,
    volume: isServed && mover.state !== "succeeded" ? await volumeWork(client, object, nowMs) : wait("the synchronization to begin"),
    mover,
    overdue: isServed && isSource(object) ? await overdueOf(client, object, nowMs) : undefined,
    image: isServed && mover.state === "succeeded" ? await arrivalWork(client, object, startedMs) : done,
    traces,
  };
}

async function overdueOf(client: KubeClient, source: ReplicationSource, nowMs: number): Promise<string | undefined> {
  const claim = await sourceClaim(client, source);
  return claim === undefined ? undefined : overdueTrigger(claim, nowMs);
}

function arrivalWork(client: KubeClient, object: Replication, startedMs: number): Promise<Work> {
  return isSource(object) ? copyTold(client, object) : imageWork(client, object, volumeClaimName(object), startedMs);
}

export function triggerOf({ spec }: Replication): Trigger {
  const { manual = "", schedule = "" } = spec.trigger ?? {};
  if (manual !== "") return { kind: "manual", tag: manual };
  return schedule === "" ? { kind: "always" } : { kind: "schedule" };
}

/** When the schedule asks for the next one, after the last; VolSync's schedules are in UTC. */
export function dueMsOf({ spec, status }: Replication): number | undefined {
  const { manual = "", schedule = "" } = spec.trigger ?? {};
  const lastMs = parseTime(status?.lastSyncTime);
  return manual !== "" || schedule === "" || lastMs === undefined ? undefined : parseCron(schedule, "UTC").next(lastMs);
}

function scheduleFaultOf({ spec }: Replication): string | undefined {
  const { manual = "", schedule = "" } = spec.trigger ?? {};
  if (manual !== "" || schedule === "") return undefined;
  try {
    parseCron(schedule, "UTC");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Pods of movers, the ones that are going among them. */
export async function podsOf(client: KubeClient, { metadata }: Replication): Promise<readonly Pod[]> {
  const { namespace = "", uid = "" } = metadata;
  return (await client.list(pods, { namespace, labelSelector: `${VOLSYNC_OWNER_LABEL}=${uid}` })).items;
}
