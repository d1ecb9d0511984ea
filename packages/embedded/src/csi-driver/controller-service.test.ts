import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CreateVolumeRequest, CsiSnapshot, CsiVolume, Sendable } from "@drayage/protocols/csi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HostAbilities } from "./host-abilities.ts";
import { block, DriverBench, MIB, type RunningDriver, readers, volumeRequest } from "./testing/driver-bench.ts";

let bench: DriverBench;
beforeEach(() => {
  bench = new DriverBench();
});
afterEach(() => bench.end());

/** A process that may mount nothing; folders and images are made all the same. */
const unprivileged: HostAbilities = { mount: false, loopDevices: false };

async function create({ controller }: RunningDriver, request: Partial<Sendable<CreateVolumeRequest>> = {}): Promise<CsiVolume> {
  const { volume } = await controller.CreateVolume(volumeRequest(request));
  if (volume === null) throw new Error("no volume in the answer");
  return volume;
}

async function snapshot({ controller }: RunningDriver, sourceVolumeId: string, name = "snapshot-1"): Promise<CsiSnapshot> {
  const { snapshot: made } = await controller.CreateSnapshot({ name, sourceVolumeId });
  if (made === null) throw new Error("no snapshot in the answer");
  return made;
}

const dataOf = (id: string): string => join(bench.storage, id.startsWith("vol") ? "volumes" : "snapshots", id, "data");
const inStorage = (folder: string): string[] => readdirSync(join(bench.storage, folder));

describe("CreateVolume", () => {
  it("gives the same volume for the same name, and a new one for another", async () => {
    const driver = await bench.start();
    const first = await create(driver);
    expect(await create(driver)).toEqual(first);
    expect(first).toMatchObject({ capacityBytes: String(8 * MIB), accessibleTopology: [], contentSource: null });
    expect((await create(driver, { name: "pvc-2" })).volumeId).not.toBe(first.volumeId);
  });

  it("finds after a restart what it made before", async () => {
    const driver = await bench.start();
    const first = await create(driver);
    await bench.stop(driver);
    expect(await create(await bench.start())).toEqual(first);
  });

  it.each([
    ["a larger size", { capacityRange: { requiredBytes: String(9 * MIB) } }],
    ["a smaller limit", { capacityRange: { limitBytes: String(7 * MIB) } }],
    ["another topology", { parameters: { topology: "node" } }],
  ])("refuses a name that exists with %s", async (_what, request) => {
    const driver = await bench.start();
    await create(driver);
    await expect(create(driver, request)).rejects.toMatchObject({ code: "CSI_ALREADY_EXISTS" });
  });

  it.each([
    ["no name", { name: "" }, "CSI_INVALID"],
    ["no capability", { volumeCapabilities: [] }, "CSI_INVALID"],
    ["a capability without access type", { volumeCapabilities: [{ accessMode: { mode: "SINGLE_NODE_WRITER" } }] }, "CSI_INVALID"],
    ["a capability without access mode", { volumeCapabilities: [{ mount: {} }] }, "CSI_INVALID"],
    ["an unknown parameter", { parameters: { colour: "red" } }, "CSI_INVALID"],
    ["a limit below what is required", { capacityRange: { requiredBytes: "2048", limitBytes: "1024" } }, "CSI_OUT_OF_RANGE"],
    ["a negative size", { capacityRange: { requiredBytes: "-1" } }, "CSI_INVALID"],
    ["more bytes than can be counted", { capacityRange: { requiredBytes: "9223372036854775807" } }, "CSI_OUT_OF_RANGE"],
    ["a source that is not there", { volumeContentSource: { snapshot: { snapshotId: "snap-x" } } }, "CSI_NOT_FOUND"],
    ["a source without an id", { volumeContentSource: { volume: { volumeId: "" } } }, "CSI_INVALID"],
  ] as const)("refuses %s", async (_what, request, code) => {
    await expect(create(await bench.start(), request)).rejects.toMatchObject({ code });
    expect(inStorage("volumes")).toEqual([]);
    expect(inStorage("tmp")).toEqual([]);
  });

  it("ignores what the provisioner says of the claim", async () => {
    await expect(create(await bench.start(), { parameters: { "csi.storage.k8s.io/pvc/name": "files" } })).resolves.toBeDefined();
  });

  it("takes one GiB when no size is asked for, less when less is allowed", async () => {
    const driver = await bench.start();
    expect((await create(driver, { capacityRange: null })).capacityBytes).toBe(String(1024 * MIB));
    expect((await create(driver, { name: "small", capacityRange: { limitBytes: "4096" } })).capacityBytes).toBe("4096");
  });

  it("gives out no more than there is", async () => {
    const driver = await bench.start("node-1", { poolBytes: 20 * MIB });
    await create(driver);
    await create(driver, { name: "pvc-2" });
    expect(await driver.controller.GetCapacity({})).toMatchObject({ availableCapacity: String(4 * MIB), maximumVolumeSize: { value: String(20 * MIB) } });
    await expect(create(driver, { name: "pvc-3" })).rejects.toMatchObject({ code: "CSI_NO_SPACE" });
  });

  it("binds a volume of one node to the node that is preferred, and says so", async () => {
    const driver = await bench.start();
    const { topologyKey } = driver.driver;
    const at = (name: string) => ({ segments: { [topologyKey]: name } });
    const volume = await create(driver, {
      parameters: { topology: "node" },
      accessibilityRequirements: { requisite: [at("node-1"), at("node-2")], preferred: [at("node-2"), at("node-1")] },
    });
    expect(volume.accessibleTopology).toEqual([at("node-2")]);
    await expect(
      create(driver, { name: "pvc-2", parameters: { topology: "node" }, accessibilityRequirements: { requisite: [{ segments: { zone: "a" } }] } }),
    ).rejects.toMatchObject({ code: "CSI_NO_SPACE" });
  });

  it("refuses a block volume where no loop device can be had, and says what to do", async () => {
    const driver = await bench.start("node-1", { abilities: unprivileged });
    await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({
      code: "CSI_PRECONDITION",
      message: 'Cannot create volume "pvc-1": a block volume needs a loop device, and this process may not make one. Run as root.',
    });
  });

  it("replaces content that a killed process put in place without a record", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    writeFileSync(join(dataOf(volumeId), "old"), "");
    rmSync(join(bench.storage, "state.json"));
    expect((await create(driver)).volumeId).toBe(volumeId);
    expect(readdirSync(dataOf(volumeId))).toEqual([]);
  });
});

describe("DeleteVolume", () => {
  it("removes a volume with its data, and accepts one that is not there", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    await driver.controller.DeleteVolume({ volumeId });
    expect(existsSync(dataOf(volumeId))).toBe(false);
    await expect.poll(() => inStorage("tmp")).toEqual([]);
    await driver.controller.DeleteVolume({ volumeId });
    await expect(driver.controller.DeleteVolume({ volumeId: "" })).rejects.toMatchObject({ code: "CSI_INVALID" });
  });

  it("refuses a volume that a node has staged", async () => {
    const driver = await bench.start("node-1", { abilities: unprivileged });
    const { volumeId } = await create(driver);
    const staging = bench.path("node-1", "staging");
    await driver.node.stage({ volumeHandle: volumeId, volumeMode: "Filesystem", accessModes: ["ReadWriteOnce"] }, staging);
    await expect(driver.controller.DeleteVolume({ volumeId })).rejects.toMatchObject({
      code: "CSI_PRECONDITION",
      message: expect.stringContaining('node "node-1" still uses it'),
    });
    await driver.node.unstage(volumeId, staging);
    await driver.controller.DeleteVolume({ volumeId });
  });

  it("forgets a node that was lost with the folder it staged in", async () => {
    const driver = await bench.start("node-1", { abilities: unprivileged });
    const { volumeId } = await create(driver);
    const staging = bench.path("node-1", "staging");
    await driver.node.stage({ volumeHandle: volumeId, volumeMode: "Filesystem", accessModes: ["ReadWriteOnce"] }, staging);
    rmSync(staging, { recursive: true });
    await driver.controller.DeleteVolume({ volumeId });
  });
});

describe("snapshots", () => {
  it("hold what was written before, restore it, and outlive their volume", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    writeFileSync(join(dataOf(volumeId), "file"), "before");
    const { snapshotId } = await snapshot(driver, volumeId);
    writeFileSync(join(dataOf(volumeId), "file"), "after");
    await driver.controller.DeleteVolume({ volumeId });
    const restored = await create(driver, { name: "pvc-2", volumeContentSource: { snapshot: { snapshotId } } });
    expect(readFileSync(join(dataOf(restored.volumeId), "file"), "utf8")).toBe("before");
    expect(restored.contentSource).toEqual({ snapshot: { snapshotId }, type: "snapshot" });
  });

  it("are the same for the same name, and refused when the name is another volume's", async () => {
    const driver = await bench.start();
    const [one, two] = [await create(driver), await create(driver, { name: "pvc-2" })];
    const first = await snapshot(driver, one.volumeId);
    expect(await snapshot(driver, one.volumeId)).toEqual(first);
    expect(first).toMatchObject({ sizeBytes: String(8 * MIB), sourceVolumeId: one.volumeId, readyToUse: true });
    expect(first.creationTime?.seconds).toBe(String(bench.clock.nowMs() / 1000));
    await expect(snapshot(driver, two.volumeId)).rejects.toMatchObject({ code: "CSI_ALREADY_EXISTS" });
    await expect(snapshot(driver, "vol-x", "snapshot-2")).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
    await expect(snapshot(driver, "", "snapshot-2")).rejects.toMatchObject({ code: "CSI_INVALID" });
  });

  it("become ready when the storage has processed them", async () => {
    const driver = await bench.start("node-1", { snapshotProcessingMs: 5000 });
    const { volumeId } = await create(driver);
    expect((await snapshot(driver, volumeId)).readyToUse).toBe(false);
    await bench.clock.advance(5000);
    expect((await snapshot(driver, volumeId)).readyToUse).toBe(true);
  });

  it("are too large for a smaller volume, and cannot turn from files into a device", async () => {
    const driver = await bench.start("node-1", { abilities: { mount: false, loopDevices: true } });
    const { snapshotId } = await snapshot(driver, (await create(driver)).volumeId);
    const volumeContentSource = { snapshot: { snapshotId } };
    await expect(create(driver, { name: "p", volumeContentSource, capacityRange: { requiredBytes: "4096" } })).rejects.toMatchObject({
      code: "CSI_OUT_OF_RANGE",
    });
    await expect(create(driver, { name: "p", volumeContentSource, volumeCapabilities: [block] })).rejects.toMatchObject({ code: "CSI_INVALID" });
    expect((await create(driver, { name: "p", volumeContentSource, capacityRange: null })).capacityBytes).toBe(String(8 * MIB));
  });

  it("are deleted once, and again without complaint", async () => {
    const driver = await bench.start();
    const { snapshotId } = await snapshot(driver, (await create(driver)).volumeId);
    await driver.controller.DeleteSnapshot({ snapshotId });
    await driver.controller.DeleteSnapshot({ snapshotId });
    expect(inStorage("snapshots")).toEqual([]);
    await expect(driver.controller.DeleteSnapshot({ snapshotId: "" })).rejects.toMatchObject({ code: "CSI_INVALID" });
  });

  it("are shown without a copy to volumes that nobody may write to, and kept until the last of them goes", async () => {
    const driver = await bench.start();
    const { snapshotId } = await snapshot(driver, (await create(driver)).volumeId);
    const shallow = await create(driver, { name: "pvc-2", volumeContentSource: { snapshot: { snapshotId } }, volumeCapabilities: [readers] });
    expect(existsSync(dataOf(shallow.volumeId))).toBe(false);
    await driver.controller.DeleteSnapshot({ snapshotId });
    expect((await driver.controller.ListSnapshots({ snapshotId })).entries).toEqual([]);
    expect(inStorage("snapshots")).toEqual([snapshotId]);
    await driver.controller.DeleteVolume({ volumeId: shallow.volumeId });
    expect(inStorage("snapshots")).toEqual([]);
  });

  it("are listed by id, by volume and page by page", async () => {
    const driver = await bench.start();
    const [one, two] = [await create(driver), await create(driver, { name: "pvc-2" })];
    const made: string[] = [];
    for (const name of ["a", "b", "c"]) made.push((await snapshot(driver, one.volumeId, name)).snapshotId);
    await snapshot(driver, two.volumeId, "d");
    const listed: (string | undefined)[] = [];
    let startingToken = "";
    do {
      const page = await driver.controller.ListSnapshots({ sourceVolumeId: one.volumeId, maxEntries: 2, startingToken });
      expect(page.entries.length).toBeLessThanOrEqual(2);
      listed.push(...page.entries.map((entry) => entry.snapshot?.snapshotId));
      startingToken = page.nextToken;
    } while (startingToken !== "");
    expect(listed).toEqual(made.sort());
    expect((await driver.controller.ListSnapshots({ snapshotId: made[0] ?? "" })).entries).toHaveLength(1);
    expect((await driver.controller.ListSnapshots({ snapshotId: "snap-x" })).entries).toEqual([]);
    await expect(driver.controller.ListSnapshots({ startingToken: "made up" })).rejects.toMatchObject({ code: "CSI_BUSY" });
  });
});

describe("clones", () => {
  it("copy a volume as it is now", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    writeFileSync(join(dataOf(volumeId), "file"), "now");
    const clone = await create(driver, { name: "pvc-2", volumeContentSource: { volume: { volumeId } } });
    expect(readFileSync(join(dataOf(clone.volumeId), "file"), "utf8")).toBe("now");
  });
});

describe("volumes", () => {
  it("are listed with the nodes that use them", async () => {
    const driver = await bench.start("node-1", { abilities: unprivileged });
    const { volumeId } = await create(driver);
    await driver.node.stage({ volumeHandle: volumeId, volumeMode: "Filesystem", accessModes: [] }, bench.path("node-1", "staging"));
    expect(await driver.controller.ListVolumes({})).toMatchObject({
      entries: [{ volume: { volumeId }, status: { publishedNodeIds: ["node-1"] } }],
      nextToken: "",
    });
  });

  it("grow and never shrink", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    const expand = (bytes: number) => driver.controller.ControllerExpandVolume({ volumeId, capacityRange: { requiredBytes: String(bytes) } });
    expect(await expand(16 * MIB)).toEqual({ capacityBytes: String(16 * MIB), nodeExpansionRequired: false });
    expect(await expand(4 * MIB)).toEqual({ capacityBytes: String(16 * MIB), nodeExpansionRequired: false });
    await expect(expand(0)).rejects.toMatchObject({ code: "CSI_INVALID" });
    await expect(driver.controller.ControllerExpandVolume({ volumeId: "vol-x", capacityRange: { requiredBytes: "1" } })).rejects.toMatchObject({
      code: "CSI_NOT_FOUND",
    });
  });

  it("confirm the capabilities they have, and say why not the others", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    const validate = (capability: typeof block | typeof readers) =>
      driver.controller.ValidateVolumeCapabilities({ volumeId, volumeCapabilities: [capability] });
    expect((await validate(readers)).confirmed?.volumeCapabilities).toMatchObject([{ accessMode: { mode: "MULTI_NODE_READER_ONLY" } }]);
    expect(await validate(block)).toMatchObject({ confirmed: null, message: expect.stringContaining("mode Filesystem") });
    await expect(driver.controller.ValidateVolumeCapabilities({ volumeId: "vol-x", volumeCapabilities: [readers] })).rejects.toMatchObject({
      code: "CSI_NOT_FOUND",
    });
    await expect(driver.controller.ValidateVolumeCapabilities({ volumeId })).rejects.toMatchObject({ code: "CSI_INVALID" });
  });
});

describe("several instances", () => {
  it("share one storage: all of a burst of volumes are kept, and each instance sees them", async () => {
    const [one, two] = [await bench.start("node-1"), await bench.start("node-2")];
    const names = Array.from({ length: 12 }, (_, index) => `pvc-${index}`);
    const made = await Promise.all(names.map((name, index) => create(index % 2 === 0 ? one : two, { name })));
    const listed = (await two.controller.ListVolumes({})).entries.map((entry) => entry.volume?.volumeId);
    expect(listed).toEqual(made.map((volume) => volume.volumeId).sort());
  });

  it("answer the same when both are asked for the same name at once", async () => {
    const [one, two] = [await bench.start("node-1"), await bench.start("node-2")];
    const [first, second] = await Promise.all([create(one), create(two)]);
    expect(second).toEqual(first);
    expect(inStorage("tmp")).toEqual([]);
  });
});

describe("faults", () => {
  it("strike as often as they say; an answer that is lost leaves work that the next call finds", async () => {
    const driver = await bench.start("node-1", {
      faults: {
        faults: [
          { method: "CreateVolume", times: 1, status: "UNAVAILABLE" },
          { method: "CreateVolume", times: 1, status: "DEADLINE_EXCEEDED", lost: true },
        ],
      },
    });
    await expect(create(driver)).rejects.toMatchObject({ code: "CSI_UNAVAILABLE" });
    expect(inStorage("volumes")).toEqual([]);
    await expect(create(driver)).rejects.toMatchObject({ code: "CSI_UNAVAILABLE" });
    expect(inStorage("volumes")).toEqual([(await create(driver)).volumeId]);
  });

  it("answer ABORTED to a second operation on what is being changed", async () => {
    const driver = await bench.start();
    const { volumeId } = await create(driver);
    const results = await Promise.allSettled([driver.controller.DeleteVolume({ volumeId }), driver.controller.DeleteVolume({ volumeId })]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected"]);
    expect(results[1]).toMatchObject({ reason: { code: "CSI_BUSY" } });
  });
});

describe("startCsiDriver", () => {
  it("refuses storage whose record it cannot understand", async () => {
    await bench.stop(await bench.start());
    writeFileSync(join(bench.storage, "state.json"), "{}");
    await expect(bench.start()).rejects.toMatchObject({ code: "PATH_IO", message: expect.stringContaining("state.json") });
  });

  it("removes what stands in place and is in no record, but nothing where there is no record at all", async () => {
    const first = await bench.start();
    const { volumeId } = await create(first);
    await bench.stop(first);
    mkdirSync(join(bench.storage, "volumes", "orphan"));
    await bench.stop(await bench.start());
    expect(inStorage("volumes")).toEqual([volumeId]);
    rmSync(join(bench.storage, "state.json"));
    await bench.start();
    expect(inStorage("volumes")).toEqual([volumeId]);
  });

  it("removes what a process that is gone left half done, and leaves what a living one does", async () => {
    await bench.stop(await bench.start());
    const left = (pid: number): string => join(bench.storage, "tmp", `${pid}.0011223344556677`);
    writeFileSync(left(2 ** 22 + 1), "");
    writeFileSync(left(process.pid), "");
    await bench.start();
    expect([existsSync(left(2 ** 22 + 1)), existsSync(left(process.pid))]).toEqual([false, true]);
  });
});
