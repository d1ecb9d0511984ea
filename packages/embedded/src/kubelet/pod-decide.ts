/**
 * The life of a pod on its node, as one pure function of what is seen.
 *
 *   volumes ─► init containers, one after the other ─► containers ─► Succeeded / Failed ─► volumes let go
 *                  └─ sidecars stay                        └─ restarted with back-off
 *   deleted at any point ─► containers stopped ─► volumes let go ─► object removed
 *
 * The worker observes, calls `decidePod`, carries the actions out and comes back when something changed: nothing here waits or remembers.
 */
import type { Pod } from "@drayage/kube";
import type { ContainerResult } from "./container-runtime.ts";
import { containersOf, initContainersOf, isSidecar, isTerminal, type KubeletContainer } from "./pod-types.ts";

export type ImageView =
  | { readonly state: "unknown" }
  | { readonly state: "present" }
  | { readonly state: "failed"; readonly reason: string; readonly message: string; readonly retryAtMs: number };

/** The latest start of a container. */
export interface AttemptView {
  readonly id: string;
  readonly attempt: number;
  readonly startedAtMs?: number;
  readonly result?: ContainerResult;
  /** Its startup probe has passed, or it has none. */
  readonly started: boolean;
  readonly ready: boolean;
  /** Why a probe or hook wants it ended. */
  readonly unhealthy?: string;
}

export interface ContainerView {
  readonly image: ImageView;
  readonly latest?: AttemptView;
  /** The start before the latest. */
  readonly previous?: AttemptView;
  /** Why it could not be created, and when that is tried again. */
  readonly trouble?: { readonly reason: string; readonly message: string; readonly retryAtMs: number };
  /** Something is being done to it, whose end will be seen. */
  readonly busy: boolean;
}

export interface PodView {
  readonly pod: Pod;
  readonly nowMs: number;
  readonly volumes: "absent" | "ready" | "busy" | { readonly retryAtMs: number };
  /** By name, init containers included. */
  readonly containers: ReadonlyMap<string, ContainerView>;
  /** Why this node will not run the pod: eviction, or a deadline. */
  readonly rejected?: { readonly reason: string; readonly message: string };
}

export type PodAction =
  | { readonly do: "setUpVolumes" | "tearDownVolumes" | "removeObject" }
  | { readonly do: "pull"; readonly container: KubeletContainer }
  | { readonly do: "start"; readonly container: KubeletContainer; readonly attempt: number }
  | { readonly do: "stop"; readonly container: KubeletContainer; readonly why: string; readonly graceMs: number };

export interface PodDecision {
  readonly actions: readonly PodAction[];
  /** Set when the pod ends by this kubelet's decision, not by its containers' exit codes. */
  readonly verdict?: { readonly reason: string; readonly message: string };
  readonly recheckAfterMs?: number;
}

export const RESTART_BACKOFF_MS = 10_000;
export const RESTART_BACKOFF_MAX_MS = 300_000;
/** A container that ran this long is started again without waiting. */
const RESTART_RESET_MS = 600_000;
const GRACE_MS = 30_000;

export function decidePod(view: PodView): PodDecision {
  const { pod } = view;
  const deadline = deadlineOf(view);
  const verdict = view.rejected ?? (deadline !== undefined && deadline <= view.nowMs ? DEADLINE : undefined);
  if (pod.metadata.deletionTimestamp !== undefined) return wind(view, [{ do: "removeObject" }], undefined);
  if (verdict !== undefined) return wind(view, [], verdict);
  if (isTerminal(pod) || hasEnded(view)) return wind(view, [], undefined);
  if (view.volumes === "busy") return { actions: [] };
  if (view.volumes === "absent") return { actions: [{ do: "setUpVolumes" }] };
  if (view.volumes !== "ready") {
    const waitMs = view.volumes.retryAtMs - view.nowMs;
    return waitMs > 0 ? { actions: [], recheckAfterMs: waitMs } : { actions: [{ do: "setUpVolumes" }] };
  }
  const actions: PodAction[] = [];
  const rechecks: number[] = deadline === undefined ? [] : [deadline - view.nowMs];
  for (const container of currentContainers(view)) {
    const next = nextFor(view, container);
    if (next.action !== undefined) actions.push(next.action);
    if (next.afterMs !== undefined) rechecks.push(next.afterMs);
  }
  return { actions, ...(rechecks.length === 0 ? {} : { recheckAfterMs: Math.max(1, Math.min(...rechecks)) }) };
}

const DEADLINE = { reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline" };

/** Ends what runs, lets the volumes go, then does `last`. */
function wind(view: PodView, last: readonly PodAction[], verdict: PodDecision["verdict"]): PodDecision {
  const found = verdict === undefined ? {} : { verdict };
  const all = [...containersOf(view.pod), ...initContainersOf(view.pod)];
  const running = all.filter((container) => isActive(view.containers.get(container.name)));
  // Sidecars serve the others until those have ended.
  const serving = running.filter((container) => !isSidecar(container));
  const graceMs = graceOf(view.pod);
  const stops = (serving.length > 0 ? serving : running)
    .filter((container) => view.containers.get(container.name)?.busy !== true)
    .map((container): PodAction => ({ do: "stop", container, why: "Stopping container", graceMs }));
  if (running.length > 0 || all.some((container) => view.containers.get(container.name)?.busy === true)) return { actions: stops, ...found };
  if (view.volumes === "busy") return { actions: [], ...found };
  if (view.volumes === "absent") return { actions: last, ...found };
  return { actions: [{ do: "tearDownVolumes" }], ...found };
}

/** Whether every container has ended and none will be started again. */
export function hasEnded(view: PodView): boolean {
  const policy = restartPolicyOf(view.pod);
  const final = (container: KubeletContainer): boolean => {
    const result = view.containers.get(container.name)?.latest?.result;
    return result !== undefined && (policy === "Never" || (policy === "OnFailure" && result.exitCode === 0));
  };
  const failedInit = initContainersOf(view.pod).some(
    (container) => !isSidecar(container) && policy === "Never" && (view.containers.get(container.name)?.latest?.result?.exitCode ?? 0) !== 0,
  );
  return failedInit || (containersOf(view.pod).length > 0 && containersOf(view.pod).every(final));
}

/** Sidecars so far, then the first init container that is not done, or all containers once every one is. */
function currentContainers(view: PodView): readonly KubeletContainer[] {
  const current: KubeletContainer[] = [];
  for (const container of initContainersOf(view.pod)) {
    const latest = view.containers.get(container.name)?.latest;
    if (isSidecar(container)) {
      current.push(container);
      if (latest?.result !== undefined || latest?.started !== true) return current;
    } else if (latest?.result?.exitCode !== 0) {
      return [...current, container];
    }
  }
  return [...current, ...containersOf(view.pod)];
}

export function initDone(view: PodView): boolean {
  return initContainersOf(view.pod).every((container) => {
    const latest = view.containers.get(container.name)?.latest;
    return isSidecar(container) ? latest?.started === true : latest?.result?.exitCode === 0;
  });
}

function nextFor(view: PodView, container: KubeletContainer): { readonly action?: PodAction; readonly afterMs?: number } {
  const seen = view.containers.get(container.name);
  if (seen === undefined || seen.busy) return {};
  const { latest } = seen;
  if (latest !== undefined && latest.result === undefined) {
    return latest.unhealthy === undefined ? {} : { action: { do: "stop", container, why: latest.unhealthy, graceMs: graceOf(view.pod) } };
  }
  if (latest?.result !== undefined && !restarts(view.pod, container, latest.result)) return {};
  const notBeforeMs = Math.max(
    latest?.result === undefined ? 0 : latest.result.finishedAtMs + backoffMs(latest),
    seen.trouble?.retryAtMs ?? 0,
    seen.image.state === "failed" ? seen.image.retryAtMs : 0,
  );
  if (notBeforeMs > view.nowMs) return { afterMs: notBeforeMs - view.nowMs };
  if (seen.image.state !== "present") return { action: { do: "pull", container } };
  return { action: { do: "start", container, attempt: latest === undefined ? 0 : latest.attempt + 1 } };
}

export function restarts(pod: Pod, container: KubeletContainer, result: ContainerResult): boolean {
  if (isSidecar(container)) return true;
  const policy = restartPolicyOf(pod);
  const isInit = initContainersOf(pod).some(({ name }) => name === container.name);
  if (isInit) return policy !== "Never" && result.exitCode !== 0;
  return policy === "Always" || (policy === "OnFailure" && result.exitCode !== 0);
}

/** How long after its end a container is left alone: not at all the first time or after a long run, then twice as long each time. */
export function backoffMs(latest: AttemptView): number {
  const { attempt, result } = latest;
  if (attempt === 0 || result === undefined || result.finishedAtMs - result.startedAtMs >= RESTART_RESET_MS) return 0;
  return Math.min(RESTART_BACKOFF_MS * 2 ** Math.min(attempt - 1, 10), RESTART_BACKOFF_MAX_MS);
}

export function isActive(seen: ContainerView | undefined): boolean {
  return seen?.latest !== undefined && seen.latest.result === undefined;
}

export function restartPolicyOf(pod: Pod): "Always" | "OnFailure" | "Never" {
  return pod.spec.restartPolicy ?? "Always";
}

/** What the deletion grants, else the pod's own. */
function graceOf(pod: Pod): number {
  const seconds = pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds;
  return seconds === undefined ? GRACE_MS : seconds * 1000;
}

function deadlineOf(view: PodView): number | undefined {
  const seconds = (view.pod.spec as { activeDeadlineSeconds?: number }).activeDeadlineSeconds;
  const start = view.pod.status?.startTime;
  return seconds === undefined || start === undefined ? undefined : Date.parse(start) + seconds * 1000;
}
