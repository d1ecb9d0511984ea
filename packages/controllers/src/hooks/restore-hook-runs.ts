/**
 * Runs the commands of a restore in its pods, each pod as soon as the data of its own volumes is there: only then their clocks start.
 *
 * How the commands of a pod ended is noted on the pod, so that another process neither runs them again nor forgets what came of them. A process that ends while they run has noted
 * nothing: they run once more then.
 */
import { DRAYAGE_ANNOTATIONS, LABELS, type Restore, validLabelValue } from "@drayage/api";
import { type Clock, DrayError, errorFields, hasCode, isAbort, type Logger, messageOf, Semaphore } from "@drayage/base";
import { type KubeClient, keyOf, type Pod, pods } from "@drayage/kube";
import { isRestoredBy } from "../actions/restore-action.ts";
import { allOf } from "../all-of.ts";
import { runExecHook } from "./exec-hook.ts";
import { type RestoreExecHook, RestoreHooks } from "./restore-hooks.ts";

const PODS_AT_ONCE = 8;
const POLL_FIRST_MS = 100;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 2_000;
/** An annotation is no place for a log. */
const ERRORS_NOTED_MAX = 10;
const ERROR_NOTED_LENGTH_MAX = 1_000;

/** What is known of the data of a pod's volumes. */
export type PodData =
  | { readonly state: "ready" }
  /** It is on its way. */
  | { readonly state: "pending"; readonly why: string }
  /** It did not come: the pod will not come up. */
  | { readonly state: "missing"; readonly why: string };

/** How the hooks of one pod ended. */
export interface PodHooks {
  readonly namespace: string;
  readonly attempted: number;
  readonly failed: number;
  readonly errors: readonly string[];
}

export interface RestoreHookRunsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly restore: Restore;
  /** For hooks that name no limit. */
  readonly waitTimeoutMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export class RestoreHookRuns {
  readonly #options: RestoreHookRunsOptions;
  readonly #hooks: RestoreHooks;
  readonly #slots = new Semaphore(PODS_AT_ONCE);
  /** By the uid of the pod. */
  readonly #runs = new Map<string, Promise<PodHooks | undefined>>();

  constructor(options: RestoreHookRunsOptions) {
    this.#options = options;
    this.#hooks = new RestoreHooks(options.restore.spec);
  }

  /** Starts the hooks of the restore's pods whose data is there, or will not come; those of the others wait for another call. Failures of hooks are results. */
  async offer(dataOf: (pod: Pod) => PodData): Promise<void> {
    const { client, restore, log, signal } = this.#options;
    const labelSelector = `${LABELS.restoreName}=${validLabelValue(restore.metadata.name ?? "")}`;
    for (const pod of await allOf(client.listAll<Pod>(pods, { labelSelector, signal }))) {
      const { uid = "", namespace = "", name = "" } = pod.metadata;
      if (this.#runs.has(uid) || !isRestoredBy(restore, pod as never)) continue;
      const podLog = log.child({ namespace, name, resource: "pods", hookPhase: "post" });
      const noted = notedOn(pod, restore);
      const hooks = noted === undefined ? this.#hooks.execHooks(pod, podLog) : [];
      const data = hooks.length === 0 ? undefined : dataOf(pod);
      if (data?.state === "pending") {
        log.debug("The hooks of a pod wait", { pod: `${namespace}/${name}`, for: data.why });
        continue;
      }
      const run = data === undefined ? Promise.resolve(noted) : this.#slots.run(() => this.#runAndNote(pod, hooks, data, podLog), 1, signal);
      // Whoever asks for results gets the reason; nobody may.
      run.catch(() => undefined);
      this.#runs.set(uid, run);
    }
  }

  /** Waits for every hook that was started. */
  async results(): Promise<readonly PodHooks[]> {
    return (await Promise.all(this.#runs.values())).filter((run) => run !== undefined);
  }

  async #runAndNote(pod: Pod, hooks: readonly RestoreExecHook[], data: PodData, log: Logger): Promise<PodHooks> {
    const { client, restore, signal } = this.#options;
    const ended = data.state === "missing" ? missingData(pod, hooks, data.why) : await this.#run(pod, hooks, log);
    const note = {
      restore: restore.metadata.uid,
      ...ended,
      errors: ended.errors.slice(0, ERRORS_NOTED_MAX).map((text) => text.slice(0, ERROR_NOTED_LENGTH_MAX)),
    };
    try {
      const patch = { metadata: { uid: pod.metadata.uid, annotations: { [DRAYAGE_ANNOTATIONS.restoreHooks]: JSON.stringify(note) } } };
      await client.patch<Pod>(pods, keyOf(pod), "merge", patch, { signal });
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      // A pod that is gone, or one of its name that came after it, takes no note; this process knows.
      if (!hasCode(error, "KUBE_NOT_FOUND") && !hasCode(error, "KUBE_CONFLICT"))
        log.warn("How hooks ended could not be noted on their pod", errorFields(error));
    }
    return ended;
  }

  async #run(pod: Pod, hooks: readonly RestoreExecHook[], log: Logger): Promise<PodHooks> {
    const { client, clock, signal } = this.#options;
    const startedMs = clock.nowMs();
    const errors: string[] = [];
    for (const [index, hook] of hooks.entries()) {
      try {
        await runExecHook(client, await whenUp(pod, hook, startedMs, this.#options), hook, log, signal);
      } catch (error) {
        if (isAbort(error, signal)) throw error;
        log.warn("Restore hook failed", { ...errorFields(error), context: undefined });
        errors.push(messageOf(error));
        if (hook.onError !== "Fail") continue;
        for (const left of hooks.slice(index + 1)) errors.push(`${subjectOf(left, pod)}: one before it failed`);
        break;
      }
    }
    return { namespace: pod.metadata.namespace ?? "", attempted: hooks.length, failed: errors.length, errors };
  }
}

function missingData(pod: Pod, hooks: readonly RestoreExecHook[], why: string): PodHooks {
  const errors = hooks.map((hook) => `${subjectOf(hook, pod)}: ${why}`);
  return { namespace: pod.metadata.namespace ?? "", attempted: hooks.length, failed: hooks.length, errors };
}

function subjectOf(hook: RestoreExecHook, { metadata }: Pod): string {
  return `Cannot run hook "${hook.name}" in pod "${metadata.namespace}/${metadata.name}"`;
}

/** What a process of before noted for this restore; undefined where there is no such note, or none that can be read. */
function notedOn({ metadata }: Pod, restore: Restore): PodHooks | undefined {
  const text = metadata.annotations?.[DRAYAGE_ANNOTATIONS.restoreHooks];
  if (text === undefined) return undefined;
  try {
    const { restore: uid, attempted, failed, errors } = JSON.parse(text) as Record<string, unknown>;
    if (uid !== restore.metadata.uid || !Number.isSafeInteger(attempted) || !Number.isSafeInteger(failed) || !Array.isArray(errors)) return undefined;
    return { namespace: metadata.namespace ?? "", attempted: attempted as number, failed: failed as number, errors: errors.map(String) };
  } catch {
    return undefined;
  }
}

/** The pod once the hook's container runs (or is ready, where that is asked for). Throws HOOK_FAILED with what it was waiting for. */
async function whenUp(pod: Pod, hook: RestoreExecHook, startedMs: number, { client, clock, waitTimeoutMs, signal }: RestoreHookRunsOptions): Promise<Pod> {
  const limitMs = hook.waitTimeoutMs ?? waitTimeoutMs;
  let delayMs = POLL_FIRST_MS;
  for (;;) {
    const current = await client.find(pods, keyOf(pod), signal);
    const subject = subjectOf(hook, pod);
    if (current === undefined) throw new DrayError("HOOK_FAILED", `${subject}: the pod is gone`);
    const phase = current.status?.phase;
    if (phase === "Succeeded" || phase === "Failed") throw new DrayError("HOOK_FAILED", `${subject}: the pod has ended (${phase})`);
    const status = current.status?.containerStatuses?.find(({ name }) => name === hook.container);
    if (hook.waitForReady ? status?.ready === true : status?.state?.running !== undefined) return current;
    if (clock.nowMs() - startedMs + delayMs > limitMs) {
      const why = status?.state?.waiting?.reason ?? phase ?? "Pending";
      throw new DrayError(
        "HOOK_FAILED",
        `${subject}: container "${hook.container ?? ""}" is not ${hook.waitForReady ? "ready" : "running"} after ${limitMs / 1000} s (${why})`,
      );
    }
    await clock.sleep(delayMs, signal);
    delayMs = Math.min(delayMs * POLL_FACTOR, POLL_MAX_MS);
  }
}
