/** What stands around the claim of a backup's mover: the access it asks for, the Secrets its storage looks for, and why it gets no volume. */
import { backupStorageLocations, type DataUpload, dataUploads, LABELS } from "@drayage/api";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { configMaps, events, type KubeObject, nodes, persistentVolumeClaims, pods, type ResourceType, secrets, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import type { BackupPvcConfig } from "../data-movement/node-agent-config.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";

const NS = "velero";
const KEPT: BackupPvcConfig = { secretNames: ["token"], configMapNames: ["settings"] };
const base64 = (text: string): string => Buffer.from(text).toString("base64");

let clock: VirtualClock;
let client: FakeKubeClient;
let storage: SimulatedStorage;
let stop: (() => Promise<void>) | undefined;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, random: seededRandom(7) });
  storage = new SimulatedStorage(client);
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": base64("p") } });
  client.seed(nodes, { metadata: { name: "node-1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
});
afterEach(() => stop?.());

function seedTenant(namespace: string, token: string): void {
  client.seed(secrets, { metadata: { namespace, name: "token" }, type: "Opaque", data: { token: base64(token) } });
  client.seed(configMaps, { metadata: { namespace, name: "settings" }, data: { address: "a" } });
}

async function start(config: BackupPvcConfig): Promise<void> {
  const agent = await startNodeAgent({
    client,
    clock,
    random: seededRandom(3),
    logger: memoryLogger(),
    namespace: NS,
    nodeName: "node-1",
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
    config: { loadConcurrency: { globalConfig: 4 }, backupPVC: { ceph: config } },
  });
  stop = () => agent.stop();
}

function createUpload(name: string, namespace = "shop"): void {
  client.seed(persistentVolumeClaims, {
    metadata: { namespace, name: "files" },
    spec: { storageClassName: "ceph", volumeName: "pv" },
    status: { phase: "Bound" },
  });
  storage.seedSnapshot(namespace, `source-${name}`);
  client.seed(dataUploads, {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "ceph", volumeSnapshot: `source-${name}` },
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: namespace,
      sourcePVC: "files",
    },
  });
}

/** Moves the world on until the upload is as wanted. */
async function until(name: string, wanted: (object: DataUpload) => boolean): Promise<DataUpload> {
  for (let step = 0; step < 400; step++) {
    const object = client.peek(dataUploads, { namespace: NS, name });
    if (object !== undefined && wanted(object)) return object;
    await clock.advance(500);
    await settle();
  }
  throw new Error(`"${name}" came to rest in ${JSON.stringify(client.peek(dataUploads, { namespace: NS, name }), null, 1)}`);
}
function cancel(name: string): void {
  client.mutate(dataUploads, { namespace: NS, name }, ({ spec }) => {
    spec.cancel = true;
  });
}
const inPhase =
  (phase: string) =>
  ({ status }: DataUpload): boolean =>
    status?.phase === phase;
const hasEnded =
  (phase: string) =>
  ({ status, metadata }: DataUpload): boolean =>
    status?.phase === phase && metadata.finalizers === undefined;
const copies = (): string[] =>
  ([secrets, configMaps] as unknown as ResourceType<KubeObject>[]).flatMap((type) =>
    client
      .all(type)
      .flatMap(({ metadata }) => (metadata.namespace === NS && metadata.labels?.[LABELS.backupPvcSecret] !== undefined ? [metadata.name ?? ""] : [])),
  );

describe("a claim that is only read", () => {
  it.each([
    ["with spcNoRelabeling runs its pod as a type that needs no relabeling", { readOnly: true, spcNoRelabeling: true }, ["ReadOnlyMany"], { type: "spc_t" }],
    ["alone leaves its pod as it is", { readOnly: true }, ["ReadOnlyMany"], undefined],
  ])("%s", async (_what, config, accessModes, seLinuxOptions) => {
    storage.options = { mover: "waits" };
    await start({ ...config, storageClass: "ceph-shallow" });
    createUpload("up");
    await until("up", inPhase("InProgress"));
    expect(client.peek(persistentVolumeClaims, { namespace: NS, name: "up" })?.spec).toMatchObject({ accessModes, storageClassName: "ceph-shallow" });
    const pod = client.peek(pods, { namespace: NS, name: "up" });
    expect(pod?.spec.securityContext?.["seLinuxOptions"]).toEqual(seLinuxOptions);
    expect(pod?.spec.volumes?.find(({ persistentVolumeClaim }) => persistentVolumeClaim !== undefined)?.persistentVolumeClaim).toEqual({
      claimName: "up",
      readOnly: true,
    });
  });

  it("is of the class of its source where the one that is named has no name", async () => {
    storage.options = { mover: "waits" };
    await start({ readOnly: true, storageClass: "" });
    createUpload("up");
    await until("up", inPhase("InProgress"));
    expect(client.peek(persistentVolumeClaims, { namespace: NS, name: "up" })?.spec.storageClassName).toBe("ceph");
  });

  it("is the only one that spcNoRelabeling is for: others are relabeled", async () => {
    storage.options = { mover: "waits" };
    await start({ spcNoRelabeling: true });
    createUpload("up");
    await until("up", inPhase("InProgress"));
    expect(client.peek(pods, { namespace: NS, name: "up" })?.spec.securityContext?.["seLinuxOptions"]).toBeUndefined();
  });
});

describe("copies of what the storage looks for", () => {
  it.each([
    ["Completed", "succeeds"],
    ["Failed", "fails"],
    ["Canceled", "waits"],
  ] as const)("are there while data moves, and gone when it has %s", async (phase, mover) => {
    seedTenant("shop", "s.one");
    storage.options = { mover: "waits" };
    await start(KEPT);
    createUpload("up");
    const running = await until("up", inPhase("InProgress"));
    expect(copies()).toEqual(["token", "settings"]);
    const copy = client.peek(secrets, { namespace: NS, name: "token" });
    expect(copy).toMatchObject({ type: "Opaque", data: { token: base64("s.one") }, metadata: { labels: { [LABELS.backupPvcSecret]: running.metadata.uid } } });
    if (phase === "Canceled") cancel("up");
    storage.options = { mover };
    storage.nudge();
    await until("up", hasEnded(phase));
    expect(copies()).toEqual([]);
    expect(client.peek(secrets, { namespace: "shop", name: "token" })).toBeDefined();
  });

  it("go also by an agent that was started anew and is not told of them", async () => {
    seedTenant("shop", "s.one");
    storage.options = { mover: "waits" };
    await start(KEPT);
    createUpload("up");
    await until("up", inPhase("InProgress"));
    await stop?.();
    await start({});
    expect(copies()).toEqual(["token", "settings"]);
    storage.options = {};
    storage.nudge();
    await until("up", hasEnded("Completed"));
    expect(copies()).toEqual([]);
  });

  it("stay for those of the same namespace that still need them", async () => {
    seedTenant("shop", "s.one");
    storage.options = { mover: "waits" };
    await start(KEPT);
    createUpload("one");
    createUpload("two");
    for (const name of ["one", "two"]) await until(name, inPhase("InProgress"));
    expect(
      client
        .peek(secrets, { namespace: NS, name: "token" })
        ?.metadata.ownerReferences?.map(({ name }) => name)
        .sort(),
    ).toEqual(["one", "two"]);
    cancel("one");
    await until("one", hasEnded("Canceled"));
    expect(client.peek(secrets, { namespace: NS, name: "token" })?.metadata.ownerReferences?.map(({ name }) => name)).toEqual(["two"]);
    cancel("two");
    await until("two", hasEnded("Canceled"));
    expect(copies()).toEqual([]);
  });

  it("are waited for by those of another namespace with other content", async () => {
    seedTenant("shop", "s.one");
    seedTenant("bank", "s.two");
    storage.options = { mover: "waits" };
    await start(KEPT);
    createUpload("one");
    await until("one", inPhase("InProgress"));
    createUpload("two", "bank");
    await until("two", inPhase("Accepted"));
    for (let step = 0; step < 20; step++) await clock.advance(500);
    expect(client.peek(persistentVolumeClaims, { namespace: NS, name: "two" })).toBeUndefined();
    storage.options = {};
    storage.nudge();
    for (const name of ["one", "two"]) await until(name, hasEnded("Completed"));
    expect(copies()).toEqual([]);
  });

  it("are not made over what somebody else has put there: the same is used and stays, another is an error", async () => {
    seedTenant("shop", "s.one");
    seedTenant(NS, "s.one");
    await start(KEPT);
    createUpload("same");
    await until("same", hasEnded("Completed"));
    expect(client.peek(secrets, { namespace: NS, name: "token" })?.metadata.labels).toBeUndefined();
    client.mutate(secrets, { namespace: NS, name: "token" }, (secret) => {
      secret.data = { token: base64("s.other") };
    });
    createUpload("other");
    const { status } = await until("other", hasEnded("Failed"));
    expect(status?.message).toBe('backupPVC["ceph"] names secrets "shop/token", and "velero/token" is there already with other content: it has to be removed');
  });

  it("are made of what is there: an original that is missing is an error", async () => {
    await start(KEPT);
    createUpload("up");
    const { status } = await until("up", hasEnded("Failed"));
    expect(status?.message).toBe('backupPVC["ceph"] names secrets "shop/token", which is not there');
  });
});

describe("a claim that gets no volume", () => {
  const complain = (message: string, count: number): void => {
    const claim = client.peek(persistentVolumeClaims, { namespace: NS, name: "up" });
    client.seed(events, {
      metadata: { namespace: NS, name: `e${count}` },
      involvedObject: { kind: "PersistentVolumeClaim", namespace: NS, name: "up", ...(claim?.metadata.uid === undefined ? {} : { uid: claim.metadata.uid }) },
      type: "Warning",
      reason: "ProvisioningFailed",
      message,
      count,
    });
  };
  const reachPod = async (config: BackupPvcConfig, parameters: Record<string, string> = {}): Promise<void> => {
    client.seed(storageClasses, { metadata: { name: "ceph" }, provisioner: "cephfs.csi.ceph.com", parameters });
    storage.options = { kubelet: "waits", provisioner: "waits" };
    await start(config);
    createUpload("up");
    await until("up", () => client.peek(pods, { namespace: NS, name: "up" }) !== undefined);
  };

  it.each([
    ["readOnly", { readOnly: true }, {}, /take readOnly out of backupPVC\["ceph"\]/],
    ["a class that shows snapshots", {}, { backingSnapshot: "true" }, /set readOnly in backupPVC\["ceph"\]/],
    ["an encrypted class", {}, { encrypted: "true" }, /secretNames and configMapNames of backupPVC\["ceph"\]/],
  ])("because of %s fails once its storage has said so twice, and says what to change", async (_what, config, parameters, remedy) => {
    await reachPod(config, parameters as Record<string, string>);
    complain('failed to provision volume with StorageClass "ceph": rpc error: code = InvalidArgument desc = not like this', 1);
    await clock.advance(5_000);
    expect(client.peek(dataUploads, { namespace: NS, name: "up" })?.status?.phase).toBe("Accepted");
    complain('failed to provision volume with StorageClass "ceph": rpc error: code = InvalidArgument desc = not like this', 2);
    const { status } = await until("up", hasEnded("Failed"));
    expect(status?.message).toMatch(/^storage class "ceph" gives no volume for the backup of "shop\/files": not like this\. /);
    expect(status?.message).toMatch(remedy);
  });

  it("yet is waited for, and the time-out says what for", async () => {
    await reachPod({});
    complain('failed to provision volume with StorageClass "ceph": rpc error: code = Aborted desc = clone in progress', 7);
    await clock.advance(31 * 60_000);
    const { status } = await until("up", hasEnded("Failed"));
    expect(status?.message).toMatch(
      /^timeout on preparing data upload: it was waiting for a volume: storage class "ceph" gives .*: clone in progress\. CephFS copies a snapshot in full/,
    );
  });
});
