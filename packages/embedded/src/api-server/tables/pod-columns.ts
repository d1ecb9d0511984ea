/** The columns of pods: their status is told from the containers, not from the phase alone. */
import { type ApiObject, at, type JsonObject, numberAt, objectAt, objectsAt, textAt } from "../json.ts";
import { humanDuration } from "./age.ts";
import type { Column } from "./column.ts";

export function podColumns(ageColumn: Column): readonly Column[] {
  return [
    { name: "Ready", type: "string", cell: readyCell },
    { name: "Status", type: "string", cell: statusText },
    { name: "Restarts", type: "string", cell: restartsCell },
    ageColumn,
    { name: "IP", type: "string", priority: 1, cell: (pod) => textAt(pod, "status", "podIP") || "<none>" },
    { name: "Node", type: "string", priority: 1, cell: (pod) => textAt(pod, "spec", "nodeName") || "<none>" },
    { name: "Nominated Node", type: "string", priority: 1, cell: (pod) => textAt(pod, "status", "nominatedNodeName") || "<none>" },
    { name: "Readiness Gates", type: "string", priority: 1, cell: gatesCell },
  ];
}

const statuses = (pod: ApiObject): readonly JsonObject[] => objectsAt(pod, "status", "containerStatuses");

/** Init containers that keep running beside the others count as containers. */
function restartableInits(pod: ApiObject): ReadonlySet<string> {
  return new Set(
    objectsAt(pod, "spec", "initContainers")
      .filter((it) => it["restartPolicy"] === "Always")
      .map((it) => textAt(it, "name")),
  );
}

function readyCell(pod: ApiObject): string {
  const sidecars = restartableInits(pod);
  const total = objectsAt(pod, "spec", "containers").length + sidecars.size;
  const ready =
    statuses(pod).filter((it) => it["ready"] === true && objectAt(it, "state", "running") !== undefined).length +
    objectsAt(pod, "status", "initContainerStatuses").filter((it) => sidecars.has(textAt(it, "name")) && it["ready"] === true).length;
  return `${ready}/${total}`;
}

function restartsCell(pod: ApiObject, nowMs: number): string {
  const all = [...objectsAt(pod, "status", "initContainerStatuses").filter((it) => restartableInits(pod).has(textAt(it, "name"))), ...statuses(pod)];
  const restarts = all.reduce((sum, it) => sum + (numberAt(it, "restartCount") ?? 0), 0);
  const last = Math.max(...all.map((it) => Date.parse(textAt(it, "lastState", "terminated", "finishedAt"))).filter((it) => !Number.isNaN(it)));
  return restarts === 0 || !Number.isFinite(last) ? String(restarts) : `${restarts} (${humanDuration(nowMs - last)} ago)`;
}

function terminationText(terminated: JsonObject): string {
  if (textAt(terminated, "reason") !== "") return textAt(terminated, "reason");
  const signal = numberAt(terminated, "signal") ?? 0;
  return signal !== 0 ? `Signal:${signal}` : `ExitCode:${numberAt(terminated, "exitCode") ?? 0}`;
}

/** What an init container that has not finished says about the pod; undefined when all have. */
function initText(pod: ApiObject): string | undefined {
  const total = objectsAt(pod, "spec", "initContainers").length;
  const sidecars = restartableInits(pod);
  for (const [index, status] of objectsAt(pod, "status", "initContainerStatuses").entries()) {
    const terminated = objectAt(status, "state", "terminated");
    if (terminated !== undefined && (numberAt(terminated, "exitCode") ?? 0) === 0) continue;
    if (sidecars.has(textAt(status, "name")) && status["started"] === true) continue;
    if (terminated !== undefined) return `Init:${terminationText(terminated)}`;
    const waiting = textAt(status, "state", "waiting", "reason");
    return waiting !== "" && waiting !== "PodInitializing" ? `Init:${waiting}` : `Init:${index}/${total}`;
  }
  return undefined;
}

export function statusText(pod: ApiObject): string {
  const phase = textAt(pod, "status", "phase");
  let text = textAt(pod, "status", "reason") || phase;
  if (objectsAt(pod, "status", "conditions").some((it) => it["type"] === "PodScheduled" && it["reason"] === "SchedulingGated")) text = "SchedulingGated";
  const initializing = initText(pod);
  if (initializing !== undefined) text = initializing;
  else {
    let hasRunning = false;
    for (const status of statuses(pod).toReversed()) {
      const waiting = textAt(status, "state", "waiting", "reason");
      const terminated = objectAt(status, "state", "terminated");
      if (waiting !== "") text = waiting;
      else if (terminated !== undefined) text = terminationText(terminated);
      else if (status["ready"] === true && objectAt(status, "state", "running") !== undefined) hasRunning = true;
    }
    // One container has completed while another still runs.
    if (text === "Completed" && hasRunning)
      text = objectsAt(pod, "status", "conditions").some((it) => it["type"] === "Ready" && it["status"] === "True") ? "Running" : "NotReady";
  }
  if (pod.metadata.deletionTimestamp === undefined) return text;
  if (textAt(pod, "status", "reason") === "NodeLost") return "Unknown";
  return phase === "Succeeded" || phase === "Failed" ? text : "Terminating";
}

function gatesCell(pod: ApiObject): string {
  const gates = objectsAt(pod, "spec", "readinessGates");
  if (gates.length === 0) return "<none>";
  const conditions = objectsAt(pod, "status", "conditions");
  const met = gates.filter((gate) => conditions.some((it) => it["type"] === gate["conditionType"] && at(it, "status") === "True"));
  return `${met.length}/${gates.length}`;
}
