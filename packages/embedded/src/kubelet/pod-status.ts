/** The status a kubelet reports of a pod, from the same view that decides about it. */
import { formatTime } from "@drayage/base";
import type { Condition, ContainerStatus, Pod } from "@drayage/kube";
import type { ContainerResult } from "./container-runtime.ts";
import { type AttemptView, backoffMs, type ContainerView, hasEnded, initDone, isActive, type PodView, restartPolicyOf, restarts } from "./pod-decide.ts";
import { containersOf, initContainersOf, isSidecar, isTerminal, type KubeletContainer, podKey } from "./pod-types.ts";

export type PodStatus = NonNullable<Pod["status"]>;
type ContainerState = NonNullable<ContainerStatus["state"]>;

export interface StatusFacts {
  readonly podIP: string;
  readonly hostIP: string;
  readonly verdict?: { readonly reason: string; readonly message: string };
}

export function podStatus(view: PodView, facts: StatusFacts): PodStatus {
  const { pod } = view;
  const before = pod.status ?? {};
  const initStatuses = initContainersOf(pod).map((container) => containerStatus(view, container));
  const statuses = containersOf(pod).map((container) => containerStatus(view, container));
  const phase = phaseOf(view, facts);
  const ended = phase === "Succeeded" || phase === "Failed";
  const verdict = facts.verdict ?? (ended && before.reason !== undefined ? { reason: before.reason, message: before.message ?? "" } : undefined);
  const status: PodStatus = {
    ...before,
    phase,
    conditions: conditions(view, phase, statuses, initStatuses),
    hostIP: facts.hostIP,
    podIP: facts.podIP,
    podIPs: [{ ip: facts.podIP }],
    startTime: before.startTime ?? formatTime(view.nowMs),
    qosClass: before.qosClass ?? qosClass(pod),
    containerStatuses: statuses,
    ...(initStatuses.length === 0 ? {} : { initContainerStatuses: initStatuses }),
  };
  delete status.reason;
  delete status.message;
  return verdict === undefined ? status : { ...status, reason: verdict.reason, message: verdict.message };
}

function phaseOf(view: PodView, facts: StatusFacts): NonNullable<PodStatus["phase"]> {
  const { pod } = view;
  if (isTerminal(pod)) return pod.status?.phase ?? "Failed";
  const active = [...view.containers.values()].some(isActive);
  const results = containersOf(pod).map((container) => view.containers.get(container.name)?.latest?.result);
  const allSucceeded = results.length > 0 && results.every((result) => result?.exitCode === 0);
  if (facts.verdict !== undefined) return active ? runningOrPending(view) : "Failed";
  if (hasEnded(view) && !active) return allSucceeded ? "Succeeded" : "Failed";
  // A pod that is being removed and will start nothing more has ended, whatever its policy.
  const deletedAfterEnd = pod.metadata.deletionTimestamp !== undefined && !active && results.every((result) => result !== undefined);
  if (deletedAfterEnd && restartPolicyOf(pod) !== "Always") return allSucceeded ? "Succeeded" : "Failed";
  return runningOrPending(view);
}

function runningOrPending(view: PodView): "Running" | "Pending" {
  if (!initDone(view) && view.pod.status?.phase !== "Running") return "Pending";
  const begun = containersOf(view.pod).every(({ name }) => {
    const seen = view.containers.get(name);
    return seen?.latest?.startedAtMs !== undefined || seen?.latest?.result !== undefined || seen?.previous?.result !== undefined;
  });
  return begun ? "Running" : "Pending";
}

function containerStatus(view: PodView, container: KubeletContainer): ContainerStatus {
  const seen = view.containers.get(container.name);
  const image = container.image ?? "";
  if (seen === undefined) {
    return {
      name: container.name,
      ready: false,
      started: false,
      restartCount: 0,
      image,
      imageID: "",
      state: { waiting: { reason: waitingReason(view, container) } },
    };
  }
  const { latest, previous } = seen;
  const { state, lastState } = states(view, container, seen);
  const isInit = initContainersOf(view.pod).some(({ name }) => name === container.name);
  const running = state.running !== undefined;
  const ready = isInit && !isSidecar(container) ? latest?.result?.exitCode === 0 : running && latest?.ready === true;
  return {
    name: container.name,
    ready,
    started: running && latest?.started === true,
    restartCount: latest?.attempt ?? 0,
    image,
    imageID: latest === undefined && previous === undefined ? "" : `drayage://${image}`,
    ...(latest === undefined ? {} : { containerID: `drayage://${latest.id}` }),
    state,
    lastState: lastState ?? {},
  };
}

function states(view: PodView, container: KubeletContainer, seen: ContainerView): { state: ContainerState; lastState?: ContainerState } {
  const { latest, previous, trouble, image } = seen;
  const earlier = previous?.result === undefined ? undefined : terminated(previous.id, previous.result);
  const withEarlier = (state: ContainerState): { state: ContainerState; lastState?: ContainerState } =>
    earlier === undefined ? { state } : { state, lastState: earlier };
  if (latest?.result === undefined) {
    if (latest?.startedAtMs !== undefined) return withEarlier({ running: { startedAt: formatTime(latest.startedAtMs) } });
    if (image.state === "failed") return withEarlier({ waiting: { reason: image.reason, message: image.message } });
    if (trouble !== undefined) return withEarlier({ waiting: { reason: trouble.reason, message: trouble.message } });
    return withEarlier({ waiting: { reason: waitingReason(view, container) } });
  }
  const end = terminated(latest.id, latest.result);
  const stays = view.pod.metadata.deletionTimestamp !== undefined || isTerminal(view.pod) || !restarts(view.pod, container, latest.result);
  if (stays) return withEarlier(end);
  if (image.state === "failed") return { state: { waiting: { reason: image.reason, message: image.message } }, lastState: end };
  if (trouble !== undefined) return { state: { waiting: { reason: trouble.reason, message: trouble.message } }, lastState: end };
  const waitMs = backoffMs(latest);
  if (waitMs === 0) return withEarlier(end);
  const { namespace, name, uid } = podKey(view.pod);
  const message = `back-off ${formatSeconds(waitMs)} restarting failed container=${container.name} pod=${name}_${namespace}(${uid})`;
  return { state: { waiting: { reason: "CrashLoopBackOff", message } }, lastState: end };
}

function terminated(id: string, result: ContainerResult): ContainerState {
  return {
    terminated: {
      exitCode: result.exitCode,
      reason: result.reason,
      ...(result.message === undefined ? {} : { message: result.message }),
      startedAt: formatTime(result.startedAtMs),
      finishedAt: formatTime(result.finishedAtMs),
      ...{ containerID: `drayage://${id}` },
    },
  };
}

function waitingReason(view: PodView, container: KubeletContainer): string {
  const isInit = initContainersOf(view.pod).some(({ name }) => name === container.name);
  const first = initContainersOf(view.pod)[0]?.name === container.name;
  if (isInit ? !first || view.volumes !== "ready" : initContainersOf(view.pod).length > 0 && !initDone(view)) return "PodInitializing";
  return "ContainerCreating";
}

function conditions(view: PodView, phase: PodStatus["phase"], statuses: readonly ContainerStatus[], initStatuses: readonly ContainerStatus[]): Condition[] {
  const { pod } = view;
  const unready = statuses.filter(({ ready }) => !ready).map(({ name }) => name);
  const incomplete = initStatuses.filter((status) => !status.ready && status.started !== true).map(({ name }) => name);
  const initialized = initDone(view) || phase === "Succeeded";
  const notReady =
    phase === "Succeeded"
      ? { status: "False" as const, reason: "PodCompleted" }
      : phase === "Failed"
        ? { status: "False" as const, reason: "PodFailed" }
        : unready.length > 0
          ? { status: "False" as const, reason: "ContainersNotReady", message: `containers with unready status: [${unready.join(" ")}]` }
          : { status: "True" as const };
  const isInitialized: Omit<Condition, "type"> = initialized
    ? { status: "True", ...(phase === "Succeeded" ? { reason: "PodCompleted" } : {}) }
    : { status: "False", reason: "ContainersNotInitialized", message: `containers with incomplete status: [${incomplete.join(" ")}]` };
  const wanted: Condition[] = [
    { type: "PodReadyToStartContainers", status: view.volumes === "ready" ? "True" : "False" },
    { type: "Initialized", ...isInitialized },
    { type: "Ready", ...(gatesMissing(pod).length > 0 && notReady.status === "True" ? gateCondition(pod) : notReady) },
    { type: "ContainersReady", ...notReady },
    { type: "PodScheduled", status: "True" },
  ];
  const before = pod.status?.conditions ?? [];
  const kept = before.filter(({ type }) => !wanted.some((condition) => condition.type === type));
  return [...wanted.map((condition) => withTransition(condition, before, view.nowMs)), ...kept];
}

function gatesMissing(pod: Pod): string[] {
  const gates = (pod.spec as { readinessGates?: { conditionType: string }[] }).readinessGates ?? [];
  return gates
    .map(({ conditionType }) => conditionType)
    .filter((type) => !pod.status?.conditions?.some((each) => each.type === type && each.status === "True"));
}

function gateCondition(pod: Pod): Omit<Condition, "type"> {
  return { status: "False", reason: "ReadinessGatesNotReady", message: `the status of pod readiness gate "${gatesMissing(pod)[0]}" is not "True"` };
}

function withTransition(condition: Condition, before: readonly Condition[], nowMs: number): Condition {
  const old = before.find(({ type }) => type === condition.type);
  const since = old?.status === condition.status && old.lastTransitionTime !== undefined ? old.lastTransitionTime : formatTime(nowMs);
  return { ...condition, lastProbeTime: null, lastTransitionTime: since };
}

/** Guaranteed when every container's limits of cpu and memory are set and equal its requests, BestEffort when none has any. */
export function qosClass(pod: Pod): "Guaranteed" | "Burstable" | "BestEffort" {
  const all = [...containersOf(pod), ...initContainersOf(pod)];
  const amounts = (kind: "requests" | "limits") => all.map(({ resources }) => ["cpu", "memory"].map((name) => resources?.[kind]?.[name]));
  const limits = amounts("limits");
  const requests = amounts("requests");
  if ([...limits, ...requests].every((pair) => pair.every((amount) => amount === undefined))) return "BestEffort";
  const equal = limits.every((pair, at) => pair.every((limit, which) => limit !== undefined && (requests[at]?.[which] ?? limit) === limit));
  return equal ? "Guaranteed" : "Burstable";
}

/** `10s`, `1m20s`, `5m0s`, as Go writes durations. */
function formatSeconds(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

export type { AttemptView };
