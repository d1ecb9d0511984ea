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

/** How a container ended that was told to. */
export interface StoppedContainer {
  readonly exitCode: number;
  /** It had to be killed, since it had not ended within its grace period. */
  readonly wasKilled: boolean;
}

/** Kept on a pod that is stopped until its end has been seen: a kubelet would take the pod away with it. */
const SEEN_FINALIZER = "drayage.io/validates";
/** The exit code of what SIGKILL ended. */
const KILLED = 137;

/**
 * Starts a pod, tells it to stop once `ready` says so, and says how its container ended. `limitMs` holds for the start and for the end, each. Throws as `runOnePod` does, and
 * DATA_MOVEMENT_FAILED for one that has ended before it was told to.
 */
export async function stopOnePod(pod: Pod, options: OnePodOptions, ready: () => Promise<boolean>, terminal: Terminal): Promise<StoppedContainer> {
  const { client, limitMs, what } = options;
  const { clock, signal } = terminal;
  const key = keyOf(pod);
  await removePod(client, pod, clock);
  const readyByMs = clock.monotonicMs() + limitMs;
  try {
    const metadata = { ...pod.metadata, finalizers: [SEEN_FINALIZER] };
    await client.create(
      pods,
      { metadata, spec: { ...pod.spec, restartPolicy: "Never", activeDeadlineSeconds: Math.ceil(limitMs / 1000) * 2 + 5 } },
      { signal },
    );
    while (!(await ready())) {
      const { phase } = (await client.get(pods, key, signal)).status ?? {};
      if (phase === "Succeeded" || phase === "Failed") throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot stop ${what}: it has ended by itself`);
      if (clock.monotonicMs() >= readyByMs) throw new DrayError("TIMED_OUT", `Cannot stop ${what}: it has not begun its work after ${limitMs / 1000} s`);
      await clock.sleep(POLL_MS, signal);
    }
    await client.delete(pods, key, { signal });
    const deadlineMs = clock.monotonicMs() + limitMs;
    for (;;) {
      const terminated = (await client.get(pods, key, signal)).status?.containerStatuses?.[0]?.state?.terminated;
      if (terminated !== undefined) return { exitCode: terminated.exitCode, wasKilled: terminated.exitCode === KILLED || terminated.signal === KILLED - 128 };
      if (clock.monotonicMs() >= deadlineMs) throw new DrayError("TIMED_OUT", `Cannot stop ${what}: it has not ended after ${limitMs / 1000} s`);
      await clock.sleep(POLL_MS, signal);
    }
  } finally {
    await removePod(client, pod, clock);
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
export async function removePod(client: KubeClient, pod: Pod, clock: Terminal["clock"]): Promise<void> {
  const signal = AbortSignal.timeout(CLEAN_UP_MS);
  try {
    const current = await client.find(pods, keyOf(pod), signal);
    if ((current?.metadata.finalizers ?? []).length > 0) await client.patch(pods, keyOf(pod), "merge", { metadata: { finalizers: null } }, { signal });
    await client.delete(pods, keyOf(pod), { gracePeriodSeconds: 0, signal });
    while ((await client.find(pods, keyOf(pod), signal)) !== undefined) await clock.sleep(POLL_MS, signal);
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}
