/**
 * What pods of movers and of maintenance take over from the node-agent's or the server's own pods, as Velero does (velero.md 3.2 and 4.1): the marks by which clouds give a pod its identity,
 * tolerations of nodes that may be the only ones there are, and what a pod needs to get its image and to find its store: pull secrets, name resolution, variables such as a proxy's. Volumes
 * are not inherited, nor are variables that point into one: a mover has its credentials in a Secret of its own. The ConfigMap's labels and annotations stand in their place, not beside them.
 */
import { SERVER_ENVIRONMENT } from "@drayage/install";
import type { Container, EnvVar, PodTemplate } from "@drayage/kube";
import type { MoverPodSettings } from "./exposer-deps.ts";

const LABELS = ["azure.workload.identity/use"];
const ANNOTATIONS = ["iam.amazonaws.com/role"];
const TOLERATIONS = ["kubernetes.azure.com/scalesetpriority", "CriticalAddonsOnly"];

/** What is said of a pod, whatever it does. */
export type InheritedPod = Pick<MoverPodSettings, "imagePullSecrets" | "dnsPolicy" | "dnsConfig" | "env" | "envFrom">;

export function inheritedSettings(template: PodTemplate): InheritedPod & Pick<MoverPodSettings, "labels" | "annotations" | "tolerations"> {
  const { metadata, spec } = template;
  const tolerations = ((spec.tolerations ?? []) as Record<string, unknown>[]).filter(({ key }) => TOLERATIONS.includes(String(key)));
  const [labels, annotations] = [picked(metadata?.labels, LABELS), picked(metadata?.annotations, ANNOTATIONS)];
  return {
    ...inheritedPod(template),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(tolerations.length === 0 ? {} : { tolerations }),
  };
}

export function inheritedPod({ spec }: PodTemplate): InheritedPod {
  const { imagePullSecrets = [], dnsPolicy, dnsConfig } = spec;
  const container = spec.containers[0];
  const [env, envFrom] = [inheritedVariables(container), container?.envFrom ?? []];
  return {
    ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets }),
    // What the API server puts where nothing is said says nothing.
    ...(dnsPolicy === undefined || dnsPolicy === "ClusterFirst" ? {} : { dnsPolicy }),
    ...(dnsConfig === undefined ? {} : { dnsConfig }),
    ...(env.length === 0 ? {} : { env }),
    ...(envFrom.length === 0 ? {} : { envFrom }),
  };
}

/** Without what says who the pod is, which each pod says of itself, and what is good for a server only. */
function inheritedVariables(container: Container | undefined): EnvVar[] {
  const mounts = (container?.volumeMounts ?? []).map(({ mountPath }) => mountPath);
  const isInVolume = (value: string): boolean => mounts.some((path) => value === path || value.startsWith(`${path}/`));
  return (container?.env ?? []).filter(({ name, value, valueFrom }) => {
    if (Object.hasOwn(SERVER_ENVIRONMENT, name)) return false;
    return valueFrom === undefined ? !isInVolume(value ?? "") : valueFrom.fieldRef === undefined;
  });
}

function picked(from: Readonly<Record<string, string>> | undefined, names: readonly string[]): Record<string, string> | undefined {
  const entries = names.flatMap((name) => (from?.[name] === undefined ? [] : [[name, from[name]] as const]));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
