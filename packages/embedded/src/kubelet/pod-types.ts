/** Fields of a pod that only a kubelet looks at, on top of those @drayage/kube names. */
import type { Container, Pod } from "@drayage/kube";

export interface LifecycleHandler {
  readonly exec?: { readonly command: string[] };
  readonly httpGet?: { readonly path?: string; readonly port: number | string; readonly host?: string; readonly scheme?: string };
  readonly sleep?: { readonly seconds: number };
}

export interface KubeletContainer extends Container {
  readonly lifecycle?: { readonly postStart?: LifecycleHandler; readonly preStop?: LifecycleHandler };
  /** `Always` on an init container makes it a sidecar: it is not waited for, and runs as long as the pod. */
  readonly restartPolicy?: string;
  /** Whether it has an input, whether that ends with the first client that is attached to it, and whether it has a terminal. */
  readonly stdin?: boolean;
  readonly stdinOnce?: boolean;
  readonly tty?: boolean;
}

export function containersOf(pod: Pod): readonly KubeletContainer[] {
  return pod.spec.containers;
}

export function initContainersOf(pod: Pod): readonly KubeletContainer[] {
  return pod.spec.initContainers ?? [];
}

export function isSidecar(container: KubeletContainer): boolean {
  return container.restartPolicy === "Always";
}

export function podKey(pod: Pod): { readonly namespace: string; readonly name: string; readonly uid: string } {
  return { namespace: pod.metadata.namespace ?? "default", name: pod.metadata.name ?? "", uid: pod.metadata.uid ?? "" };
}

/** Whether the pod has ended for good. */
export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}
