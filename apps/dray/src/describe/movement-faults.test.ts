/**
 * What users read of a DataUpload in trouble: why it does not go on while it waits, and why it ended, both in its status and in what `dray data-upload describe` prints; and that nothing of it
 * is left. How each fault is met otherwise: data-upload.test.ts and node-deaths.test.ts of controllers.
 */
import { backupStorageLocations, type DataUpload, dataUploads, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { dataMoverClaims, startNodeAgent } from "@drayage/controllers";
import { SimulatedStorage } from "@drayage/controllers/testing";
import {
  events,
  type KubeObject,
  nodes,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  secrets,
  storageClasses,
} from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { describeDataMovement } from "./data-movement.ts";

const NS = "velero";
const KEY = { namespace: NS, name: "nightly-1" };
const SOURCE = { namespace: "shop", name: "source" };
const STEP_MS = 5_000;
/** Half an hour for preparing, and some more for taking everything away. */
const LIMIT_MS = 40 * 60_000;

let clock: VirtualClock;
let client: FakeKubeClient;
let storage: SimulatedStorage;
let agent: { stop(): Promise<void> };

beforeEach(async () => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, random: seededRandom(7) });
  storage = new SimulatedStorage(client, { nodeName: "node-1", mover: "waits" });
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": "cA==" } });
  client.seed(nodes, { metadata: { name: "node-1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com" });
  client.seed(persistentVolumeClaims, { metadata: { namespace: "shop", name: "files" }, spec: { storageClassName: "csi" }, status: { phase: "Bound" } });
  storage.seedSnapshot(SOURCE.namespace, SOURCE.name);
  agent = await startNodeAgent({
    ...{ client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS, nodeName: "node-1", config: {} },
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
  });
});
afterEach(() => agent.stop());

const upload = (): DataUpload | undefined => client.peek(dataUploads, KEY);
/** What the command prints of it now. */
const described = (): string => {
  const object = upload();
  if (object === undefined) throw new Error("the DataUpload is gone");
  return describeDataMovement(object, client.all(events), clock.nowMs());
};
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let passedMs = 0; passedMs < LIMIT_MS; passedMs += STEP_MS) {
    if (holds()) return;
    await clock.advance(STEP_MS);
    await settle();
  }
  throw new Error(`${what} did not come: ${described()}`);
}

/** Everything of the movement that is in the cluster or in the storage. */
function leftovers(): string[] {
  const named = <T extends KubeObject>(type: ResourceType<T>): string[] => client.all(type).map(({ metadata }) => `${type.kind} ${metadata.name}`);
  return [
    ...[pods, volumeSnapshots, volumeSnapshotContents, persistentVolumes].flatMap((type) => named(type as ResourceType<KubeObject>)),
    ...named(persistentVolumeClaims).filter((name) => !name.endsWith(" files")),
    ...named(secrets).filter((name) => name.endsWith(KEY.name)),
    ...storage.snapshots,
    ...storage.volumes,
  ];
}

function setPod(change: (pod: Pod) => void): void {
  client.react(pods, (before, after) => {
    if (before === undefined && after !== undefined) client.mutate(pods, KEY, change);
  });
}
function complain(about: Pick<KubeObject, "metadata"> | undefined, kind: string, reason: string, message: string): void {
  client.seed(events, {
    metadata: { namespace: NS, name: reason.toLowerCase() },
    involvedObject: { kind, namespace: NS, name: KEY.name, uid: about?.metadata.uid ?? "" },
    ...{ type: "Warning", reason, message },
  });
}

interface Fault {
  /** What makes it, before the DataUpload is there. */
  readonly make: () => void;
  /** What it waits for, as people read it. */
  readonly waits?: string;
  readonly ends: "Failed" | "Canceled";
  readonly because: string;
}
const TIMEOUT = "timeout on preparing data upload: it was waiting for ";

const FAULTS: readonly (readonly [string, Fault])[] = [
  [
    "a mover pod that no node has room for",
    {
      make: () => {
        storage.options = { kubelet: "waits" };
        setPod((pod) => {
          pod.status = {
            phase: "Pending",
            conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes are available: 3 Insufficient memory." }],
          };
        });
      },
      waits: "the mover pod to be scheduled: 0/3 nodes are available: 3 Insufficient memory.",
      ends: "Failed",
      because: `${TIMEOUT}the mover pod to be scheduled: 0/3 nodes are available: 3 Insufficient memory.`,
    },
  ],
  [
    "an image that cannot be pulled",
    {
      make: () => {
        storage.options = { kubelet: "cannot-pull" };
      },
      ends: "Canceled",
      because: "mover pod cannot get its image: ImagePullBackOff: no such image",
    },
  ],
  [
    "a volume that does not mount",
    {
      make: () => {
        storage.options = { kubelet: "waits" };
        setPod((pod) => {
          pod.spec.nodeName = "node-1";
          pod.status = { phase: "Pending", conditions: [{ type: "PodScheduled", status: "True" }] };
          complain(pod, "Pod", "FailedMount", "MountVolume.MountDevice failed: wrong fs type, bad superblock");
        });
      },
      waits: 'the mover pod to start on node "node-1": FailedMount: MountVolume.MountDevice failed: wrong fs type, bad superblock',
      ends: "Failed",
      because: `${TIMEOUT}the mover pod to start on node "node-1": FailedMount: MountVolume.MountDevice failed: wrong fs type, bad superblock`,
    },
  ],
  [
    "a snapshot that never gets ready",
    {
      make: () => {
        const degraded = { readyToUse: false, error: { message: "the array is degraded" } };
        // As the driver says it, from where the snapshot controller takes it.
        client.mutate(volumeSnapshotContents, { name: `snapcontent-${SOURCE.name}` }, (content) => {
          content.status = { ...content.status, ...degraded };
        });
        client.mutate(volumeSnapshots, SOURCE, (snapshot) => {
          snapshot.status = { ...snapshot.status, ...degraded };
        });
      },
      waits: 'volume snapshot "shop/source" to be ready: the array is degraded',
      ends: "Failed",
      because: `${TIMEOUT}volume snapshot "shop/source" to be ready: the array is degraded`,
    },
  ],
  [
    "a storage class that is gone",
    {
      make: () => {
        client.discard(storageClasses, { name: "csi" });
        storage.options = { kubelet: "waits", provisioner: "waits" };
        client.react(persistentVolumeClaims, (before, after) => {
          if (before === undefined && after?.metadata.name === KEY.name)
            complain(after, "PersistentVolumeClaim", "ProvisioningFailed", 'storageclass.storage.k8s.io "csi" not found');
        });
      },
      waits:
        'a volume: storage class "csi" gives no volume for the backup of "shop/files": storageclass.storage.k8s.io "csi" not found. Name a storage class that is there in backupPVC["csi"] of the node-agent\'s ConfigMap.',
      ends: "Failed",
      because: `${TIMEOUT}a volume: storage class "csi" gives no volume for the backup of "shop/files": storageclass.storage.k8s.io "csi" not found.`,
    },
  ],
  [
    "a VolumeSnapshotClass that is gone since the snapshot was cut",
    {
      make: () => {
        storage.options = { kubelet: "waits", provisioner: "waits", snapshotClass: "gone" };
        client.react(persistentVolumeClaims, (before, after) => {
          if (before === undefined && after?.metadata.name === KEY.name)
            complain(after, "PersistentVolumeClaim", "ProvisioningFailed", "error getting handle for DataSource Type VolumeSnapshot: not bound");
        });
      },
      waits: 'volume snapshot "velero/nightly-1" to be ready: failed to get snapshot class csi: volumesnapshotclass "csi" not found',
      ends: "Failed",
      because: `${TIMEOUT}volume snapshot "velero/nightly-1" to be ready: failed to get snapshot class csi: volumesnapshotclass "csi" not found`,
    },
  ],
  [
    "a quota that is full",
    {
      make: () => {
        client.intercept = ({ verb, resource }) => {
          if (verb === "create" && resource === "pods") throw new DrayError("KUBE_FORBIDDEN", 'Cannot create pods "nightly-1": exceeded quota: movers');
        };
      },
      waits: 'room in a quota: Cannot create pods "nightly-1": exceeded quota: movers',
      ends: "Failed",
      because: `${TIMEOUT}room in a quota: Cannot create pods "nightly-1": exceeded quota: movers`,
    },
  ],
  [
    "an object store that is gone, as its mover tells it",
    {
      make: () => {
        setPod((pod) => {
          const message = 'Cannot open the repository at "s3://b": the store cannot be reached: connect ECONNREFUSED';
          pod.status = {
            phase: "Failed",
            containerStatuses: [{ name: "mover", ready: false, restartCount: 0, state: { terminated: { exitCode: 1, message } } }],
          };
        });
      },
      ends: "Failed",
      because: 'Cannot open the repository at "s3://b": the store cannot be reached: connect ECONNREFUSED',
    },
  ],
];

it.each(FAULTS)("%s: the reason is told while it waits and at its end, the wait is bounded, and nothing is left", async (_what, fault) => {
  fault.make();
  const createdMs = clock.nowMs();
  client.seed(dataUploads, {
    metadata: { ...KEY },
    spec: {
      ...{ backupStorageLocation: "default", operationTimeout: "10m0s", snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files" },
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: SOURCE.name },
    },
  });
  if (fault.waits !== undefined) {
    await until("the reason", () => upload()?.status?.message === `waiting for ${fault.waits}`);
    expect(clock.nowMs() - createdMs).toBeLessThan(3 * 60_000);
    expect(upload()?.status?.phase).toBe("Accepted");
    expect(described()).toContain(`waiting for ${fault.waits}`);
    expect(described()).toMatch(/Normal {2}Waiting {2}waiting for /);
  }
  await until("the end", () => ["Completed", "Failed", "Canceled"].includes(upload()?.status?.phase ?? ""));
  expect(upload()?.status?.phase).toBe(fault.ends);
  expect(upload()?.status?.message).toContain(fault.because);
  expect(described()).toMatch(new RegExp(`Phase: +${fault.ends}\n`));
  expect(described().split(fault.because).length - 1).toBeGreaterThanOrEqual(2);
  expect(leftovers()).toEqual([]);
});

it("a node that is drained in the middle: who has taken it over, and why, is told while it runs anew", async () => {
  client.seed(dataUploads, {
    metadata: { ...KEY },
    spec: {
      ...{ backupStorageLocation: "default", operationTimeout: "10m0s", snapshotType: "CSI", sourceNamespace: "shop", sourcePVC: "files" },
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: SOURCE.name },
    },
  });
  await until("its start", () => upload()?.status?.phase === "InProgress");
  client.discard(pods, KEY);
  await until("its second start", () => upload()?.status?.phase === "InProgress" && client.peek(pods, KEY) !== undefined);
  const why = 'taken over by node "node-1" (1 of at most 3 times): the mover pod is gone: it was deleted, or its node was lost';
  expect(upload()?.status?.message).toBe(why);
  expect(described().split(why).length - 1).toBe(2);
  storage.options = { nodeName: "node-1" };
  storage.nudge();
  await until("its end", () => upload()?.status?.phase === "Completed");
  expect(described()).toMatch(/Message: +<none>\n/);
  expect(leftovers()).toEqual([]);
});
