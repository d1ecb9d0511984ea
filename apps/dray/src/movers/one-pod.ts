/** Runs a pod to its end and says how it ended. Whatever happens the pod is gone afterwards; a process that is killed leaves one that ends by its own deadline. */
import { DrayError, hasCode } from "@drayage/base";
import { type ContainerStatus, type KubeClient, keyOf, type Pod, pods } from "@drayage/kube";
import type { Terminal } from "../terminal.ts";

export interface OnePodOptions {
  readonly client: KubeClient;
  readonly limitMs: number;
  /** `mover image "example.com/tar:1"`, for messages. */
  readonly what: string;
}

export interface ContainerEnd {
  readonly name: string;
  readonly exitCode: number;
  /** Its termination message. */
  readonly message: string;
}

export interface PodEnd {
  /** Init containers first; those that never ran are not in it. */
  readonly containers: readonly ContainerEnd[];
  /** What the last container that ran has printed, as far as `OUTPUT_BYTES_MAX`. */
  readonly output: string;
}

/** More than any description has; a program that prints without end must not fill our memory. */
export const OUTPUT_BYTES_MAX = 256 << 10;
const POLL_MS = 300;
const CLEAN_UP_MS = 30_000;
/** Kinds of waiting that no time heals. */
const HOPELESS: ReadonlySet<string> = new Set([
  "ImagePullBackOff",
  "ErrImageNeverPull",
  "InvalidImageName",
  "CreateContainerConfigError",
  "CreateContainerError",
  "RunContainerError",
]);

/** Throws TIMED_OUT saying what the pod was waiting for or doing, and DATA_MOVEMENT_FAILED when it can never run. */
export async function runOnePod(pod: Pod, options: OnePodOptions, terminal: Terminal): Promise<PodEnd> {
  const { client, limitMs, what } = options;
  const key = keyOf(pod);
  await removePod(client, pod, terminal.clock);
  const deadlineMs = terminal.clock.monotonicMs() + limitMs;
  try {
    await client.create(
      pods,
      { ...pod, spec: { ...pod.spec, restartPolicy: "Never", activeDeadlineSeconds: Math.ceil(limitMs / 1000) + 5 } },
      { signal: terminal.signal },
    );
    for (;;) {
      const current = await client.find(pods, key, terminal.signal);
      if (current === undefined) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot run ${what}: its pod "${key.name}" was deleted`);
      const phase = current.status?.phase;
      if (phase === "Succeeded" || phase === "Failed") return await endOf(current, options, terminal.signal);
      const hopeless = statusesOf(current).find(({ state }) => HOPELESS.has(state?.waiting?.reason ?? ""))?.state?.waiting;
      if (hopeless !== undefined)
        throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot run ${what}: ${hopeless.reason}${hopeless.message === undefined ? "" : `: ${hopeless.message}`}`, {
          hint: "Is the name right, and may the nodes pull it?",
        });
      if (terminal.clock.monotonicMs() >= deadlineMs) throw new DrayError("TIMED_OUT", `Cannot run ${what}: ${whatItDoes(current)} after ${limitMs / 1000} s`);
      await terminal.clock.sleep(POLL_MS, terminal.signal);
    }
  } finally {
    await removePod(client, pod, terminal.clock);
  }
}

async function endOf(pod: Pod, { client }: OnePodOptions, signal: AbortSignal): Promise<PodEnd> {
  const ended = statusesOf(pod).flatMap(({ name, state }): ContainerEnd[] => {
    const { terminated } = state ?? {};
    return terminated === undefined ? [] : [{ name, exitCode: terminated.exitCode, message: terminated.message ?? "" }];
  });
  const last = ended.at(-1);
  if (last === undefined) return { containers: [], output: pod.status?.message ?? "" };
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of client.podLog(keyOf(pod), { container: last.name, limitBytes: OUTPUT_BYTES_MAX + 1, signal })) {
    parts.push(part);
    bytes += part.length;
    if (bytes > OUTPUT_BYTES_MAX) break;
  }
  return { containers: ended, output: Buffer.concat(parts).toString("utf8") };
}

function statusesOf({ status }: Pod): readonly ContainerStatus[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

function whatItDoes(pod: Pod): string {
  const unscheduled = pod.status?.conditions?.find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unscheduled !== undefined) return `its pod has no node (${unscheduled.message ?? unscheduled.reason ?? "no reason was given"})`;
  const waiting = statusesOf(pod).find(({ state }) => state?.waiting !== undefined)?.state?.waiting;
  if (pod.status?.phase !== "Running" && waiting?.reason !== undefined && waiting.reason !== "PodInitializing")
    return `its pod does not start (${waiting.reason})`;
  return "it has not ended";
}

/** With a limit of its own: it also cleans up after a command that was interrupted. */
async function removePod(client: KubeClient, pod: Pod, clock: Terminal["clock"]): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    await client.delete(pods, keyOf(pod), { gracePeriodSeconds: 0, signal });
    while ((await client.find(pods, keyOf(pod), signal)) !== undefined) await clock.sleep(POLL_MS, signal);
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}
