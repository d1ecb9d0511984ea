/** Hooks of a restore: init containers that are added to restored pods, and commands that are run in them once they are up. Annotations of a pod win over the spec. */
import type { RestoreSpec } from "@drayage/api";
import { type Clock, DrayError, errorFields, forEachLimit, isAbort, type Logger, messageOf, type RandomSource, randomHex } from "@drayage/base";
import { type Container, type KubeClient, keyOf, type Pod, pods } from "@drayage/kube";
import { type ExecHook, HOOK_TIMEOUT_MS, type HookCounts, hookTimeoutMs, parseHookCommand, runExecHook } from "./exec-hook.ts";
import { hookSelector } from "./hook-selector.ts";

const INIT = "init.hook.restore.velero.io/";
const POST = "post.hook.restore.velero.io/";
/** Comes before every other init container: it holds the pod until file-system restores are done. */
const RESTORE_WAIT = "restore-wait";
const PODS_AT_ONCE = 8;
const POLL_FIRST_MS = 100;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 2_000;

/** A command in a restored pod, and how long to wait for its container. */
export interface RestoreExecHook extends ExecHook {
  readonly waitForReady: boolean;
  /** Counted from when the pod's data is there. */
  readonly waitTimeoutMs: number | undefined;
}

type SpecHook = NonNullable<NonNullable<NonNullable<RestoreSpec["hooks"]>["resources"]>[number]["postHooks"]>[number];

export class RestoreHooks {
  /** What is wrong with init containers of the spec. */
  readonly faults: readonly string[];
  readonly #fromSpec: readonly { readonly fits: ReturnType<typeof hookSelector>; readonly name: string; readonly hooks: readonly SpecHook[] }[];

  /** Throws VALIDATION_FAILED when a hook's label selector is none. */
  constructor(spec: Pick<RestoreSpec, "hooks">) {
    const resources = spec.hooks?.resources ?? [];
    this.#fromSpec = resources.map((resource) => ({ fits: hookSelector(resource), name: resource.name, hooks: resource.postHooks ?? [] }));
    this.faults = resources.flatMap(({ name, postHooks }) =>
      (postHooks ?? []).flatMap(({ init }) =>
        (init?.initContainers ?? []).flatMap((container) => containerFaults(container).map((fault) => `spec.hooks "${name}": ${fault}`)),
      ),
    );
  }

  /** The pod with its init hooks. `namespace` is the one it is restored into. */
  withInitContainers(pod: Pod, namespace: string, random: RandomSource): Pod {
    const added = this.#initContainers(pod, namespace, random);
    if (added.length === 0) return pod;
    const existing = pod.spec.initContainers ?? [];
    const first = existing[0]?.name === RESTORE_WAIT ? existing.slice(0, 1) : [];
    return { ...pod, spec: { ...pod.spec, initContainers: [...first, ...added, ...existing.slice(first.length)] } };
  }

  #initContainers(pod: Pod, namespace: string, random: RandomSource): Container[] {
    const annotations = pod.metadata.annotations ?? {};
    const image = annotations[`${INIT}container-image`];
    if (image !== undefined && image !== "") {
      const command = annotations[`${INIT}command`];
      return [
        {
          name: annotations[`${INIT}container-name`] ?? `velero-restore-init-${randomHex(random, 4)}`,
          image,
          ...(command === undefined || command === "" ? {} : { command: parseHookCommand(command) }),
        },
      ];
    }
    return this.#fitting(pod, namespace).flatMap(({ hooks }) => hooks.flatMap(({ init }) => (init?.initContainers ?? []) as unknown as Container[]));
  }

  /** The commands to run in a restored pod, in order. */
  execHooks(pod: Pod, log: Logger): readonly RestoreExecHook[] {
    const annotations = pod.metadata.annotations ?? {};
    const command = annotations[`${POST}command`];
    const first = pod.spec.containers[0]?.name;
    if (command !== undefined && command !== "") {
      return [
        {
          source: "annotation",
          name: "<from-annotation>",
          container: annotations[`${POST}container`] ?? first,
          command: parseHookCommand(command),
          onError: annotations[`${POST}on-error`] === "Fail" ? "Fail" : "Continue",
          timeoutMs: hookTimeoutMs(annotations[`${POST}exec-timeout`], log) ?? HOOK_TIMEOUT_MS,
          waitTimeoutMs: hookTimeoutMs(annotations[`${POST}wait-timeout`], log),
          waitForReady: annotations[`${POST}wait-for-ready`] === "true",
        },
      ];
    }
    return this.#fitting(pod, pod.metadata.namespace ?? "").flatMap(({ name, hooks }) =>
      hooks.flatMap(({ exec }): RestoreExecHook[] =>
        exec === undefined
          ? []
          : [
              {
                source: "spec",
                name,
                container: exec.container === undefined || exec.container === "" ? first : exec.container,
                command: exec.command,
                onError: exec.onError ?? "Continue",
                timeoutMs: hookTimeoutMs(exec.execTimeout, log) ?? HOOK_TIMEOUT_MS,
                waitTimeoutMs: hookTimeoutMs(exec.waitTimeout, log),
                waitForReady: exec.waitForReady === true,
              },
            ],
      ),
    );
  }

  #fitting(pod: Pod, namespace: string) {
    return this.#fromSpec.filter(({ fits }) => fits(namespace, pod.metadata.labels));
  }
}

function containerFaults(container: Record<string, unknown>): string[] {
  const missing = ["name", "image", "command"].filter((field) => {
    const value = container[field];
    return Array.isArray(value) ? value.length === 0 : typeof value !== "string" || value === "";
  });
  return missing.length === 0 ? [] : [`an init container has no ${missing.join(", no ")}`];
}

export interface RunRestoreHooksOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly hooks: RestoreHooks;
  /** Restored pods whose data is there. */
  readonly pods: readonly Pod[];
  /** Why a pod will never come up, where that is known: its hooks are not waited for. */
  readonly problemOf?: (pod: Pod) => string | undefined;
  /** For hooks that name no limit. */
  readonly waitTimeoutMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Called for each hook that failed or was not run. */
  readonly onFailure: (namespace: string, message: string) => void;
}

/** Runs the exec hooks of pods, several pods at a time. Failures are reported, never thrown. */
export async function runRestoreHooks(options: RunRestoreHooksOptions): Promise<HookCounts> {
  const counts: HookCounts = { attempted: 0, failed: 0 };
  await forEachLimit(options.pods, PODS_AT_ONCE, (pod) => runPodHooks(pod, options, counts), options.signal);
  return counts;
}

async function runPodHooks(pod: Pod, options: RunRestoreHooksOptions, counts: HookCounts): Promise<void> {
  const { client, hooks, signal, onFailure } = options;
  const { namespace = "", name } = pod.metadata;
  const log = options.log.child({ namespace, name, resource: "pods", hookPhase: "post" });
  const waiting = [...hooks.execHooks(pod, log)];
  const startedMs = options.clock.nowMs();
  const problem = waiting.length === 0 ? undefined : options.problemOf?.(pod);
  if (problem !== undefined) {
    for (const hook of waiting) {
      counts.attempted++;
      counts.failed++;
      onFailure(namespace, `Cannot run hook "${hook.name}" in pod "${namespace}/${name}": ${problem}`);
    }
    return;
  }
  for (let hook = waiting.shift(); hook !== undefined; hook = waiting.shift()) {
    counts.attempted++;
    try {
      await runExecHook(client, await whenUp(pod, hook, startedMs, options), hook, log, signal);
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      counts.failed++;
      log.warn("Restore hook failed", { ...errorFields(error), context: undefined });
      onFailure(namespace, messageOf(error));
      if (hook.onError !== "Fail") continue;
      for (const left of waiting.splice(0)) {
        counts.attempted++;
        counts.failed++;
        onFailure(namespace, `Cannot run hook "${left.name}" in pod "${namespace}/${name}": one before it failed`);
      }
    }
  }
}

/** The pod once the hook's container runs (or is ready, where that is asked for). Throws HOOK_FAILED with what it was waiting for. */
async function whenUp(pod: Pod, hook: RestoreExecHook, startedMs: number, { client, clock, waitTimeoutMs, signal }: RunRestoreHooksOptions): Promise<Pod> {
  const limitMs = hook.waitTimeoutMs ?? waitTimeoutMs;
  let delayMs = POLL_FIRST_MS;
  for (;;) {
    const current = await client.find(pods, keyOf(pod), signal);
    const subject = `Cannot run hook "${hook.name}" in pod "${pod.metadata.namespace}/${pod.metadata.name}"`;
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
