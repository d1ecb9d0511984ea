/** Hooks of a backup: from annotations of the pod, else from the spec. */
import type { BackupSpec } from "@drayage/api";
import { errorFields, hasCode, isAbort, type Logger } from "@drayage/base";
import type { KubeClient, Pod } from "@drayage/kube";
import { type ExecHook, HOOK_TIMEOUT_MS, type HookCounts, hookTimeoutMs, parseHookCommand, runExecHook } from "./exec-hook.ts";
import { hookSelector } from "./hook-selector.ts";

export type BackupHookPhase = "pre" | "post";

/** `failed`: one that had to succeed did not, and something was or may have been done to the pod; `refused`: nothing was. */
export type HooksOutcome = "complete" | "failed" | "refused";

const PREFIX = "hook.backup.velero.io/";

/** The hooks of one backup, compiled once. */
export class BackupHooks {
  readonly counts: HookCounts = { attempted: 0, failed: 0 };
  readonly #fromSpec: readonly {
    readonly fits: ReturnType<typeof hookSelector>;
    readonly name: string;
    readonly pre: readonly SpecExec[];
    readonly post: readonly SpecExec[];
  }[];

  /** Throws VALIDATION_FAILED when a hook's label selector is none. */
  constructor(spec: BackupSpec) {
    this.#fromSpec = (spec.hooks?.resources ?? []).map((resource) => ({
      fits: hookSelector(resource),
      name: resource.name,
      pre: (resource.pre ?? []).map(({ exec }) => exec),
      post: (resource.post ?? []).map(({ exec }) => exec),
    }));
  }

  /** What is to be run for a pod: the hook of its annotations when there is one, all that fit from the spec otherwise. */
  of(pod: Pod, phase: BackupHookPhase, log: Logger): readonly ExecHook[] {
    const annotations = pod.metadata.annotations ?? {};
    // Annotations without a phase are those of the first release, and mean "pre".
    const fromAnnotations = annotated(annotations, `${phase}.${PREFIX}`, log) ?? (phase === "pre" ? annotated(annotations, PREFIX, log) : undefined);
    if (fromAnnotations !== undefined) return [fromAnnotations];
    return this.#fromSpec
      .filter(({ fits }) => fits(pod.metadata.namespace ?? "", pod.metadata.labels))
      .flatMap((resource) => resource[phase].map((exec): ExecHook => specHook(resource.name, exec, log)));
  }

  /** Runs a pod's hooks in order. When one with onError Fail fails, those after it are left out. Throws only the reason of an aborted signal. */
  async run(client: KubeClient, pod: Pod, phase: BackupHookPhase, log: Logger, signal: AbortSignal): Promise<HooksOutcome> {
    let changed = false;
    const podLog = log.child({ name: pod.metadata.name, namespace: pod.metadata.namespace, resource: "pods", hookPhase: phase });
    for (const hook of this.of(pod, phase, podLog)) {
      this.counts.attempted++;
      try {
        await runExecHook(client, pod, hook, podLog, signal);
        changed = true;
      } catch (error) {
        if (isAbort(error, signal)) throw error;
        this.counts.failed++;
        podLog.error("Error executing hook", { ...errorFields(error), context: undefined, hookName: hook.name });
        // A command that says itself that it failed did not do its work; of one that was not heard of again nobody knows.
        changed ||= !hasCode(error, "HOOK_FAILED", "KUBE_NOT_FOUND");
        if (hook.onError === "Fail") return changed ? "failed" : "refused";
      }
    }
    return "complete";
  }
}

interface SpecExec {
  readonly command: readonly string[];
  readonly container?: string;
  readonly onError?: "Continue" | "Fail";
  readonly timeout?: string;
}

function specHook(name: string, exec: SpecExec, log: Logger): ExecHook {
  return {
    source: "spec",
    name,
    container: exec.container === "" ? undefined : exec.container,
    command: exec.command,
    onError: exec.onError ?? "Fail",
    timeoutMs: hookTimeoutMs(exec.timeout, log) ?? HOOK_TIMEOUT_MS,
  };
}

function annotated(annotations: Readonly<Record<string, string>>, prefix: string, log: Logger): ExecHook | undefined {
  const command = annotations[`${prefix}command`];
  if (command === undefined || command === "") return undefined;
  const container = annotations[`${prefix}container`];
  return {
    source: "annotation",
    name: "<from-annotation>",
    container: container === "" ? undefined : container,
    command: parseHookCommand(command),
    onError: annotations[`${prefix}on-error`] === "Continue" ? "Continue" : "Fail",
    timeoutMs: hookTimeoutMs(annotations[`${prefix}timeout`], log) ?? HOOK_TIMEOUT_MS,
  };
}
