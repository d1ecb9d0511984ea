/** From the token of a service account to the blocks of an image: API server, gateway and driver as a cluster has them. */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { loadCrds, type SnapshotMetadataService, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type ConnectedClient, createKubeClient } from "@drayage/kube";
import { type BlockMetadataResponse, connectSnapshotMetadata, type SnapshotMetadataClient } from "@drayage/protocols/snapshot-metadata";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually, startTestServer, type TestServer } from "../api-server/testing/test-server.ts";
import { block, DriverBench, MIB, type RunningDriver, volumeRequest } from "../csi-driver/testing/driver-bench.ts";
import { announce, type SnapshotMetadataGateway, startSnapshotMetadataGateway } from "./snapshot-metadata-gateway.ts";

const BLOCK = 65_536;

let api: TestServer;
let admin: ConnectedClient;
let bench: DriverBench;
let running: RunningDriver;
let gateway: SnapshotMetadataGateway;
let service: SnapshotMetadataService;
let client: SnapshotMetadataClient;
let volumeId: string;

beforeAll(async () => {
  api = await startTestServer();
  admin = createKubeClient({ kubeconfig: api.server.adminKubeconfig() });
  for (const crd of loadCrds("snapshot.storage.k8s.io", "cbt.storage.k8s.io")) await api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
  await eventually(async () => (await api.call("GET", "/apis/cbt.storage.k8s.io/v1beta1/snapshotmetadataservices")).code === 200);
  bench = new DriverBench();
  running = await bench.start();
  const { driver, controller } = running;
  gateway = await startSnapshotMetadataGateway({
    ...{ client: admin, driverName: driver.name, driverSocket: driver.socketPath, directory: api.directory },
    ...{ clock: systemClock, random: systemRandom, logger: nullLogger },
  });
  await announce(admin, gateway.manifest);
  service = (await api.get(`/apis/cbt.storage.k8s.io/v1beta1/snapshotmetadataservices/${driver.name}`)) as unknown as SnapshotMetadataService;
  client = connectSnapshotMetadata({ address: service.spec.address, caCert: Buffer.from(service.spec.caCert, "base64").toString() });
  const created = await controller.CreateVolume(volumeRequest({ volumeCapabilities: [block] }));
  volumeId = created.volume?.volumeId ?? "";
  for (const [name, roles] of [
    ["mover", true],
    ["stranger", false],
  ] as const) {
    await api.post("/api/v1/namespaces/default/serviceaccounts", { metadata: { name } });
    if (!roles) continue;
    const rules = [{ apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: ["get"] }];
    await api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", { metadata: { name }, rules });
    await api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {
      metadata: { name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
      subjects: [{ kind: "ServiceAccount", name, namespace: "default" }],
    });
  }
});
afterAll(async () => {
  client?.close();
  gateway?.stop();
  await bench?.end();
  await admin?.close();
  await api?.[Symbol.asyncDispose]();
});

function write(offset: number, data: string): void {
  const fd = openSync(join(bench.storage, "volumes", volumeId, "image"), "r+");
  writeSync(fd, data, offset);
  closeSync(fd);
}

/** Cuts a snapshot and binds a VolumeSnapshot to it, as the snapshot controller does. */
async function snapshot(name: string): Promise<string> {
  const { snapshot: cut } = await running.controller.CreateSnapshot({ name, sourceVolumeId: volumeId });
  const snapshotHandle = cut?.snapshotId ?? "";
  await admin.create(volumeSnapshotContents, {
    metadata: { name },
    spec: { driver: running.driver.name, deletionPolicy: "Retain", source: { snapshotHandle }, volumeSnapshotRef: { name, namespace: "default" } },
  });
  await admin.create(volumeSnapshots, { metadata: { name, namespace: "default" }, spec: { source: { volumeSnapshotContentName: name } } });
  await api.merge(`/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/${name}/status`, { status: { snapshotHandle, readyToUse: true } });
  await api.merge(`/apis/snapshot.storage.k8s.io/v1/namespaces/default/volumesnapshots/${name}/status`, {
    status: { boundVolumeSnapshotContentName: name, readyToUse: true },
  });
  return snapshotHandle;
}

async function tokenOf(account: string, audience: string = service.spec.audience): Promise<string> {
  const answer = await api.post(`/api/v1/namespaces/default/serviceaccounts/${account}/token`, {
    ...{ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { audiences: [audience], expirationSeconds: 3600 } },
  });
  return (answer as unknown as { readonly status: { readonly token: string } }).status.token;
}

async function blocksOf(responses: AsyncIterable<BlockMetadataResponse>): Promise<number[]> {
  const blocks: number[] = [];
  for await (const { blockMetadata, volumeCapacityBytes } of responses) {
    expect(Number(volumeCapacityBytes)).toBe(8 * MIB);
    for (const { byteOffset } of blockMetadata) blocks.push(Number(byteOffset) / BLOCK);
  }
  return blocks;
}

it("what was written, and what has changed since a snapshot that is gone", async () => {
  write(3 * BLOCK, "first");
  write(90 * BLOCK + 5, "second");
  const first = await snapshot("first");
  const securityToken = await tokenOf("mover");
  const given = { securityToken, namespace: "default", startingOffset: "0", maxResults: 0 };
  expect(await blocksOf(client.allocated({ ...given, snapshotName: "first" }))).toEqual([3, 90]);
  expect(await blocksOf(client.allocated({ ...given, startingOffset: String(4 * BLOCK), snapshotName: "first" }))).toEqual([90]);
  await running.controller.DeleteSnapshot({ snapshotId: first });

  write(BLOCK - 2, "over the edge");
  write(90 * BLOCK + 5, "\0\0\0\0\0\0");
  await snapshot("second");
  expect(await blocksOf(client.delta({ ...given, baseSnapshotId: first, targetSnapshotName: "second" }))).toEqual([0, 1, 90]);
});

it("nothing to whom it is not for, of what is not there, and of what nobody knows", async () => {
  const handle = await snapshot("third");
  const ask = async (request: Partial<Parameters<SnapshotMetadataClient["delta"]>[0]>, account = "mover", audience?: string) => {
    const securityToken = await tokenOf(account, audience);
    const all = { namespace: "default", startingOffset: "0", maxResults: 0, baseSnapshotId: handle, targetSnapshotName: "third", securityToken, ...request };
    return await blocksOf(client.delta(all));
  };
  expect(await ask({})).toEqual([]);
  await expect(ask({}, "stranger")).rejects.toMatchObject({ code: "NOT_PERMITTED", message: expect.stringContaining("may not read them") });
  await expect(ask({}, "mover", "https://kubernetes.default.svc")).rejects.toMatchObject({ code: "NOT_PERMITTED" });
  await expect(ask({ securityToken: "made up" })).rejects.toMatchObject({ code: "NOT_PERMITTED" });
  await expect(ask({ namespace: "kube-system" })).rejects.toMatchObject({ code: "NOT_PERMITTED" });
  await expect(ask({ targetSnapshotName: "fourth" })).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
  await expect(ask({ baseSnapshotId: "snap-of-another-time" })).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
  await expect(ask({ startingOffset: String(9 * MIB) })).rejects.toMatchObject({ code: "CSI_OUT_OF_RANGE" });
});
