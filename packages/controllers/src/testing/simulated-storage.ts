/**
 * The rest of a cluster, for tests of controllers against the fake client: snapshot controller, provisioner, binder, one-shot kubelet and mover, and the server's repository controller.
 * It acts on what it sees, as those do, and counts what would be left over: volumes and storage snapshots.
 */
import {
  type BackupRepository,
  backupRepositories,
  DATA_PATH_CANCELED,
  DATA_PATH_EVENTS,
  dataDownloads,
  dataUploads,
  LABELS,
  MOVER_SECRET_KEYS,
  podVolumeBackups,
  podVolumeRestores,
  proveResult,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { events, type KubeObject, keyOf, type Pod, persistentVolumeClaims, persistentVolumes, pods, type ResourceType, secrets } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import { CONTENT_FINALIZER } from "../backup-deletion/kept-snapshots.ts";
import type { AnyMovement } from "../data-movement/movement.ts";

export interface SimulatedStorageOptions {
  /** The node on which every pod comes up. */
  readonly nodeName?: string;
  /** Of the installation. */
  readonly namespace?: string;
  /** What a mover does once it may start; by default it succeeds at once. One that tells has its result told and proven, and its container's end is never seen. */
  readonly mover?: "succeeds" | "tells" | "fails" | "misses-files" | "waits";
  /** Whether VolumeSnapshots get ready; one that waits says that it was tried, and nothing is said by one whose snapshot controller has too much to do. */
  readonly snapshotter?: "runs" | "waits" | "is-busy";
  /** Whether claims without a volume get one. */
  readonly provisioner?: "runs" | "waits";
  /** Whether pods come up at all. */
  readonly kubelet?: "runs" | "cannot-pull" | "waits";
  /** Whether snapshots' class is there: without it a VolumeSnapshot is not bound, and a driver is not asked for a content. */
  readonly snapshotClass?: "there" | "gone";
  /** Whether repositories are said to be ready; "waits" where their own controller runs. */
  readonly repositories?: "ready" | "waits";
}

export class SimulatedStorage {
  /** Handles of the snapshots that the storage holds. */
  readonly snapshots = new Set<string>();
  /** Handles of the volumes that the storage holds. */
  readonly volumes = new Set<string>();
  options: SimulatedStorageOptions;
  readonly #client: FakeKubeClient;
  /** Contents whose VolumeSnapshot is nothing to them: when it goes, nobody deletes them, unless they name none. */
  readonly #neverBound = new Set<string>();
  #counter = 0;

  constructor(client: FakeKubeClient, options: SimulatedStorageOptions = {}) {
    this.#client = client;
    this.options = options;
    client.react(volumeSnapshotContents, () => this.#snapshots());
    client.react(volumeSnapshots, () => this.#snapshots());
    client.react(persistentVolumeClaims, (before, after) => {
      if (after === undefined && before !== undefined) this.#claimGone(before.metadata.uid ?? "");
      this.#bind();
    });
    client.react(persistentVolumes, (before, after) => {
      // What is kept stays in the storage when nothing names it any more.
      if (after === undefined && before?.spec.persistentVolumeReclaimPolicy === "Delete") this.volumes.delete(before.spec.csi?.volumeHandle ?? "");
      this.#reclaim();
      this.#reserve();
    });
    client.react(pods, () => this.#runPods());
    client.react(dataUploads, () => this.#runPods());
    client.react(dataDownloads, () => this.#runPods());
    client.react(podVolumeBackups, () => this.#runPods());
    client.react(podVolumeRestores, () => this.#runPods());
    client.react(backupRepositories, (_before, after) => {
      if (after !== undefined && after.status?.phase === undefined && this.options.repositories !== "waits")
        this.#patch(backupRepositories, after, { status: { phase: "Ready" } } as Partial<BackupRepository>);
    });
  }

  /** Lets the world act once more, after options were changed. */
  nudge(): void {
    this.#snapshots();
    this.#bind();
    this.#runPods();
  }

  /** A VolumeSnapshot as the backup's item action leaves it: bound, ready, its storage snapshot on policy Delete. */
  seedSnapshot(namespace: string, name: string): void {
    const contentName = `snapcontent-${name}`;
    const handle = `handle-${name}`;
    this.snapshots.add(handle);
    this.#client.seed(volumeSnapshotContents, {
      metadata: { name: contentName },
      spec: {
        deletionPolicy: "Delete",
        driver: "csi.example.com",
        source: { volumeHandle: "v" },
        volumeSnapshotClassName: "csi",
        volumeSnapshotRef: { name, namespace },
      },
      status: { readyToUse: true, snapshotHandle: handle, restoreSize: 67108864 },
    });
    this.#client.seed(volumeSnapshots, {
      metadata: { namespace, name },
      spec: { source: { persistentVolumeClaimName: "files" }, volumeSnapshotClassName: "csi" },
      status: { readyToUse: true, boundVolumeSnapshotContentName: contentName, restoreSize: "64Mi" },
    });
  }

  #patch<T extends KubeObject>(type: ResourceType<T>, object: T, change: Partial<T>): void {
    if (this.#client.storedAt(type, keyOf(object)) === undefined) return;
    this.#client.mutate(type, keyOf(object), (current) => Object.assign(current, change));
  }

  #snapshots(): void {
    const client = this.#client;
    for (const { metadata } of client.stored(volumeSnapshots)) {
      // What becomes of its content is seen to below.
      if (metadata.deletionTimestamp === undefined || (metadata.finalizers ?? []).length === 0) continue;
      client.mutate(volumeSnapshots, { namespace: metadata.namespace, name: metadata.name ?? "" }, (current) => {
        current.metadata.finalizers = [];
      });
    }
    for (const content of client.stored(volumeSnapshotContents)) {
      const handle = content.spec.source.snapshotHandle;
      const reference = content.spec.volumeSnapshotRef;
      const snapshot = client.storedAt(volumeSnapshots, { namespace: reference.namespace, name: reference.name ?? "" });
      // One that was made for a snapshot that is there already, and for no VolumeSnapshot, stays until it is deleted itself.
      const isNobodys =
        (handle !== undefined && reference.uid === undefined && content.metadata.deletionTimestamp === undefined) ||
        (reference.uid !== undefined && this.#neverBound.has(content.metadata.name ?? ""));
      if (this.options.snapshotClass === "gone" && content.spec.volumeSnapshotClassName !== undefined && content.status?.snapshotHandle === undefined) {
        const status = { error: { message: 'failed to get snapshot class csi: volumesnapshotclass "csi" not found' } };
        this.#neverBound.add(content.metadata.name ?? "");
        if (content.status === undefined)
          this.#patch(volumeSnapshotContents, content, { status, metadata: { ...content.metadata, finalizers: [CONTENT_FINALIZER] } });
        if (snapshot !== undefined && snapshot.status === undefined) this.#patch(volumeSnapshots, snapshot, { status });
      } else if (handle !== undefined && content.status?.snapshotHandle === undefined) {
        this.#patch(volumeSnapshotContents, content, { status: { snapshotHandle: handle, readyToUse: true } });
      } else if (snapshot === undefined && !isNobodys && content.status !== undefined && content.spec.deletionPolicy === "Delete") {
        // Its VolumeSnapshot was deleted: content and storage snapshot follow. One that was cut with a group is the group's to the driver, which deletes it with that alone.
        if (content.status.volumeGroupSnapshotHandle === undefined) this.snapshots.delete(content.status.snapshotHandle ?? "");
        client.discard(volumeSnapshotContents, keyOf(content));
        if (client.peek(volumeSnapshotContents, keyOf(content)) !== undefined) this.#letGo(content);
      } else if (snapshot !== undefined && awaitsSnapshotter(snapshot) && content.status?.readyToUse === true) {
        if (this.options.snapshotter === "is-busy") continue;
        const { uid } = snapshot.metadata;
        const boundVolumeSnapshotContentName = content.metadata.name ?? "";
        if (this.options.snapshotter === "waits") {
          const status = { readyToUse: false, boundVolumeSnapshotContentName, error: { message: BUSY } };
          if (snapshot.status === undefined) this.#patch(volumeSnapshots, snapshot, { status });
          continue;
        }
        if (reference.uid === undefined && uid !== undefined)
          client.mutate(volumeSnapshotContents, keyOf(content), ({ spec }) => {
            spec.volumeSnapshotRef.uid = uid;
          });
        this.#patch(volumeSnapshots, snapshot, {
          status: { readyToUse: true, boundVolumeSnapshotContentName, restoreSize: "64Mi" },
        });
      }
    }
  }

  /** The driver has deleted what the content is of. */
  #letGo(content: VolumeSnapshotContent): void {
    this.#client.mutate(volumeSnapshotContents, keyOf(content), ({ metadata }) => {
      metadata.finalizers = [];
    });
  }

  #bind(): void {
    const client = this.#client;
    for (const claim of client.stored(persistentVolumeClaims)) {
      if (claim.status?.phase === "Bound") continue;
      const named = claim.spec.volumeName === undefined ? undefined : client.storedAt(persistentVolumes, { name: claim.spec.volumeName });
      if (named !== undefined) {
        const reference = named.spec.claimRef;
        if (reference?.name !== claim.metadata.name || reference?.namespace !== claim.metadata.namespace) continue;
        client.mutate(persistentVolumes, keyOf(named), (volume) => {
          const uid = claim.metadata.uid;
          volume.spec.claimRef = { ...volume.spec.claimRef, ...(uid === undefined ? {} : { uid }) };
          volume.status = { phase: "Bound" };
        });
        this.#patch(persistentVolumeClaims, claim, { status: { phase: "Bound" } });
      } else if (claim.spec.selector === undefined && claim.spec.volumeName === undefined && this.options.provisioner !== "waits") {
        const name = `pvc-${++this.#counter}`;
        const { namespace, uid } = claim.metadata;
        this.volumes.add(name);
        client.seed(persistentVolumes, {
          metadata: { name },
          spec: {
            persistentVolumeReclaimPolicy: "Delete",
            csi: { driver: "csi.example.com", volumeHandle: name },
            volumeMode: claim.spec.volumeMode ?? "Filesystem",
            ...(claim.spec.storageClassName === undefined ? {} : { storageClassName: claim.spec.storageClassName }),
            claimRef: { name: claim.metadata.name ?? "", ...(namespace === undefined ? {} : { namespace }), ...(uid === undefined ? {} : { uid }) },
          },
          status: { phase: "Bound" },
        });
      }
    }
  }

  /**
   * As Kubernetes' binder: a volume that is reserved by name only is Available, and its claim is not looked at before that changes, or in the next round, which never comes here.
   * One that names an unbound claim by its UID is bound to it at once.
   */
  #reserve(): void {
    const client = this.#client;
    for (const volume of client.stored(persistentVolumes)) {
      const { claimRef } = volume.spec;
      if (claimRef === undefined) continue;
      if (claimRef.uid === undefined) {
        if (volume.status?.phase !== "Available") this.#patch(persistentVolumes, volume, { status: { phase: "Available" } });
        continue;
      }
      const key = { ...(claimRef.namespace === undefined ? {} : { namespace: claimRef.namespace }), name: claimRef.name ?? "" };
      const claim = client.storedAt(persistentVolumeClaims, key);
      if (claim?.metadata.uid !== claimRef.uid) {
        // Made for a claim that has gone meanwhile.
        if (volume.status?.phase === undefined) this.#patch(persistentVolumes, volume, { status: { phase: "Released" } });
        continue;
      }
      if (claim.spec.volumeName !== undefined) continue;
      client.mutate(persistentVolumeClaims, key, (current) => {
        current.spec.volumeName = volume.metadata.name ?? "";
        current.status = { phase: "Bound" };
      });
      if (volume.status?.phase !== "Bound") this.#patch(persistentVolumes, volume, { status: { phase: "Bound" } });
    }
  }

  #claimGone(uid: string): void {
    for (const volume of this.#client.stored(persistentVolumes))
      if (volume.spec.claimRef?.uid === uid) this.#patch(persistentVolumes, volume, { status: { phase: "Released" } });
  }

  #reclaim(): void {
    for (const volume of this.#client.stored(persistentVolumes)) {
      if (volume.status?.phase === "Released" && volume.spec.persistentVolumeReclaimPolicy === "Delete" && volume.spec.claimRef?.uid !== undefined) {
        this.#client.discard(persistentVolumes, keyOf(volume));
      }
    }
  }

  #runPods(): void {
    const { kubelet = "runs", mover = "succeeds", nodeName = "node-1" } = this.options;
    if (kubelet === "waits") return;
    for (const pod of this.#client.stored(pods)) {
      if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") continue;
      if (kubelet === "cannot-pull") {
        if (pod.status === undefined)
          this.#setPod(pod, { phase: "Pending", containerStatuses: [container({ waiting: { reason: "ImagePullBackOff", message: "no such image" } })] });
        continue;
      }
      if (pod.status?.phase === undefined) {
        this.#client.mutate(pods, keyOf(pod), (current) => {
          current.spec.nodeName = nodeName;
          current.status = { phase: "Running", containerStatuses: [container({ running: {} })] };
        });
        continue;
      }
      this.#runMover(pod, mover);
    }
  }

  #runMover(pod: Pod, mover: NonNullable<SimulatedStorageOptions["mover"]>): void {
    const { labels = {} } = pod.metadata;
    const isUpload = labels[LABELS.dataUpload] !== undefined || labels[LABELS.podVolumeBackup] !== undefined;
    const key = { namespace: pod.metadata.namespace, name: pod.metadata.name ?? "" };
    const client = this.#client;
    const movement: AnyMovement | undefined =
      labels[LABELS.podVolumeBackup] !== undefined
        ? client.storedAt(podVolumeBackups, key)
        : labels[LABELS.podVolumeRestore] !== undefined
          ? client.storedAt(podVolumeRestores, key)
          : isUpload
            ? client.storedAt(dataUploads, key)
            : client.storedAt(dataDownloads, key);
    const phase = movement?.status?.phase;
    if (movement === undefined || (phase !== "InProgress" && phase !== "Canceling")) return;
    const end = (exitCode: number, message: string): void =>
      this.#setPod(pod, { phase: exitCode === 0 ? "Succeeded" : "Failed", containerStatuses: [container({ terminated: { exitCode, message } })] });
    const path = `/${movement.metadata.uid ?? ""}`;
    if (movement.spec.cancel === true) end(1, `Failed to wait: ${DATA_PATH_CANCELED}`);
    else if (mover === "fails") end(1, "disk read error");
    else if (mover === "misses-files") {
      const source = { byPath: path, volumeMode: "Filesystem" };
      end(
        1,
        JSON.stringify({
          snapshotID: "b".repeat(32),
          emptySnapshot: false,
          source,
          totalBytes: 7,
          error: '1 entry could not be read: "locked": permission denied',
        }),
      );
    } else if (mover !== "waits") {
      const place = { byPath: path, volumeMode: "Filesystem" };
      const backup = { snapshotID: "af9e484ddc77f57e45f5667014ff3f86", emptySnapshot: false, source: place, totalBytes: 1500096, incrementalBytes: 13 };
      const result = JSON.stringify(isUpload ? backup : { target: place, totalBytes: 1500096 });
      if (mover === "tells") this.#tell(pod, movement, result);
      else end(0, result);
    }
  }

  #tell(pod: Pod, movement: AnyMovement, result: string): void {
    const { namespace = "", name = "", uid = "" } = pod.metadata;
    const key = this.#client.storedAt(secrets, { namespace, name })?.data?.[MOVER_SECRET_KEYS.resultKey];
    const event = { namespace, name: `${name}.${uid}` };
    if (key === undefined || this.#client.storedAt(events, event) !== undefined) return;
    this.#client.seed(events, {
      metadata: event,
      involvedObject: { kind: kindOf(pod), namespace, name, uid: movement.metadata.uid ?? "" },
      related: { kind: "Pod", namespace, name, uid },
      reason: DATA_PATH_EVENTS.progress,
      message: JSON.stringify(proveResult(Buffer.from(key, "base64"), uid, result)),
    });
  }

  #setPod(pod: Pod, status: NonNullable<Pod["status"]>): void {
    this.#patch(pods, pod, { status });
  }
}

function kindOf({ metadata: { labels = {} } }: Pod): string {
  const kinds = [
    [LABELS.podVolumeBackup, podVolumeBackups],
    [LABELS.podVolumeRestore, podVolumeRestores],
    [LABELS.dataUpload, dataUploads],
  ] as const;
  return kinds.find(([label]) => labels[label] !== undefined)?.[1].kind ?? dataDownloads.kind;
}

/** What a snapshotter that waits says of what it has been given. */
const BUSY = "the storage is busy";

function awaitsSnapshotter({ status }: VolumeSnapshot): boolean {
  return status?.boundVolumeSnapshotContentName === undefined || status.error?.message === BUSY;
}

type ContainerState = NonNullable<NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number]["state"]>;

function container(state: ContainerState): NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number] {
  return { name: "mover", ready: state.running !== undefined, restartCount: 0, state };
}
