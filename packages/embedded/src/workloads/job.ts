/** Job: runs pods until as many as wanted have succeeded, or more than allowed have failed. */
import { formatTime, parseTime } from "@drayage/base";
import { type Condition, isDeleting, type Job, jobs, type Pod } from "@drayage/kube";
import { conditionOf, isActive, isFinished, isReady } from "./pod-facts.ts";
import { podFromTemplate } from "./pod-template.ts";
import { createAll, type WorkloadContext, writeStatus } from "./workload-context.ts";

interface JobSpec {
  readonly suspend?: boolean;
  readonly activeDeadlineSeconds?: number;
}

export interface JobDecision {
  readonly create: number;
  readonly remove: readonly Pod[];
  /** The job itself has been kept long enough. */
  readonly expire: boolean;
  readonly status: Readonly<Record<string, unknown>>;
  readonly event?: { readonly type: "Normal" | "Warning"; readonly reason: string; readonly message: string };
  readonly recheckAfterMs?: number;
}

const BACKOFF_LIMIT = 6;
/** A failed pod is followed by the next one after this, doubled each time. */
const RETRY_MS = 10_000;
const RETRY_MAX_MS = 600_000;

export function decideJob(job: Job, owned: readonly Pod[], nowMs: number): JobDecision {
  const spec = job.spec as JobSpec;
  const conditions = job.status?.conditions ?? [];
  const ended = conditionOf(conditions, "Complete")?.status === "True" || conditionOf(conditions, "Failed")?.status === "True";
  const active = owned.filter(isActive);
  if (ended) return afterEnd(job, active, nowMs);
  const succeeded = Math.max(owned.filter((pod) => pod.status?.phase === "Succeeded").length, job.status?.succeeded ?? 0);
  const failedPods = owned.filter((pod) => pod.status?.phase === "Failed");
  const failed = Math.max(failedPods.length, job.status?.failed ?? 0);
  const now = formatTime(nowMs);
  const startTime = job.status?.startTime ?? (spec.suspend === true ? undefined : now);
  const status = {
    active: active.length,
    ready: active.filter(isReady).length,
    succeeded,
    failed,
    startTime,
    terminating: owned.filter((pod) => isDeleting(pod) && !isFinished(pod)).length,
  };
  const nothing = { create: 0, remove: [], expire: false } as const;
  if (isDeleting(job)) return { ...nothing, status: {} };
  const deadlineMs = spec.activeDeadlineSeconds === undefined ? undefined : (parseTime(startTime) ?? nowMs) + spec.activeDeadlineSeconds * 1000;
  const restarts = job.spec.template.spec.restartPolicy === "OnFailure" ? active.reduce((sum, pod) => sum + restartsOf(pod), 0) : 0;
  const limit = job.spec.backoffLimit ?? BACKOFF_LIMIT;
  const verdict =
    failed + restarts > limit
      ? { reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" }
      : deadlineMs !== undefined && deadlineMs <= nowMs
        ? { reason: "DeadlineExceeded", message: "Job was active longer than specified deadline" }
        : undefined;
  if (verdict !== undefined) {
    const ends = [conditionAt("FailureTarget", verdict, now), conditionAt("Failed", verdict, now)];
    return {
      ...nothing,
      remove: active,
      status: { ...status, active: 0, ready: 0, failed: failed + active.length, conditions: [...conditions, ...ends] },
      event: { type: "Warning", ...verdict },
    };
  }
  // Without a number of completions one success is enough, and nothing new is begun after it.
  const completions = job.spec.completions ?? (job.spec.parallelism === undefined || job.spec.parallelism === 1 ? 1 : undefined);
  const complete = completions === undefined ? succeeded > 0 && active.length === 0 : succeeded >= completions;
  if (complete) {
    const end = { reason: "CompletionsReached", message: "Reached expected number of succeeded pods" };
    return {
      ...nothing,
      remove: active,
      status: {
        ...status,
        active: 0,
        ready: 0,
        completionTime: now,
        conditions: [...conditions, conditionAt("SuccessCriteriaMet", end, now), conditionAt("Complete", end, now)],
      },
      event: { type: "Normal", reason: "Completed", message: "Job completed" },
    };
  }
  if (spec.suspend === true) return { ...nothing, remove: active, status };
  const wanted =
    completions === undefined ? (succeeded > 0 ? active.length : (job.spec.parallelism ?? 1)) : Math.min(job.spec.parallelism ?? 1, completions - succeeded);
  const retryAtMs = lastFailureMs(failedPods) + Math.min(RETRY_MS * 2 ** Math.max(0, Math.min(failed - 1, 10)), RETRY_MAX_MS);
  const waitMs = failed > 0 && active.length < wanted ? retryAtMs - nowMs : 0;
  const rechecks = [waitMs, deadlineMs === undefined ? 0 : deadlineMs - nowMs].filter((ms) => ms > 0);
  return {
    create: waitMs > 0 ? 0 : Math.max(0, wanted - active.length),
    remove: active.slice(wanted),
    expire: false,
    status,
    ...(rechecks.length === 0 ? {} : { recheckAfterMs: Math.min(...rechecks) }),
  };
}

function afterEnd(job: Job, active: readonly Pod[], nowMs: number): JobDecision {
  const ttl = job.spec.ttlSecondsAfterFinished;
  const ends = (job.status?.conditions ?? []).filter(({ type, status }) => (type === "Complete" || type === "Failed") && status === "True");
  const endMs = parseTime(ends[0]?.lastTransitionTime) ?? nowMs;
  const leftMs = ttl === undefined ? undefined : endMs + ttl * 1000 - nowMs;
  return {
    create: 0,
    remove: active,
    expire: leftMs !== undefined && leftMs <= 0 && !isDeleting(job),
    status: {},
    ...(leftMs !== undefined && leftMs > 0 ? { recheckAfterMs: leftMs } : {}),
  };
}

export async function reconcileJob(context: WorkloadContext, job: Job): Promise<{ requeueAfterMs?: number }> {
  const { namespace, name = "", uid = "" } = job.metadata;
  const decision = decideJob(job, context.pods.of(uid), context.clock.nowMs());
  if (decision.expire) {
    await context.client.delete(jobs, { namespace, name }, { propagationPolicy: "Foreground", preconditions: { uid } });
    return {};
  }
  const labels = { "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid, "job-name": name };
  const fresh = Array.from({ length: decision.create }, () => podFromTemplate(jobs, job, job.spec.template, { generateName: `${name}-`, labels }));
  await createAll(context, job, fresh);
  for (const pod of decision.remove) await context.pods.delete(pod);
  await writeStatus(context, jobs, job, decision.status);
  if (decision.event !== undefined) context.recorder.event(job, decision.event.type, decision.event.reason, decision.event.message);
  return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
}

function conditionAt(type: string, why: { readonly reason: string; readonly message: string }, now: string): Condition {
  return { type, status: "True", ...why, lastProbeTime: now, lastTransitionTime: now };
}

function restartsOf(pod: Pod): number {
  return [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function lastFailureMs(failed: readonly Pod[]): number {
  const ends = failed.flatMap((pod) => (pod.status?.containerStatuses ?? []).map(({ state }) => parseTime(state?.terminated?.finishedAt) ?? 0));
  return Math.max(0, ...ends);
}
