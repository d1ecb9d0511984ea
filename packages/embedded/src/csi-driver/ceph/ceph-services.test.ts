import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CreateVolumeRequest, Sendable } from "@drayage/protocols/csi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { block, DriverBench, filesystem, MIB, nodeVolume, type RunningDriver, readers, volumeRequest } from "../testing/driver-bench.ts";
import type { CephRecord } from "./ceph-record.ts";
import type { CephKind } from "./ceph-services.ts";
import { TENANT_CONFIG, TENANT_SECRET, type TenantReader } from "./tenant-keys.ts";

const isRoot = process.getuid?.() === 0;
const READ_ONLY_BLOCK = { block: {}, accessMode: { mode: "MULTI_NODE_READER_ONLY" } } as const;
const SHARED = { mount: {}, accessMode: { mode: "MULTI_NODE_MULTI_WRITER" } } as const;

let bench: DriverBench;
beforeEach(() => {
  bench = new DriverBench();
});
afterEach(() => bench.end());

/** Namespaces with what they have. */
class Tenants implements TenantReader {
  readonly tokens = new Map<string, string>();
  readonly owners = new Map<string, string>();
  secret(namespace: string, name: string): Promise<Record<string, string> | undefined> {
    const token = this.tokens.get(namespace);
    return Promise.resolve(name === TENANT_SECRET && token !== undefined ? { token } : undefined);
  }
  hasConfigMap(namespace: string, name: string): Promise<boolean> {
    return Promise.resolve(name === TENANT_CONFIG && this.tokens.has(namespace));
  }
  tenantOf(volumeId: string): Promise<string | undefined> {
    return Promise.resolve(this.owners.get(volumeId));
  }
}

const start = (profile: CephKind, tenants = new Tenants()): Promise<RunningDriver> => bench.start("node-1", { profile, tenants });
const record = (): CephRecord => JSON.parse(readFileSync(join(bench.storage, "ceph.json"), "utf8")) as CephRecord;

/** A snapshot of a new volume of this mode, and the ids of both. */
async function snapshotOf(
  { controller }: RunningDriver,
  request: Partial<Sendable<CreateVolumeRequest>> = {},
): Promise<{ volumeId: string; snapshotId: string }> {
  const { volume } = await controller.CreateVolume(volumeRequest(request));
  const { snapshot } = await controller.CreateSnapshot({ name: "snapshot-1", sourceVolumeId: volume?.volumeId ?? "" });
  return { volumeId: volume?.volumeId ?? "", snapshotId: snapshot?.snapshotId ?? "" };
}
const from = (snapshotId: string, request: Partial<Sendable<CreateVolumeRequest>> = {}) =>
  volumeRequest({ name: "pvc-2", volumeContentSource: { snapshot: { snapshotId } }, ...request });

describe("cephfs", () => {
  it("shows a snapshot to readers at once and copies nothing", async () => {
    const driver = await start("cephfs");
    const { snapshotId } = await snapshotOf(driver);
    const { volume } = await driver.controller.CreateVolume(from(snapshotId, { volumeCapabilities: [readers] }));
    expect(volume?.contentSource?.snapshot?.snapshotId).toBe(snapshotId);
    // A provisioner asks again when it has not seen its own volume yet.
    await driver.controller.CreateVolume(from(snapshotId, { volumeCapabilities: [readers] }));
    expect(record()).toMatchObject({ shallowVolumes: 1, fullClones: 0 });
    // Nobody makes a read-only volume of nothing.
    await expect(driver.controller.CreateVolume(volumeRequest({ name: "pvc-3", volumeCapabilities: [readers] }))).rejects.toThrow(
      /needs a snapshot or a volume/,
    );
  });

  it.each([
    ["writers", { volumeCapabilities: [filesystem] }],
    ["readers of a class that copies", { volumeCapabilities: [readers], parameters: { backingSnapshot: "false" } }],
  ])("copies a snapshot in full for %s, and is asked until that is done, also by another process", async (_who, request) => {
    const parameters = { cloneSeconds: "30", ...("parameters" in request ? request.parameters : {}) };
    const driver = await start("cephfs");
    const { snapshotId } = await snapshotOf(driver);
    const clone = (running: RunningDriver) => running.controller.CreateVolume(from(snapshotId, { ...request, parameters }));
    await expect(clone(driver)).rejects.toMatchObject({ code: "CSI_BUSY", message: expect.stringMatching(/clone of its source is in progress for 0 s$/) });
    await bench.clock.advance(20_000);
    await bench.stop(driver);
    const next = await start("cephfs");
    await expect(clone(next)).rejects.toThrow(/in progress for 20 s$/);
    await bench.clock.advance(10_000);
    await expect(clone(next)).resolves.toBeDefined();
    expect(record()).toMatchObject({ shallowVolumes: 0, fullClones: 1, clones: {} });
  });

  it.each([
    ["a block volume", { volumeCapabilities: [block] }, /has no block volumes/],
    ["a shallow class without a snapshot", { parameters: { backingSnapshot: "true" } }, /its claim names none/],
    ["a shallow class in a pool", { parameters: { backingSnapshot: "true", pool: "p" } }, /parameter "pool"/],
    ["a parameter that nobody knows", { parameters: { backingSnapshots: "true" } }, /parameter "backingSnapshots" is "true": .* are known/],
    ["a value that nobody knows", { parameters: { fault: "fire" } }, /parameter "fault" is "fire": one of clone-failed, clone-stuck, no-space is wanted/],
    ["a full pool", { parameters: { fault: "no-space" } }, /the pool is full/],
  ])("refuses %s", async (_what, request, message) => {
    const { controller } = await start("cephfs");
    await expect(controller.CreateVolume(volumeRequest(request))).rejects.toThrow(message);
  });

  it("refuses writers of a shallow class: what they write to is a snapshot", async () => {
    const driver = await start("cephfs");
    const { snapshotId } = await snapshotOf(driver);
    const asked = from(snapshotId, { parameters: { backingSnapshot: "true" } });
    await expect(driver.controller.CreateVolume(asked)).rejects.toMatchObject({ message: expect.stringMatching(/access mode ReadOnlyMany is wanted$/) });
  });

  it.each([
    ["clone-failed", /the clone of its source has failed$/],
    ["clone-stuck", /is in progress for 600 s$/],
  ])("lets a clone end as its class says: %s", async (fault, message) => {
    const driver = await start("cephfs");
    const { snapshotId } = await snapshotOf(driver);
    const clone = () => driver.controller.CreateVolume(from(snapshotId, { parameters: { fault } }));
    await expect(clone()).rejects.toThrow(/in progress/);
    await bench.clock.advance(600_000);
    await expect(clone()).rejects.toThrow(message);
    expect(record().fullClones).toBe(0);
  });

  it.each([
    ["failed", "CSI_FAILED", /the storage has refused it/],
    ["stuck", "CSI_BUSY", /is in progress/],
  ])("lets a snapshot end as its class says: %s", async (fault, code, message) => {
    const { controller } = await start("cephfs");
    const { volume } = await controller.CreateVolume(volumeRequest());
    const cut = controller.CreateSnapshot({ name: "snapshot-1", sourceVolumeId: volume?.volumeId ?? "", parameters: { fault } });
    await expect(cut).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe("rbd", () => {
  it("clones a snapshot at once", async () => {
    const driver = await start("rbd");
    const { snapshotId } = await snapshotOf(driver);
    const { volume } = await driver.controller.CreateVolume(from(snapshotId));
    expect(volume?.contentSource?.snapshot?.snapshotId).toBe(snapshotId);
  });

  it.each([
    ["readers of a file system", { volumeCapabilities: [readers] }, /access mode ReadOnlyMany is not supported for file systems on RBD/],
    ["many writers of a file system", { volumeCapabilities: [SHARED] }, /access mode ReadWriteMany is not supported for file systems on RBD/],
    ["what only CephFS can do", { parameters: { backingSnapshot: "true" } }, /only CephFS/],
  ])("refuses %s", async (_what, request, message) => {
    const driver = await start("rbd");
    const { snapshotId } = await snapshotOf(driver);
    await expect(driver.controller.CreateVolume(from(snapshotId, request))).rejects.toMatchObject({ message: expect.stringMatching(message) });
  });

  if (isRoot)
    it("gives readers of a block snapshot a device of their own", async () => {
      const driver = await start("rbd");
      const { snapshotId } = await snapshotOf(driver, { volumeCapabilities: [block] });
      const { volume } = await driver.controller.CreateVolume(from(snapshotId, { volumeCapabilities: [READ_ONLY_BLOCK] }));
      expect(volume?.capacityBytes).toBe(String(8 * MIB));
    });
});

describe("encrypted volumes", () => {
  const parameters = (namespace: string) => ({ encrypted: "true", "csi.storage.k8s.io/pvc/namespace": namespace });

  it("are made only where secret and config map are in the claim's namespace", async () => {
    const tenants = new Tenants();
    const { controller } = await start("rbd", tenants);
    const create = () => controller.CreateVolume(volumeRequest({ parameters: parameters("shop") }));
    await expect(create()).rejects.toThrow(
      /it is encrypted, and secret "shop\/ceph-csi-kms-token" is not there or has no "token"\. .*must be in the namespace of its claim/,
    );
    tenants.tokens.set("shop", "s.open");
    await expect(create()).resolves.toBeDefined();
    expect(JSON.stringify(record())).not.toContain("s.open");
  });

  it("are copied only with the token of their source", async () => {
    const tenants = new Tenants();
    tenants.tokens.set("shop", "s.open").set("velero", "s.other");
    const driver = await start("rbd", tenants);
    const { snapshotId } = await snapshotOf(driver, { parameters: parameters("shop") });
    const copy = (with_: Record<string, string>) => driver.controller.CreateVolume(from(snapshotId, { parameters: with_ }));
    await expect(copy({})).rejects.toThrow(/its source is encrypted, its class is not/);
    await expect(copy(parameters("velero"))).rejects.toThrow(/the token of namespace "velero" does not open its source/);
    tenants.tokens.set("velero", "s.open");
    await expect(copy(parameters("velero"))).resolves.toBeDefined();
  });

  it("are mounted only with the token, looked for where their claim is now", async () => {
    const tenants = new Tenants();
    tenants.tokens.set("shop", "s.open");
    const driver = await start("cephfs", tenants);
    const { volume } = await driver.controller.CreateVolume(volumeRequest({ parameters: parameters("shop") }));
    const id = volume?.volumeId ?? "";
    const stage = () => driver.node.stage(nodeVolume(id), bench.path("node-1", "staging"));
    mkdirSync(bench.path("node-1"), { recursive: true });
    tenants.owners.set(id, "elsewhere");
    await expect(stage()).rejects.toThrow(/secret "elsewhere\/ceph-csi-kms-token" is not there/);
    tenants.tokens.set("elsewhere", "s.other");
    await expect(stage()).rejects.toThrow(/the token of namespace "elsewhere" does not open it/);
    tenants.owners.set(id, "shop");
    await expect(stage()).resolves.toBeUndefined();
    await driver.node.unstage(id, bench.path("node-1", "staging"));
    await driver.controller.DeleteVolume({ volumeId: id });
    expect(record().keys).toEqual({});
  });
});
