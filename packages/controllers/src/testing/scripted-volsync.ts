/** A VolSync by hand, for tests of the controllers that ask it: it says of each ReplicationSource and ReplicationDestination what it is told to say. */
import { type ReplicationDestination, replicationDestinations, replicationSources, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { keyOf } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";

export class ScriptedVolSync {
  answer: "succeeds" | "runs" | "fails" | "errors" | "is silent" = "succeeds";
  /** What a failed mover says last. */
  logs = "Fatal: wrong password or no key found\n";
  /** And one that did well. */
  successLogs = "processed 25 files, 36.500 MiB in 0:12\nsnapshot 1a2b3c4d saved\n";
  readonly #client: FakeKubeClient;
  #counter = 0;

  constructor(client: FakeKubeClient) {
    this.#client = client;
    client.react(replicationSources, () => this.nudge());
    client.react(replicationDestinations, () => this.nudge());
  }

  /** Lets it act once more, after its answer was changed. */
  nudge(): void {
    if (this.answer === "is silent") return;
    for (const type of [replicationSources, replicationDestinations])
      for (const object of this.#client.all(type)) {
        const manual = object.spec?.trigger?.manual ?? "";
        if (object.status?.lastManualSync !== undefined || object.status?.latestMoverStatus !== undefined) continue;
        if (this.answer === "runs" && object.status !== undefined) continue;
        if (this.answer === "errors" && object.status?.conditions?.[0]?.reason === "Error") continue;
        const status = this.#statusOf(manual);
        const image = this.answer === "succeeds" && type === replicationDestinations ? this.#image(object as ReplicationDestination) : {};
        this.#client.mutate(type, keyOf(object), (current) => {
          current.status = { ...status, ...image };
        });
      }
  }

  #statusOf(manual: string): NonNullable<ReplicationDestination["status"]> {
    const now = formatTime(this.#client.clock.nowMs());
    const condition = (status: "True" | "False", reason: string, message = "") => [{ type: "Synchronizing", status, reason, message, lastTransitionTime: now }];
    switch (this.answer) {
      case "succeeds":
        return {
          lastManualSync: manual,
          lastSyncTime: now,
          latestMoverStatus: { result: "Successful", logs: this.successLogs },
          conditions: condition("False", "WaitingForManual"),
        };
      case "fails":
        return { lastSyncStartTime: now, latestMoverStatus: { result: "Failed", logs: this.logs }, conditions: condition("True", "SyncInProgress") };
      case "errors":
        return { conditions: condition("False", "Error", "the secret is missing") };
      default:
        return { lastSyncStartTime: now, conditions: condition("True", "SyncInProgress") };
    }
  }

  /** The snapshot that a destination leaves: it belongs to it, and is of its class's policy. */
  #image({ metadata, spec }: ReplicationDestination): Pick<NonNullable<ReplicationDestination["status"]>, "latestImage"> {
    const name = `volsync-${metadata.name}-dest-${++this.#counter}`;
    const contentName = `snapcontent-${name}`;
    const { namespace = "", uid = "" } = metadata;
    const className = spec?.restic?.volumeSnapshotClassName;
    this.#client.seed(volumeSnapshotContents, {
      metadata: { name: contentName },
      spec: {
        deletionPolicy: "Delete",
        driver: "csi.example.com",
        source: { volumeHandle: "v" },
        volumeSnapshotRef: { namespace, name },
        ...(className === undefined ? {} : { volumeSnapshotClassName: className }),
      },
      status: { readyToUse: true, snapshotHandle: `handle-${name}`, restoreSize: 67108864 },
    });
    this.#client.seed(volumeSnapshots, {
      metadata: {
        namespace,
        name,
        ownerReferences: [{ apiVersion: "volsync.backube/v1alpha1", kind: "ReplicationDestination", name: metadata.name ?? "", uid }],
      },
      spec: { source: { persistentVolumeClaimName: "v" } },
      status: { readyToUse: true, boundVolumeSnapshotContentName: contentName },
    });
    return { latestImage: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name } };
  }
}
