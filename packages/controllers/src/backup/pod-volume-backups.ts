/** The volumes of a backup that are read through the file system of the pods that mount them: one PodVolumeBackup each, carried out by the agent of the pod's node. */
import { ANNOTATIONS, type Backup, LABELS, type PodVolumeBackup, podVolumeBackups, validLabelValue } from "@drayage/api";
import { type Clock, type Logger, nullLogger, type RandomSource } from "@drayage/base";
import {
  type Informer,
  type KubeClient,
  keyOf,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  type Volume as PodVolume,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  startInformer,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { AGENT_SELECTOR } from "../data-movement/agent-presence.ts";
import { claimNameOf } from "../pod-volume/pod-volume-path.ts";
import type { VolumeChoice } from "../resource-policy/volume-choice.ts";
import { isRunning } from "./namespace-pods.ts";

export interface PodVolumeBackupsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly namespace: string;
  readonly backup: Backup;
  readonly choice: VolumeChoice;
  readonly log: Logger;
  /** How long one may take, from its creation on. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export class PodVolumeBackups {
  readonly #options: PodVolumeBackupsOptions;
  /** Claims whose data somebody reads already (`namespace/name`): several pods may mount one. */
  readonly #claims = new Set<string>();
  readonly #ended = new Map<string, PodVolumeBackup>();
  #agents: Promise<ReadonlySet<string>> | undefined;
  #cache: Informer<PodVolumeBackup> | undefined;

  constructor(options: PodVolumeBackupsOptions) {
    this.#options = options;
  }

  /** Those that have ended, in the order of their names. */
  get ended(): readonly PodVolumeBackup[] {
    return [...this.#ended.values()].sort((a, b) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1));
  }

  /** Whether a claim's data is read. */
  reads(namespace: string, claim: string): boolean {
    return this.#claims.has(`${namespace}/${claim}`);
  }

  /** Begins to read the volumes of a pod that are to be read; what keeps one from it is logged. Returns the names of what was begun. */
  async begin(pod: Pod): Promise<readonly string[]> {
    const begun: string[] = [];
    for (const volume of pod.spec.volumes ?? []) {
      const { claim, bound } = await this.#claimOf(pod, volume);
      if (!this.#options.choice.isRead(pod, volume, claim, bound)) continue;
      const created = await this.#beginVolume(pod, volume, claim);
      if (created !== undefined) begun.push(created);
    }
    return begun;
  }

  async #beginVolume(pod: Pod, volume: PodVolume, claim: PersistentVolumeClaim | undefined): Promise<string | undefined> {
    const { client, log, signal } = this.#options;
    const { namespace = "", name = "" } = pod.metadata;
    const podLog = log.child({ resource: "pods", namespace, name, volume: volume.name });
    if (!isRunning(pod)) {
      podLog.warn(`Cannot read volume "${volume.name}" of pod "${namespace}/${name}" through its file system: the pod does not run`);
      return undefined;
    }
    if (claim?.spec.volumeMode === "Block") {
      podLog.error(`Cannot read volume "${volume.name}" of pod "${namespace}/${name}" through its file system: it is a block volume`, {
        error: "back it up from a snapshot",
      });
      return undefined;
    }
    const claimKey = claim === undefined ? undefined : `${namespace}/${claim.metadata.name}`;
    if (claimKey !== undefined && this.#claims.has(claimKey)) {
      podLog.info("The volume is read through another pod already");
      return undefined;
    }
    if (!(await this.#agentNodes()).has(pod.spec.nodeName ?? "")) {
      podLog.error(
        `Cannot read volume "${volume.name}" of pod "${namespace}/${name}" through its file system: no node-agent runs on node "${pod.spec.nodeName}"`,
        {
          error: "install the node-agent, or back the volume up from a snapshot",
        },
      );
      return undefined;
    }
    const created = await client.create<PodVolumeBackup>(podVolumeBackups, this.#built(pod, volume, claim), { signal });
    if (claimKey !== undefined) this.#claims.add(claimKey);
    podLog.info(`PodVolumeBackup "${created.metadata.name}" was created`);
    return created.metadata.name;
  }

  /** Resolves when all of these have ended, or have taken too long and were told to stop. Each that did not succeed is an error of the backup. */
  async wait(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { client, clock, log, namespace, timeoutMs, signal } = this.#options;
    const missing = new Set(names);
    const all = Promise.withResolvers<"ended" | "timeout">();
    const onAbort = (): void => all.reject(signal.reason);
    const cache = this.#watched();
    const stopHandler = cache.onChange((before, after) => {
      const found = after ?? before;
      const name = found?.metadata.name ?? "";
      if (found === undefined || !missing.has(name) || (after !== undefined && !hasEnded(after))) return;
      missing.delete(name);
      this.#end(found, after === undefined);
      if (missing.size === 0) all.resolve("ended");
    });
    const cancelTimer = clock.after(timeoutMs, () => all.resolve("timeout"));
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      signal.throwIfAborted();
      if ((await all.promise) === "ended") return;
      for (const name of missing) {
        log.error(`PodVolumeBackup "${name}" has not ended within ${timeoutMs / 1000} s`, { error: "it was told to stop" });
        const found = cache.get({ namespace, name });
        if (found !== undefined) this.#ended.set(name, found);
        await client.patch<PodVolumeBackup>(podVolumeBackups, { namespace, name }, "merge", { spec: { cancel: true } }, { signal });
      }
    } finally {
      stopHandler();
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
    }
  }

  stop(): void {
    this.#cache?.stop();
  }

  #end(found: PodVolumeBackup, gone: boolean): void {
    const { log } = this.#options;
    this.#ended.set(found.metadata.name ?? "", found);
    const { pod, volume } = found.spec;
    const subject = `volume "${volume}" of pod "${pod.namespace}/${pod.name}"`;
    const fields = { resource: "pods", namespace: pod.namespace ?? "", name: pod.name ?? "" };
    if (!gone && found.status?.phase === "Completed") {
      log.info(`The ${subject} was read`, { ...fields, snapshotID: found.status.snapshotID });
      return;
    }
    const why = gone ? "its PodVolumeBackup was deleted" : (found.status?.message ?? `its PodVolumeBackup is ${found.status?.phase}`);
    log.error(`The ${subject} was not read`, { ...fields, error: why });
  }

  /** A watch of this backup's own, which every block shares. */
  #watched(): Informer<PodVolumeBackup> {
    const { client, clock, random, namespace, backup } = this.#options;
    this.#cache ??= startInformer<PodVolumeBackup>(podVolumeBackups, {
      client,
      clock,
      random,
      logger: nullLogger,
      namespace,
      labelSelector: `${LABELS.backupUid}=${backup.metadata.uid}`,
    });
    return this.#cache;
  }

  /** Nodes on which an agent runs; looked at once. */
  #agentNodes(): Promise<ReadonlySet<string>> {
    const { client, namespace, signal } = this.#options;
    const load = async (): Promise<ReadonlySet<string>> => {
      const agents = await allOf(client.listAll(pods, { namespace, labelSelector: AGENT_SELECTOR, signal }));
      return new Set(agents.filter(isRunning).map(({ spec }) => spec.nodeName ?? ""));
    };
    this.#agents ??= load();
    return this.#agents;
  }

  async #claimOf(pod: Pod, volume: PodVolume): Promise<{ readonly claim: PersistentVolumeClaim | undefined; readonly bound: PersistentVolume | undefined }> {
    const { client, signal } = this.#options;
    const name = claimNameOf(pod, volume);
    const claim = name === undefined ? undefined : await client.find(persistentVolumeClaims, { namespace: pod.metadata.namespace, name }, signal);
    const volumeName = claim?.spec.volumeName ?? "";
    return { claim, bound: volumeName === "" ? undefined : await client.find(persistentVolumes, { name: volumeName }, signal) };
  }

  #built(pod: Pod, volume: PodVolume, claim: PersistentVolumeClaim | undefined): PodVolumeBackup {
    const { backup, namespace } = this.#options;
    const { name: backupName = "", uid: backupUid = "" } = backup.metadata;
    const { name: podName = "", namespace: podNamespace = "", uid: podUid = "" } = pod.metadata;
    const claimUid = claim?.metadata.uid;
    const parallel = backup.spec.uploaderConfig?.parallelFilesUpload ?? 0;
    return {
      apiVersion: "velero.io/v1",
      kind: "PodVolumeBackup",
      metadata: {
        generateName: `${backupName}-`,
        namespace,
        labels: {
          [LABELS.backupName]: validLabelValue(backupName),
          [LABELS.backupUid]: backupUid,
          ...(claimUid === undefined ? {} : { [LABELS.pvcUid]: claimUid }),
        },
        ...(claim === undefined ? {} : { annotations: { [ANNOTATIONS.pvcName]: claim.metadata.name ?? "" } }),
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Backup", name: backupName, uid: backupUid, controller: true }],
      },
      spec: {
        backupStorageLocation: backup.spec.storageLocation ?? "",
        node: pod.spec.nodeName ?? "",
        pod: { kind: "Pod", namespace: podNamespace, name: podName, uid: podUid },
        // Of restic's time; the repository is found by its labels.
        repoIdentifier: "",
        tags: {
          backup: backupName,
          "backup-uid": backupUid,
          ns: podNamespace,
          pod: podName,
          "pod-uid": podUid,
          volume: volume.name,
          ...(claimUid === undefined ? {} : { "pvc-uid": claimUid }),
        },
        ...(parallel > 0 ? { uploaderSettings: { ParallelFilesUpload: String(parallel) } } : {}),
        uploaderType: "kopia",
        volume: volume.name,
      },
    };
  }
}

export function hasEnded({ status }: { readonly status?: { readonly phase?: string } }): boolean {
  return status?.phase === "Completed" || status?.phase === "Failed" || status?.phase === "Canceled";
}

/** Tells those of a backup that have not ended to stop. */
export async function cancelPodVolumeBackups(client: KubeClient, backup: Backup, why: string, signal: AbortSignal): Promise<void> {
  const labelSelector = `${LABELS.backupUid}=${backup.metadata.uid}`;
  for await (const found of client.listAll<PodVolumeBackup>(podVolumeBackups, { namespace: backup.metadata.namespace, labelSelector, signal })) {
    if (hasEnded(found) || found.spec.cancel === true) continue;
    await client.patch<PodVolumeBackup>(podVolumeBackups, keyOf(found), "merge", { spec: { cancel: true }, status: { message: why } }, { signal });
  }
}
