/**
 * On which nodes an agent runs. A node may be well while nobody acts on it: its agent's pod was deleted, cannot start, or starts again and again.
 *
 * A pod that is not there has no time of its own, so how long that is so is what this process has seen by its own clock; one that has just started waits the whole time. Where agents
 * do not run as pods (this one has none itself), nothing is known.
 */
import type { Clock } from "@drayage/base";
import type { Informer, Pod } from "@drayage/kube";

/** The pods of the agents carry it, ours and Velero's. */
export const AGENT_SELECTOR = "role=node-agent";

export interface AgentPresence {
  /** How long no agent has been seen on a node; undefined while there is one, or where that is not known. */
  absentForMs(nodeName: string): number | undefined;
}

export function watchAgents(agents: Informer<Pod>, ownNode: string, clock: Pick<Clock, "monotonicMs">): AgentPresence {
  const absentSince = new Map<string, number>();
  const isPresent = (nodeName: string): boolean => agents.list().some((pod) => pod.spec.nodeName === nodeName && runs(pod));
  const look = (nodeName: string): number | undefined => {
    if (isPresent(nodeName)) {
      absentSince.delete(nodeName);
      return undefined;
    }
    const since = absentSince.get(nodeName) ?? clock.monotonicMs();
    absentSince.set(nodeName, since);
    return clock.monotonicMs() - since;
  };
  agents.onChange((before, after) => {
    for (const nodeName of new Set([before?.spec.nodeName, after?.spec.nodeName])) if (nodeName !== undefined) look(nodeName);
  });
  return { absentForMs: (nodeName) => (isPresent(ownNode) ? look(nodeName) : undefined) };
}

function runs({ metadata, status }: Pod): boolean {
  const ready = status?.conditions?.find(({ type }) => type === "Ready")?.status;
  return metadata.deletionTimestamp === undefined && status?.phase === "Running" && ready !== "False" && ready !== "Unknown";
}
