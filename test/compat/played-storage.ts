/**
 * What provisioner, binder and snapshot controller with its CSI driver write when they do one thing, as far as Velero looks at it. Nothing is stored; when each is done says
 * played-cluster.ts.
 */
import { loadCrds, type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotClasses, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import {
  type ConnectedClient,
  type CustomResourceDefinition,
  customResourceDefinitions,
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from "@drayage/kube";
import { expect } from "vitest";

const DRIVER = "played.csi.example.com";
export const CLASS = "played";
export const NODE = "node-1";
const BYTES = 8 << 20;
const SIZE = "8Mi";
/** No moment of this run, so that it is the same in the recording and in the replay. */
export const THEN = "2026-01-02T03:04:05Z";

/** Names of what it makes come from names, not from UIDs: by those lists would be in another order in a replay. */
export class PlayedStorage {
  readonly #client: ConnectedClient;
  readonly #observer: ConnectedClient;

  /** Writes through the one; what it waits for it reads through the other, as often as it likes. */
  constructor(client: ConnectedClient, observer: ConnectedClient) {
    this.#client = client;
    this.#observer = observer;
  }

  /** The kinds of snapshots, and a class of each sort. */
  async install(): Promise<void> {
    for (const crd of loadCrds("snapshot.storage.k8s.io")) {
      const name = `${crd.spec.names.plural}.${crd.spec.group}`;
      await this.#client.create(customResourceDefinitions, { ...crd, metadata: { ...crd.metadata, name } } as unknown as CustomResourceDefinition);
    }
    await this.#client.create(storageClasses, { metadata: { name: CLASS }, provisioner: DRIVER, volumeBindingMode: "Immediate" });
    // The real server takes a new kind a moment after its definition.
    const isServed = async (): Promise<boolean> =>
      await this.#observer.list(volumeSnapshotClasses).then(
        () => true,
        () => false,
      );
    await expect.poll(isServed, { timeout: 30_000, interval: 20 }).toBe(true);
    await this.#client.create(volumeSnapshotClasses, { metadata: { name: CLASS }, driver: DRIVER, deletionPolicy: "Delete" });
  }

  /** What the snapshot controller and the driver do for a snapshot of a claim. */
  async cut({ metadata, spec }: VolumeSnapshot): Promise<void> {
    const key = { namespace: metadata.namespace ?? "", name: metadata.name ?? "" };
    const name = `snapcontent-${key.namespace}-${key.name}`;
    await this.#client.create(volumeSnapshotContents, {
      metadata: { name },
      spec: {
        deletionPolicy: "Delete",
        driver: DRIVER,
        source: { volumeHandle: spec.source.persistentVolumeClaimName ?? "" },
        sourceVolumeMode: "Filesystem",
        volumeSnapshotClassName: CLASS,
        volumeSnapshotRef: { apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", ...key, uid: metadata.uid ?? "" },
      },
    });
    await this.#client.patchStatus(volumeSnapshots, key, "merge", { status: { boundVolumeSnapshotContentName: name, readyToUse: false } });
    await this.#client.patchStatus(volumeSnapshotContents, { name }, "merge", { status: readyContent(`handle-of-${key.name}`) });
    await this.#client.patchStatus(volumeSnapshots, key, "merge", { status: { creationTime: THEN, readyToUse: true, restoreSize: SIZE } });
  }

  /** The driver has the snapshot of a content that names it by its handle. */
  async find({ metadata }: VolumeSnapshotContent, snapshotHandle: string): Promise<void> {
    await this.#client.patchStatus(volumeSnapshotContents, { name: metadata.name ?? "" }, "merge", { status: readyContent(snapshotHandle) });
  }

  /** A snapshot and the content that it names, each of which was made for the other. */
  async bindSnapshot({ metadata }: VolumeSnapshot, content: VolumeSnapshotContent): Promise<void> {
    const name = content.metadata.name ?? "";
    const key = { namespace: metadata.namespace ?? "", name: metadata.name ?? "" };
    await this.#client.patch(volumeSnapshotContents, { name }, "merge", { spec: { volumeSnapshotRef: { uid: metadata.uid } } });
    await this.#client.patchStatus(volumeSnapshots, key, "merge", {
      status: { boundVolumeSnapshotContentName: name, creationTime: THEN, readyToUse: true, restoreSize: SIZE },
    });
  }

  /** A claim and the volume that is for it. */
  async bindVolume({ metadata }: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const name = volume.metadata.name ?? "";
    await this.#client.patch(persistentVolumes, { name }, "merge", { spec: { claimRef: { uid: metadata.uid } } });
    await this.#client.patchStatus(persistentVolumes, { name }, "merge", { status: { phase: "Bound" } });
    await this.#bound({ namespace: metadata.namespace ?? "", name: metadata.name ?? "" }, name);
  }

  /** A volume for the claim, with the labels that it selects by. */
  async provision({ metadata, spec }: PersistentVolumeClaim, reclaimPolicy: "Retain" | "Delete"): Promise<void> {
    const key = { namespace: metadata.namespace ?? "", name: metadata.name ?? "" };
    const name = `pvc-${key.namespace}-${key.name}`;
    await this.#client.create(persistentVolumes, {
      metadata: { name, annotations: { "pv.kubernetes.io/provisioned-by": DRIVER }, labels: spec.selector?.matchLabels ?? {} },
      spec: {
        capacity: { storage: SIZE },
        accessModes: ["ReadWriteOnce"],
        persistentVolumeReclaimPolicy: reclaimPolicy,
        storageClassName: CLASS,
        volumeMode: "Filesystem",
        claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", ...key, uid: metadata.uid ?? "" },
        csi: { driver: DRIVER, volumeHandle: `handle-of-${key.name}` },
      },
    });
    await this.#client.patchStatus(persistentVolumes, { name }, "merge", { status: { phase: "Bound" } });
    await this.#bound(key, name);
  }

  async #bound(key: { readonly namespace: string; readonly name: string }, volumeName: string): Promise<void> {
    const annotations = { "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes" };
    await this.#client.patch(persistentVolumeClaims, key, "merge", { metadata: { annotations }, spec: { volumeName } });
    await this.#client.patchStatus(persistentVolumeClaims, key, "merge", {
      status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: SIZE } },
    });
  }
}

function readyContent(snapshotHandle: string): NonNullable<VolumeSnapshotContent["status"]> {
  return { creationTime: Date.parse(THEN) * 1e6, readyToUse: true, restoreSize: BYTES, snapshotHandle };
}
