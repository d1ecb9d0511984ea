/**
 * What mover pods take over from the node-agent's own pods, as Velero does (velero.md 3.2): the marks by which clouds give a pod its identity, and tolerations of nodes that may be the
 * only ones there are. Nothing else is inherited. The ConfigMap's labels and annotations stand in their place, not beside them.
 */
import type { PodTemplate } from "@drayage/kube";
import type { MoverPodSettings } from "./exposer-deps.ts";

const LABELS = ["azure.workload.identity/use"];
const ANNOTATIONS = ["iam.amazonaws.com/role"];
const TOLERATIONS = ["kubernetes.azure.com/scalesetpriority", "CriticalAddonsOnly"];

export function inheritedSettings({ metadata, spec }: PodTemplate): Pick<MoverPodSettings, "labels" | "annotations" | "tolerations"> {
  const tolerations = ((spec.tolerations ?? []) as Record<string, unknown>[]).filter(({ key }) => TOLERATIONS.includes(String(key)));
  const [labels, annotations] = [picked(metadata?.labels, LABELS), picked(metadata?.annotations, ANNOTATIONS)];
  return {
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(tolerations.length === 0 ? {} : { tolerations }),
  };
}

function picked(from: Readonly<Record<string, string>> | undefined, names: readonly string[]): Record<string, string> | undefined {
  const entries = names.flatMap((name) => (from?.[name] === undefined ? [] : [[name, from[name]] as const]));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
