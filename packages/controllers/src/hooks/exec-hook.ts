/** A command in a container of a pod, before or after something happens to the pod. */
import { DrayError, formatBytes, type Logger } from "@drayage/base";
import { type KubeClient, keyOf, type Pod, parseDuration } from "@drayage/kube";

export interface ExecHook {
  /** Where it was declared; `spec` wins nowhere over `annotation`. */
  readonly source: "annotation" | "spec";
  /** Its name in the spec, `<from-annotation>` otherwise. */
  readonly name: string;
  /** The pod's first container when left out. */
  readonly container: string | undefined;
  readonly command: readonly string[];
  /** `Fail`: what depends on the pod is given up; `Continue`: the error is recorded and that is all. */
  readonly onError: "Continue" | "Fail";
  readonly timeoutMs: number;
}

/** How many commands were run, and how many of them did not end well. */
export interface HookCounts {
  attempted: number;
  failed: number;
}

export const HOOK_TIMEOUT_MS = 30_000;
const OUTPUT_LOGGED_MAX = 4096;

/** The command of an annotation: a JSON array of words, or one word. */
export function parseHookCommand(value: string): string[] {
  if (value.startsWith("[")) {
    try {
      const words: unknown = JSON.parse(value);
      if (Array.isArray(words) && words.every((word) => typeof word === "string")) return words;
    } catch {
      // Not JSON after all: a file may be named so.
    }
  }
  return [value];
}

/** Milliseconds of a timeout as it is written in a spec or an annotation; `undefined` (and a warning) when it is none, so that the caller's default holds. */
export function hookTimeoutMs(text: string | undefined, log: Logger): number | undefined {
  if (text === undefined || text === "") return undefined;
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0) {
    log.warn(`Cannot use hook timeout "${text}": a duration such as "30s" is wanted; the default is used`);
    return undefined;
  }
  return ms === 0 ? undefined : ms;
}

/**
 * Runs the command and waits for its end. Throws when the container is not there, the command exits other than 0 (HOOK_FAILED), or it takes too long (TIMED_OUT).
 * A pod that has ended has nothing to run it in; that is no failure.
 */
export async function runExecHook(client: KubeClient, pod: Pod, hook: ExecHook, log: Logger, signal: AbortSignal): Promise<void> {
  const container = hook.container ?? pod.spec.containers[0]?.name;
  const key = keyOf(pod);
  const subject = `hook "${hook.name}" in pod "${key.namespace}/${key.name}"`;
  if (container === undefined || !pod.spec.containers.some(({ name }) => name === container)) {
    throw new DrayError("HOOK_FAILED", `Cannot run ${subject}: the pod has no container "${container ?? ""}"`);
  }
  if (hook.command.length === 0 || hook.command[0] === "") throw new DrayError("HOOK_FAILED", `Cannot run ${subject}: its command is empty`);
  const fields = { hookName: hook.name, hookContainer: container, hookSource: hook.source, hookOnError: hook.onError };
  if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") {
    log.info(`Not running exec hook: the pod has ended (${pod.status.phase})`, fields);
    return;
  }
  log.info("Running exec hook", { ...fields, hookCommand: hook.command, hookTimeout: `${hook.timeoutMs / 1000}s` });
  const result = await client.podExec(key, { container, command: hook.command, timeoutMs: hook.timeoutMs, signal });
  log.info(`stdout: ${shortened(result.stdout)}`, fields);
  log.info(`stderr: ${shortened(result.stderr)}`, fields);
  if (result.exitCode !== 0) {
    throw new DrayError("HOOK_FAILED", `Cannot complete ${subject}: "${hook.command[0]}" ended with exit code ${result.exitCode}, 0 is wanted`, {
      context: { container, stderr: shortened(result.stderr).slice(0, 200) },
    });
  }
}

function shortened(output: string): string {
  const trimmed = output.trimEnd();
  return trimmed.length <= OUTPUT_LOGGED_MAX ? trimmed : `${trimmed.slice(0, OUTPUT_LOGGED_MAX)}… (${formatBytes(trimmed.length)} in all)`;
}
