/** The snapshot controller's and the driver's part in VolumeGroupSnapshots: all snapshots of a group are cut at once, belong to it until they are let go, and go with its content. */
import {
  type VolumeGroupSnapshot,
  type VolumeGroupSnapshotContent,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeGroupSnapshotClasses,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { keyOf, type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import type { SimulatedStorage } from "../simulated-storage.ts";

export const GROUP_LABEL = "velero.io/volume-group";
const DRIVER = "csi.example.com";

export interface SimulatedGroupsOptions {
  readonly client: FakeKubeClient;
  readonly storage: SimulatedStorage;
}

export class SimulatedGroups {
  readonly #options: SimulatedGroupsOptions;
  #counter = 0;

  constructor(options: SimulatedGroupsOptions) {
    this.#options = options;
    const { client } = options;
    client.seed(volumeGroupSnapshotClasses, {
      metadata: { name: "groups", labels: { "velero.io/csi-volumegroupsnapshot-class": "true" } },
      driver: DRIVER,
      deletionPolicy: "Delete",
    });
    client.react<VolumeGroupSnapshot>(volumeGroupSnapshots, (before, after) => {
      if (before === undefined && after !== undefined) this.#cut(after);
      if (before !== undefined && after === undefined) this.#groupGone(before);
    });
    client.react<VolumeGroupSnapshotContent>(volumeGroupSnapshotContents, (before, after) => {
      if (before !== undefined && after === undefined) this.#contentGone(before);
    });
  }

  /** Puts claims into one group. */
  gather(namespace: string, claimNames: readonly string[]): void {
    for (const name of claimNames)
      this.#options.client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace, name }, ({ metadata }) => {
        metadata.labels = { ...metadata.labels, [GROUP_LABEL]: "all" };
      });
  }

  #cut(group: VolumeGroupSnapshot): void {
    const { client, storage } = this.#options;
    const { namespace = "", name = "", uid = "" } = group.metadata;
    const wanted = group.spec.source.selector?.matchLabels?.[GROUP_LABEL];
    const claims = client
      .all<PersistentVolumeClaim>(persistentVolumeClaims)
      .filter(({ metadata }) => metadata.namespace === namespace && metadata.labels?.[GROUP_LABEL] === wanted);
    const handles: string[] = [];
    for (const claim of claims) {
      const member = `member-${++this.#counter}`;
      const handle = `handle-of-${member}`;
      handles.push(handle);
      storage.snapshots.add(handle);
      client.seed<VolumeSnapshotContent>(volumeSnapshotContents, {
        metadata: { name: `content-of-${member}` },
        spec: {
          driver: DRIVER,
          deletionPolicy: "Delete",
          source: { snapshotHandle: handle },
          volumeSnapshotClassName: "csi",
          volumeSnapshotRef: { namespace, name: member, uid: `uid-of-${member}` },
        },
        status: { snapshotHandle: handle, volumeGroupSnapshotHandle: uid, readyToUse: true, restoreSize: 67_108_864 },
      });
      client.seed<VolumeSnapshot>(volumeSnapshots, {
        apiVersion: "snapshot.storage.k8s.io/v1",
        kind: "VolumeSnapshot",
        metadata: {
          namespace,
          name: member,
          uid: `uid-of-${member}`,
          ownerReferences: [{ apiVersion: "groupsnapshot.storage.k8s.io/v1beta2", kind: "VolumeGroupSnapshot", name, uid }],
        },
        spec: { source: { persistentVolumeClaimName: claim.metadata.name ?? "" }, volumeSnapshotClassName: "csi" },
        status: { boundVolumeSnapshotContentName: `content-of-${member}`, readyToUse: true, restoreSize: "64Mi" },
      });
    }
    const content = `groupcontent-${uid}`;
    client.seed<VolumeGroupSnapshotContent>(volumeGroupSnapshotContents, {
      metadata: { name: content },
      spec: { driver: DRIVER, deletionPolicy: "Delete", source: { volumeHandles: handles }, volumeGroupSnapshotRef: { namespace, name, uid } },
    });
    client.mutate<VolumeGroupSnapshot>(volumeGroupSnapshots, keyOf(group), (current) => {
      current.status = { boundVolumeGroupSnapshotContentName: content, readyToUse: true };
    });
  }

  #groupGone({ metadata }: VolumeGroupSnapshot): void {
    const { client } = this.#options;
    for (const content of client.all<VolumeGroupSnapshotContent>(volumeGroupSnapshotContents))
      if (content.spec.volumeGroupSnapshotRef.uid === metadata.uid && content.spec.deletionPolicy === "Delete")
        client.discard(volumeGroupSnapshotContents, keyOf(content));
  }

  /** A driver deletes a group's snapshots with the group, whoever has taken them over. */
  #contentGone({ spec }: VolumeGroupSnapshotContent): void {
    if (spec.deletionPolicy !== "Delete") return;
    for (const handle of spec.source.volumeHandles ?? []) this.#options.storage.snapshots.delete(handle);
  }
}
