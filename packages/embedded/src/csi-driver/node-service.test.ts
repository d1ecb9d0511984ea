import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { CreateVolumeRequest, Sendable } from "@drayage/protocols/csi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { detectHostAbilities, type HostAbilities } from "./host-abilities.ts";
import { findMount, listMounts, parseMountInfo } from "./mounts.ts";
import type { NodeVolume } from "./node-client.ts";
import { releaseStorage } from "./release-storage.ts";
import { block, DriverBench, MIB, nodeVolume, type RunningDriver, readers, volumeRequest } from "./testing/driver-bench.ts";

let bench: DriverBench;
beforeEach(() => {
  bench = new DriverBench();
});
afterEach(() => bench.end());

/** What this machine lets the tests do. A test of what it does not permit asserts that this is said, and nothing is passed off for it. */
const host = detectHostAbilities();
const unprivileged: HostAbilities = { mount: false, loopDevices: false };

async function create({ controller }: RunningDriver, request: Partial<Sendable<CreateVolumeRequest>> = {}): Promise<string> {
  const { volume } = await controller.CreateVolume(volumeRequest(request));
  return volume?.volumeId ?? "";
}

async function snapshotOf({ controller }: RunningDriver, sourceVolumeId: string, name = "snapshot-1"): Promise<string> {
  return (await controller.CreateSnapshot({ name, sourceVolumeId })).snapshot?.snapshotId ?? "";
}

/** Stages and publishes a volume for one pod and returns where the pod sees it. */
async function publish(
  { node, driver }: RunningDriver,
  volume: NodeVolume,
  options: { readonly pod?: string; readonly readOnly?: boolean } = {},
): Promise<string> {
  const at = driver.socketPath.replace(/.*\/(.*)\.sock/, "$1");
  const stagingPath = bench.path(at, volume.volumeHandle, "staging");
  const targetPath = bench.path(at, volume.volumeHandle, options.pod ?? "pod", "mount");
  await node.stage(volume, stagingPath);
  await node.publish(volume, { stagingPath, targetPath, readOnly: options.readOnly ?? false });
  return targetPath;
}

async function unpublish({ node, driver }: RunningDriver, volumeHandle: string, targets: readonly string[]): Promise<void> {
  const at = driver.socketPath.replace(/.*\/(.*)\.sock/, "$1");
  for (const target of targets) await node.unpublish(volumeHandle, target);
  await node.unstage(volumeHandle, bench.path(at, volumeHandle, "staging"));
}

const attachedImages = (): string => execFileSync("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"], { encoding: "utf8" });

describe("a filesystem volume", () => {
  it("is the same folder for every pod on every node, and keeps its files when it is taken away", async () => {
    const [one, two] = [await bench.start("node-1"), await bench.start("node-2")];
    const volume = nodeVolume(await create(one), { accessModes: ["ReadWriteMany"] });
    const here = await publish(one, volume);
    writeFileSync(join(here, "file"), "written on node-1");
    const there = await publish(two, volume);
    expect(readFileSync(join(there, "file"), "utf8")).toBe("written on node-1");
    await unpublish(one, volume.volumeHandle, [here]);
    await unpublish(two, volume.volumeHandle, [there]);
    expect([existsSync(here), existsSync(there)]).toEqual([false, false]);
    expect(readFileSync(join(await publish(two, volume), "file"), "utf8")).toBe("written on node-1");
  });

  it("may be staged, published, unpublished and unstaged again and again", async () => {
    const driver = await bench.start();
    const volume = nodeVolume(await create(driver));
    const target = await publish(driver, volume);
    expect(await publish(driver, volume)).toBe(target);
    await unpublish(driver, volume.volumeHandle, [target]);
    await unpublish(driver, volume.volumeHandle, [target]);
    expect((await listMounts()).filter((mount) => mount.target.startsWith(bench.folder))).toEqual([]);
  });

  it("is open to every user when it is new", async () => {
    const driver = await bench.start();
    expect(statSync(await publish(driver, nodeVolume(await create(driver)))).mode & 0o777).toBe(0o777);
  });

  it("cannot be written to where it is published read-only, and can beside it", async () => {
    const driver = await bench.start();
    const volume = nodeVolume(await create(driver));
    const writable = await publish(driver, volume);
    const readOnly = await publish(driver, volume, { pod: "reader", readOnly: true });
    writeFileSync(join(writable, "file"), "");
    if (host.mount) expect(() => writeFileSync(join(readOnly, "other"), "")).toThrow("EROFS");
    else expect(lstatSync(readOnly).isSymbolicLink()).toBe(true);
    expect(existsSync(join(readOnly, "file"))).toBe(true);
  });

  it("cannot change between read-only and writable where it is", async () => {
    const driver = await bench.start();
    const volume = nodeVolume(await create(driver));
    await publish(driver, volume);
    const again = publish(driver, volume, { readOnly: true });
    if (host.mount) await expect(again).rejects.toMatchObject({ code: "CSI_ALREADY_EXISTS" });
    else await again;
  });

  it("is a link to its folder where nothing can be mounted", async () => {
    const driver = await bench.start("node-1", { abilities: unprivileged });
    const volumeId = await create(driver);
    const target = await publish(driver, nodeVolume(volumeId));
    expect(readlinkSync(target)).toBe(join(bench.storage, "volumes", volumeId, "data"));
    await unpublish(driver, volumeId, [target]);
    expect(lstatSync(target, { throwIfNoEntry: false })).toBeUndefined();
  });

  it("keeps hard links, holes, modes and times through a snapshot and its restore", async () => {
    const driver = await bench.start();
    const source = await publish(driver, nodeVolume(await create(driver)));
    writeFileSync(join(source, "file"), "linked", { mode: 0o640 });
    linkSync(join(source, "file"), join(source, "link"));
    execFileSync("touch", ["--date", "2001-02-03T04:05:06.789Z", join(source, "file")]);
    const sparse = openSync(join(source, "sparse"), "w");
    writeSync(sparse, "end", 4 * MIB);
    closeSync(sparse);
    mkdirSync(join(source, "ünïcode \n name"));
    const snapshotId = await snapshotOf(driver, source.split("/").at(-3) ?? "");
    const restored = await publish(driver, nodeVolume(await create(driver, { name: "restored", volumeContentSource: { snapshot: { snapshotId } } })));
    const [file, link] = [statSync(join(restored, "file")), statSync(join(restored, "link"))];
    expect([file.ino, file.mode & 0o777, file.mtime.toISOString()]).toEqual([link.ino, 0o640, "2001-02-03T04:05:06.789Z"]);
    expect(statSync(join(restored, "sparse")).size).toBe(4 * MIB + 3);
    expect(statSync(join(restored, "sparse")).blocks * 512).toBeLessThan(MIB);
    expect(existsSync(join(restored, "ünïcode \n name"))).toBe(true);
  });

  it("shows its snapshot read-only where nobody may write", async () => {
    const driver = await bench.start();
    const source = await create(driver);
    writeFileSync(join(await publish(driver, nodeVolume(source)), "file"), "seen");
    const snapshotId = await snapshotOf(driver, source);
    const shallow = await create(driver, { name: "shallow", volumeContentSource: { snapshot: { snapshotId } }, volumeCapabilities: [readers] });
    const target = await publish(driver, nodeVolume(shallow, { accessModes: ["ReadOnlyMany"] }));
    expect(readFileSync(join(target, "file"), "utf8")).toBe("seen");
    if (host.mount) expect(() => writeFileSync(join(target, "file"), "changed")).toThrow("EROFS");
  });

  it("is measured where it is published, and nowhere else", async () => {
    const driver = await bench.start();
    const volumeId = await create(driver);
    const usage = await driver.node.stats(volumeId, await publish(driver, nodeVolume(volumeId)));
    expect(usage.map(({ unit }) => unit)).toEqual(["BYTES", "INODES"]);
    expect(Number(usage[0]?.total)).toBeGreaterThan(8 * MIB);
    await expect(driver.node.stats(volumeId, bench.path("elsewhere"))).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
  });
});

describe("a node", () => {
  it("says who it is and which labels it needs", async () => {
    const { node } = await bench.start("node-7", { driverName: "other.example.com" });
    expect(await node.info()).toEqual({ driverName: "other.example.com", nodeId: "node-7", topology: { "topology.other.example.com/node": "node-7" } });
  });
});

describe("a volume with a file system of its own", () => {
  const image = { parameters: { backing: "image" } };

  it("is full when it is full", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, image)).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volumeId = await create(driver, image);
    const target = await publish(driver, nodeVolume(volumeId));
    expect(statSync(target).mode & 0o777).toBe(0o777);
    expect(() => writeFileSync(join(target, "large"), new Uint8Array(9 * MIB))).toThrow("ENOSPC");
    await unpublish(driver, volumeId, [target]);
    expect(attachedImages()).not.toContain(bench.folder);
  });

  it("is used as a device while nobody uses its files, and the other way round", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, image)).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volumeId = await create(driver, image);
    const files = await publish(driver, nodeVolume(volumeId));
    writeFileSync(join(files, "file"), "written as a file");
    await expect(publish(driver, nodeVolume(volumeId, { volumeMode: "Block" }))).rejects.toThrow("it has mode Filesystem, Block is wanted");
    await unpublish(driver, volumeId, [files]);
    const device = await publish(driver, nodeVolume(volumeId, { volumeMode: "Block" }));
    expect(statSync(device).isBlockDevice()).toBe(true);
    await unpublish(driver, volumeId, [device]);
    expect(readFileSync(join(await publish(driver, nodeVolume(volumeId)), "file"), "utf8")).toBe("written as a file");
  });

  it("that holds a driver's own storage lets a copy fail for want of space, and nothing of the copy stays", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, image)).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const disk = await publish(driver, nodeVolume(await create(driver, { ...image, capacityRange: { requiredBytes: String(16 * MIB) } })));
    const inner = await bench.start("node-2", { stateDirectory: join(disk, "storage") });
    const volumeId = await create(inner);
    writeFileSync(join(disk, "storage", "volumes", volumeId, "data", "large"), new Uint8Array(10 * MIB));
    await expect(snapshotOf(inner, volumeId)).rejects.toMatchObject({ code: "CSI_NO_SPACE", message: expect.stringContaining("No space left on device") });
    expect([readdirSync(join(disk, "storage", "tmp")), readdirSync(join(disk, "storage", "snapshots"))]).toEqual([[], []]);
    expect((await inner.controller.ListSnapshots({})).entries).toEqual([]);
  });

  it("is copied whole while it is written to, and may be restored larger", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, image)).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const source = await create(driver, image);
    const target = await publish(driver, nodeVolume(source));
    // Written and not synchronised: only a frozen file system has it in the image.
    writeFileSync(join(target, "file"), new Uint8Array(2 * MIB).fill(7));
    const snapshotId = await snapshotOf(driver, source);
    writeFileSync(join(target, "later"), "the file system is thawed again");
    const restored = await create(driver, {
      name: "restored",
      volumeContentSource: { snapshot: { snapshotId } },
      capacityRange: { requiredBytes: String(32 * MIB) },
    });
    const there = await publish(driver, nodeVolume(restored));
    expect(readFileSync(join(there, "file")).every((byte) => byte === 7)).toBe(true);
    expect(existsSync(join(there, "later"))).toBe(false);
    writeFileSync(join(there, "large"), new Uint8Array(16 * MIB));
  });
});

describe("a block volume", () => {
  it("is a real block device that every pod of the node shares, or is refused where there can be none", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({
        code: "CSI_PRECONDITION",
        message: expect.stringContaining("Run as root"),
      });
      return;
    }
    const volume = nodeVolume(await create(driver, { volumeCapabilities: [block] }), { volumeMode: "Block" });
    const [one, two] = [await publish(driver, volume, { pod: "one" }), await publish(driver, volume, { pod: "two" })];
    expect(statSync(one).isBlockDevice()).toBe(true);
    expect(statSync(two).rdev).toBe(statSync(one).rdev);
    expect(execFileSync("blockdev", ["--getsize64", one], { encoding: "utf8" }).trim()).toBe(String(8 * MIB));
    await unpublish(driver, volume.volumeHandle, [one, two]);
    expect(existsSync(one)).toBe(false);
    expect(attachedImages()).not.toContain(bench.folder);
  });

  it("keeps its bytes through a snapshot, a clone and a restore", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const source = await create(driver, { volumeCapabilities: [block] });
    const device = await publish(driver, nodeVolume(source, { volumeMode: "Block" }));
    const text = Buffer.from("written through the page cache of the device");
    writeTo(device, text);
    const snapshotId = await snapshotOf(driver, source);
    const cloned = await create(driver, { name: "clone", volumeContentSource: { volume: { volumeId: source } }, volumeCapabilities: [block] });
    writeTo(device, Buffer.alloc(text.length));
    const restored = await create(driver, { name: "restored", volumeContentSource: { snapshot: { snapshotId } }, volumeCapabilities: [block] });
    for (const copy of [cloned, restored]) {
      expect(readFrom(await publish(driver, nodeVolume(copy, { volumeMode: "Block" })), text.length)).toEqual(text);
    }
  });

  it("refuses writes through a read-only place, and takes that place's device away with it", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volume = nodeVolume(await create(driver, { volumeCapabilities: [block] }), { volumeMode: "Block" });
    const writable = await publish(driver, volume);
    const readOnly = await publish(driver, volume, { pod: "reader", readOnly: true });
    expect(() => writeTo(readOnly, Buffer.from("refused"))).toThrow(/EPERM|EACCES|EROFS/);
    await driver.node.unpublish(volume.volumeHandle, readOnly);
    expect(
      attachedImages()
        .split("\n")
        .filter((path) => path.startsWith(bench.folder)),
    ).toHaveLength(1);
    writeTo(writable, Buffer.from("still there"));
  });

  it("grows under a pod", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volumeId = await create(driver, { volumeCapabilities: [block] });
    const device = await publish(driver, nodeVolume(volumeId, { volumeMode: "Block" }));
    const expanded = await driver.controller.ControllerExpandVolume({ volumeId, capacityRange: { requiredBytes: String(16 * MIB) } });
    expect(expanded).toEqual({ capacityBytes: String(16 * MIB), nodeExpansionRequired: true });
    await driver.node.expand(volumeId, device);
    expect(execFileSync("blockdev", ["--getsize64", device], { encoding: "utf8" }).trim()).toBe(String(16 * MIB));
  });
});

describe("refusals of a node", () => {
  it.each([
    ["an unknown volume", "vol-x", {}, "CSI_NOT_FOUND"],
    ["no volume", "", {}, "CSI_INVALID"],
    ["another mode", undefined, { volumeMode: "Block" }, "CSI_PRECONDITION"],
  ] as const)("to stage %s", async (_what, handle, volume, code) => {
    const driver = await bench.start();
    const volumeId = handle ?? (await create(driver));
    await expect(driver.node.stage(nodeVolume(volumeId, volume), bench.path("staging"))).rejects.toMatchObject({ code });
  });

  it("to stage a volume of another node", async () => {
    const [one, two] = [await bench.start("node-1"), await bench.start("node-2")];
    const volumeId = await create(one, { parameters: { topology: "node" } });
    await expect(two.node.stage(nodeVolume(volumeId), bench.path("staging"))).rejects.toMatchObject({
      code: "CSI_PRECONDITION",
      message: `Cannot stage volume "${volumeId}": it is on node "node-1", this is "node-2"`,
    });
  });

  it("to stage a volume at a second path", async () => {
    const driver = await bench.start();
    const volume = nodeVolume(await create(driver));
    await driver.node.stage(volume, bench.path("one"));
    await expect(driver.node.stage(volume, bench.path("two"))).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
  });

  it("to publish what is not staged", async () => {
    const driver = await bench.start();
    const volume = nodeVolume(await create(driver));
    const at = { stagingPath: bench.path("staging"), targetPath: bench.path("target"), readOnly: false };
    await expect(driver.node.publish(volume, at)).rejects.toMatchObject({ code: "CSI_PRECONDITION", message: expect.stringContaining("not staged") });
    await expect(driver.node.publish(volume, { ...at, targetPath: "" })).rejects.toMatchObject({ code: "CSI_INVALID" });
  });
});

describe("after a kill", () => {
  it("another instance of the node finds what is mounted, and goes on", async () => {
    const first = await bench.start();
    const volume = nodeVolume(await create(first));
    const target = await publish(first, volume);
    await bench.stop(first);
    const second = await bench.start();
    expect(await publish(second, volume)).toBe(target);
    await unpublish(second, volume.volumeHandle, [target]);
    await second.controller.DeleteVolume({ volumeId: volume.volumeHandle });
  });

  it("a mount that was made before it could be written down is replaced, not doubled", async () => {
    const driver = await bench.start("node-1", host.mount ? {} : { abilities: unprivileged });
    const volume = nodeVolume(await create(driver));
    const record = join(bench.storage, "state.json");
    const before = readFileSync(record);
    await publish(driver, volume);
    writeFileSync(record, before);
    await publish(driver, volume);
    const staged = (await listMounts()).filter((mount) => mount.target.startsWith(bench.folder) && mount.target.endsWith("staging"));
    expect(staged).toHaveLength(host.mount ? 1 : 0);
  });

  it("a block volume whose device was attached before it could be written down is deleted with it", async () => {
    const driver = await bench.start();
    if (!host.loopDevices) {
      await expect(create(driver, { volumeCapabilities: [block] })).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volumeId = await create(driver, { volumeCapabilities: [block] });
    execFileSync("losetup", ["--find", join(bench.storage, "volumes", volumeId, "image")]);
    await driver.controller.DeleteVolume({ volumeId });
    expect(attachedImages()).not.toContain(bench.folder);
  });

  it("releaseStorage leaves nothing mounted or attached", async () => {
    const driver = await bench.start();
    await publish(driver, nodeVolume(await create(driver)));
    if (host.loopDevices) await publish(driver, nodeVolume(await create(driver, { name: "block", volumeCapabilities: [block] }), { volumeMode: "Block" }));
    const released = await releaseStorage(bench.folder);
    expect(released.unmounted.length > 0).toBe(host.mount);
    expect(released.detached.length > 0).toBe(host.loopDevices);
    expect(await releaseStorage(bench.folder)).toEqual({ unmounted: [], detached: [] });
  });
});

describe("parseMountInfo", () => {
  it("reads options, optional fields and escaped names", () => {
    const text = "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 shared:2 - ext3 /dev/ro\\134ot rw\n37 35 0:5 / / ro - tmpfs none rw\n";
    expect(parseMountInfo(text)).toEqual([
      { target: "/mnt/a b", readOnly: false, fsType: "ext3", source: "/dev/ro\\ot", root: "/mnt1" },
      { target: "/", readOnly: true, fsType: "tmpfs", source: "none", root: "/" },
    ]);
  });

  it("finds the topmost mount at a path", async () => {
    expect((await findMount("/proc"))?.fsType).toBe("proc");
    expect(await findMount(bench.folder)).toBeUndefined();
  });
});

function writeTo(device: string, bytes: Buffer): void {
  const file = openSync(device, "r+");
  try {
    writeSync(file, bytes, 0, bytes.length, 4096);
  } finally {
    closeSync(file);
  }
}

function readFrom(device: string, length: number): Buffer {
  const file = openSync(device, "r");
  const bytes = Buffer.alloc(length);
  readSync(file, bytes, 0, length, 4096);
  closeSync(file);
  return bytes;
}
