/**
 * For how long nodes have not been ready, as this process has seen it: a condition is dated by the control plane's clock, which may be hours off this one's, and a node would be given up at
 * once, or never. A process that has just started waits the whole time.
 */
import type { Clock } from "@drayage/base";
import type { Informer, Node } from "@drayage/kube";

export interface NodeHealth {
  /** In milliseconds; undefined while a node is ready or says nothing of it. One that is not there is not known here. */
  unreadyForMs(nodeName: string): number | undefined;
}

export function watchNodes(nodes: Informer<Node>, clock: Pick<Clock, "monotonicMs">): NodeHealth {
  const unreadySince = new Map<string, number>();
  const look = (nodeName: string): number | undefined => {
    const ready = readyOf(nodes.get({ name: nodeName }));
    if (ready === undefined || ready.status === "True") {
      unreadySince.delete(nodeName);
      return undefined;
    }
    const since = unreadySince.get(nodeName) ?? clock.monotonicMs();
    unreadySince.set(nodeName, since);
    return clock.monotonicMs() - since;
  };
  nodes.onChange((before, after) => void look((after ?? before)?.metadata.name ?? ""));
  return { unreadyForMs: look };
}

export function readyOf(node: Node | undefined): NonNullable<NonNullable<Node["status"]>["conditions"]>[number] | undefined {
  return node?.status?.conditions?.find(({ type }) => type === "Ready");
}
