/** How the fake keeps the objects of a kind, and the rules of an API server that need no state: selection, patches, what counts as a change of the spec. */
import { DrayError } from "@drayage/base";
import {
  daemonSets,
  deployments,
  groupResourceOf,
  jobs,
  type KubeObject,
  type ListOptions,
  matchesFields,
  matchesLabels,
  namespaces,
  nodes,
  type PatchType,
  parseFieldSelector,
  parseLabelSelector,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  replicaSets,
  statefulSets,
} from "../index.ts";
import { applyJsonPatch, applyMergePatch, applyStrategicPatch } from "./json-patches.ts";

/** A change as it is told to watches. */
export interface StoredChange {
  readonly version: number;
  readonly before: KubeObject | undefined;
  readonly after: KubeObject | undefined;
  readonly last: KubeObject;
}

export interface Stored {
  readonly type: ResourceType<KubeObject>;
  readonly objects: Map<string, KubeObject>;
  /** The keys in order; empty after one has come or gone, until somebody asks. */
  readonly order: string[];
  /** In order of versions. */
  readonly history: StoredChange[];
  readonly watchers: Set<() => void>;
  compactedVersion: number;
}

/** The first change after a version: history is long, and each watch of the kind looks for its next. */
export function changeAfter({ history }: Stored, version: number): StoredChange | undefined {
  let [low, high] = [0, history.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((history[middle]?.version ?? 0) > version) high = middle;
    else low = middle + 1;
  }
  return history[low];
}

export function isUnchanged(before: KubeObject, after: KubeObject): boolean {
  return JSON.stringify(versionless(before)) === JSON.stringify(versionless(after));
}

function versionless(object: KubeObject): KubeObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: "" } };
}

/** Kinds with a status subresource; Velero's have none. */
export const WITH_STATUS = new Set(
  [pods, persistentVolumes, persistentVolumeClaims, namespaces, nodes, deployments, daemonSets, statefulSets, replicaSets, jobs]
    .map((type) => groupResourceOf(type))
    .concat(["volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io", "customresourcedefinitions.apiextensions.k8s.io"]),
);

export function gone(type: { readonly group: string; readonly plural: string }): DrayError {
  return new DrayError("KUBE_GONE", `Cannot watch ${groupResourceOf(type)}: too old resource version`, { context: { status: 410, reason: "Expired" } });
}

export function parseToken(token: string): [string, number] {
  const at = token.indexOf(":");
  return [token.slice(at + 1), Number(token.slice(0, at))];
}

export function selection(options: ListOptions): (object: KubeObject) => boolean {
  const labels = options.labelSelector === undefined ? [] : parseLabelSelector(options.labelSelector);
  const fields = options.fieldSelector === undefined ? [] : parseFieldSelector(options.fieldSelector);
  return (object) =>
    (options.namespace === undefined || object.metadata.namespace === options.namespace) &&
    matchesLabels(labels, object.metadata.labels) &&
    matchesFields(fields, object);
}

export function patched<T extends KubeObject>(before: T, patchType: PatchType, patch: unknown): T {
  if (patchType === "json") return applyJsonPatch(before, patch as Parameters<typeof applyJsonPatch>[1]) as T;
  return (patchType === "merge" ? applyMergePatch(before, patch) : applyStrategicPatch(before, patch)) as T;
}

/** A resourceVersion inside a merge patch makes it a compare-and-swap. */
export function patchedVersion(patchType: PatchType, patch: unknown): string | undefined {
  return patchType === "json" ? undefined : (patch as { metadata?: { resourceVersion?: string } } | null)?.metadata?.resourceVersion;
}

/** Everything whose change raises the generation: neither metadata nor status. */
export function specOf(object: KubeObject): string {
  const { metadata: _m, status: _s, ...rest } = object as KubeObject & { status?: unknown };
  return JSON.stringify(rest);
}

export function waitForChange(stored: Stored, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const wake = (): void => {
      stored.watchers.delete(wake);
      signal?.removeEventListener("abort", onAbort);
      resolve();
    };
    const onAbort = (): void => {
      stored.watchers.delete(wake);
      reject(signal?.reason);
    };
    stored.watchers.add(wake);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
