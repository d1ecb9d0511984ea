/** VolSync under a data mover of OADP 1.2: it takes its time over each ReplicationSource and ReplicationDestination, and its movers fail now and then. Their data is in restic repositories. */
import {
  type ReplicationDestination,
  type ReplicationSource,
  replicationDestinations,
  replicationSources,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { formatTime } from "@drayage/base";
import { type DiscoveredResource, keyOf, type ResourceType } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import type { SimulatedStorage } from "../simulated-storage.ts";
import type { Draw } from "./draw.ts";
import { servedKinds } from "./served-kinds.ts";

type Replication = ReplicationSource | ReplicationDestination;

const WORK_TICKS_MAX = 20;
/** Of all movements, while there is trouble. */
const FAILS = 0.1;

export interface SimulatedVolSyncOptions {
  readonly client: FakeKubeClient;
  readonly storage: SimulatedStorage;
  readonly draw: Draw;
}

export class SimulatedVolSync {
  /** Whether its movers fail by themselves. */
  isTroubled = true;
  readonly #options: SimulatedVolSyncOptions;
  /** By UID. */
  readonly #ticksLeft = new Map<string, number>();
  #images = 0;

  constructor(options: SimulatedVolSyncOptions) {
    this.#options = options;
  }

  tick(): void {
    const { client } = this.#options;
    for (const type of [replicationSources, replicationDestinations] as unknown as ResourceType<Replication>[])
      for (const object of client.all<Replication>(type)) this.#advance(type, object);
  }

  #advance(type: ResourceType<Replication>, object: Replication): void {
    const { client, draw } = this.#options;
    const uid = object.metadata.uid ?? "";
    const manual = object.spec?.trigger?.manual ?? "";
    if (object.metadata.deletionTimestamp !== undefined || object.status?.lastManualSync === manual || object.status?.latestMoverStatus?.result === "Failed")
      return;
    const now = formatTime(client.clock.nowMs());
    const condition = (status: "True" | "False", reason: string) => [{ type: "Synchronizing", status, reason, message: "", lastTransitionTime: now }];
    const ticksLeft = this.#ticksLeft.get(uid);
    if (ticksLeft === undefined) {
      this.#ticksLeft.set(uid, draw.below(WORK_TICKS_MAX));
      this.#tell(type, object, { lastSyncStartTime: now, conditions: condition("True", "SyncInProgress") });
    } else if (ticksLeft > 0) this.#ticksLeft.set(uid, ticksLeft - 1);
    else if (this.isTroubled && draw.chance(FAILS))
      this.#tell(type, object, {
        lastSyncStartTime: now,
        latestMoverStatus: { result: "Failed", logs: "Fatal: unable to open config file" },
        conditions: condition("True", "SyncInProgress"),
      });
    else
      this.#tell(type, object, {
        lastManualSync: manual,
        lastSyncTime: now,
        latestMoverStatus: { result: "Successful", logs: "" },
        conditions: condition("False", "WaitingForManual"),
        ...(type.kind === "ReplicationDestination" ? this.#image(object as ReplicationDestination) : {}),
      });
  }

  #tell(type: ResourceType<Replication>, object: Replication, status: NonNullable<ReplicationDestination["status"]>): void {
    this.#options.client.mutate<Replication>(type, keyOf(object), (current) => {
      current.status = status;
    });
  }

  /** The snapshot that a destination leaves: it belongs to it, and goes with it as its class says. */
  #image({ metadata }: ReplicationDestination): Pick<NonNullable<ReplicationDestination["status"]>, "latestImage"> {
    const { client, storage } = this.#options;
    const { namespace = "", uid = "" } = metadata;
    const name = `volsync-${metadata.name}-${++this.#images}`;
    const handle = `handle-of-${name}`;
    storage.snapshots.add(handle);
    client.seed<VolumeSnapshotContent>(volumeSnapshotContents, {
      metadata: { name: `content-of-${name}` },
      spec: {
        deletionPolicy: "Delete",
        driver: "csi.example.com",
        source: { volumeHandle: "v" },
        volumeSnapshotClassName: "csi",
        volumeSnapshotRef: { namespace, name },
      },
      status: { readyToUse: true, snapshotHandle: handle, restoreSize: 67_108_864 },
    });
    client.seed<VolumeSnapshot>(volumeSnapshots, {
      apiVersion: "snapshot.storage.k8s.io/v1",
      kind: "VolumeSnapshot",
      metadata: {
        namespace,
        name,
        ownerReferences: [{ apiVersion: "volsync.backube/v1alpha1", kind: "ReplicationDestination", name: metadata.name ?? "", uid }],
      },
      spec: { source: { persistentVolumeClaimName: "v" }, volumeSnapshotClassName: "csi" },
      status: { readyToUse: true, boundVolumeSnapshotContentName: `content-of-${name}`, restoreSize: "64Mi" },
    });
    return { latestImage: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name } };
  }
}

/** What the cluster serves beside. */
export const volSyncResources: readonly DiscoveredResource[] = servedKinds("datamover.oadp.openshift.io", ["VolumeSnapshotBackup", "VolumeSnapshotRestore"]);
