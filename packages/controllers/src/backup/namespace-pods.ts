import { type KubeClient, type PersistentVolumeClaim, type Pod, pods } from "@drayage/kube";
import { allOf } from "../all-of.ts";

/** The pods of each namespace as a backup found them when it first asked: one list a namespace. */
export class NamespacePods {
  readonly #client: KubeClient;
  readonly #signal: AbortSignal;
  readonly #byNamespace = new Map<string, Promise<readonly Pod[]>>();

  constructor(client: KubeClient, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
  }

  of(namespace: string): Promise<readonly Pod[]> {
    const known = this.#byNamespace.get(namespace);
    if (known !== undefined) return known;
    const loading = allOf(this.#client.listAll(pods, { namespace, signal: this.#signal }));
    this.#byNamespace.set(namespace, loading);
    return loading;
  }

  /** Those that have a claim among their volumes, whatever they are doing. */
  async using({ metadata }: PersistentVolumeClaim): Promise<readonly Pod[]> {
    const all = await this.of(metadata.namespace ?? "");
    return all.filter((pod) => (pod.spec.volumes ?? []).some(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === metadata.name));
  }
}

/** Whether a pod works, so that hooks can be run in it and its volumes are mounted. */
export function isRunning({ metadata, status }: Pod): boolean {
  return status?.phase === "Running" && metadata.deletionTimestamp === undefined;
}
