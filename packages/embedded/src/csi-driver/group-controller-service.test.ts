import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CreateVolumeRequest, type CsiVolumeGroupSnapshot, connectCsi, type Sendable } from "@drayage/protocols/csi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { detectHostAbilities } from "./host-abilities.ts";
import { DriverBench, nodeVolume, type RunningDriver, volumeRequest } from "./testing/driver-bench.ts";

let bench: DriverBench;
beforeEach(() => {
  bench = new DriverBench();
});
afterEach(() => bench.end());

const host = detectHostAbilities();

async function create({ controller }: RunningDriver, name: string, request: Partial<Sendable<CreateVolumeRequest>> = {}): Promise<string> {
  return (await controller.CreateVolume(volumeRequest({ name, ...request }))).volume?.volumeId ?? "";
}

async function cut({ controller }: RunningDriver, name: string, ...sourceVolumeIds: string[]): Promise<CsiVolumeGroupSnapshot> {
  const { groupSnapshot } = await controller.groups.CreateVolumeGroupSnapshot({ name, sourceVolumeIds });
  if (groupSnapshot === null) throw new Error("no group in the answer");
  return groupSnapshot;
}

const volumeFile = (id: string, name: string): string => join(bench.storage, "volumes", id, "data", name);
const inStorage = (folder: string): string[] => readdirSync(join(bench.storage, folder));

describe("a group snapshot", () => {
  it("holds every volume as it was, by one time, and the same answer comes when it is asked for again", async () => {
    const driver = await bench.start();
    const volumes = [await create(driver, "pvc-1"), await create(driver, "pvc-2")];
    for (const id of volumes) writeFileSync(volumeFile(id, "file"), `before of ${id}`);
    const group = await cut(driver, "g", ...volumes);
    for (const id of volumes) writeFileSync(volumeFile(id, "file"), "after");
    expect(group.readyToUse).toBe(true);
    expect(group.snapshots.map(({ sourceVolumeId }) => sourceVolumeId)).toEqual(volumes.toSorted());
    expect(new Set(group.snapshots.map(({ creationTime }) => creationTime?.seconds))).toEqual(new Set([group.creationTime?.seconds]));
    expect(await cut(driver, "g", ...volumes.toReversed())).toEqual(group);
    expect((await driver.controller.groups.GetVolumeGroupSnapshot({ groupSnapshotId: group.groupSnapshotId })).groupSnapshot).toEqual(group);
    for (const { snapshotId, sourceVolumeId } of group.snapshots) {
      const restored = await create(driver, `of ${snapshotId}`, { volumeContentSource: { snapshot: { snapshotId } } });
      expect(readFileSync(volumeFile(restored, "file"), "utf8")).toBe(`before of ${sourceVolumeId}`);
    }
  });

  it("is offered by the driver, and becomes ready with its members", async () => {
    const driver = await bench.start("node-1", { snapshotProcessingMs: 5_000 });
    const { identity, close } = connectCsi(driver.driver.socketPath);
    expect((await identity.GetPluginCapabilities({})).capabilities).toContainEqual(expect.objectContaining({ service: { type: "GROUP_CONTROLLER_SERVICE" } }));
    close();
    const id = await create(driver, "pvc-1");
    expect((await cut(driver, "g", id)).readyToUse).toBe(false);
    await bench.clock.advance(5_000);
    expect((await cut(driver, "g", id)).readyToUse).toBe(true);
  });

  it("goes with all its members, once, and again without complaint", async () => {
    const driver = await bench.start();
    const volumes = [await create(driver, "pvc-1"), await create(driver, "pvc-2")];
    const { groupSnapshotId, snapshots } = await cut(driver, "g", ...volumes);
    const snapshotIds = snapshots.map(({ snapshotId }) => snapshotId);
    await driver.controller.groups.DeleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds });
    await driver.controller.groups.DeleteVolumeGroupSnapshot({ groupSnapshotId, snapshotIds });
    expect(inStorage("snapshots")).toEqual([]);
    await expect(driver.controller.groups.GetVolumeGroupSnapshot({ groupSnapshotId })).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
  });

  it("loses its members one by one when these are deleted alone, and is gone with the last", async () => {
    const driver = await bench.start();
    const { groupSnapshotId, snapshots } = await cut(driver, "g", await create(driver, "pvc-1"), await create(driver, "pvc-2"));
    const [one, two] = snapshots.map(({ snapshotId }) => snapshotId);
    await driver.controller.DeleteSnapshot({ snapshotId: one });
    expect((await driver.controller.groups.GetVolumeGroupSnapshot({ groupSnapshotId })).groupSnapshot?.snapshots).toHaveLength(1);
    await driver.controller.DeleteSnapshot({ snapshotId: two });
    await expect(driver.controller.groups.GetVolumeGroupSnapshot({ groupSnapshotId })).rejects.toMatchObject({ code: "CSI_NOT_FOUND" });
    expect(inStorage("snapshots")).toEqual([]);
  });

  it("is not there at all when one of its volumes cannot be copied", async () => {
    const driver = await bench.start();
    const volumes = [await create(driver, "pvc-1"), await create(driver, "pvc-2")];
    const inTheWay = join(bench.storage, "volumes", volumes[1] ?? "", "image");
    mkdirSync(inTheWay);
    const record = readFileSync(join(bench.storage, "state.json"), "utf8");
    const wrong = JSON.parse(record);
    wrong.volumes[volumes[1] ?? ""].backing = "image";
    writeFileSync(join(bench.storage, "state.json"), JSON.stringify(wrong));
    await expect(cut(driver, "g", ...volumes)).rejects.toThrow("EISDIR");
    expect([inStorage("snapshots"), inStorage("tmp")]).toEqual([[], []]);
    writeFileSync(join(bench.storage, "state.json"), record);
    expect((await cut(driver, "g", ...volumes)).snapshots).toHaveLength(2);
  });

  it.each([
    ["no name", (id: string) => ({ name: "", sourceVolumeIds: [id] }), "CSI_INVALID"],
    ["no volumes", () => ({ name: "g", sourceVolumeIds: [] }), "CSI_INVALID"],
    ["a volume without an id", (id: string) => ({ name: "g", sourceVolumeIds: [id, ""] }), "CSI_INVALID"],
    ["a volume twice", (id: string) => ({ name: "g", sourceVolumeIds: [id, id] }), "CSI_INVALID"],
    ["a volume that is not there", (id: string) => ({ name: "g", sourceVolumeIds: [id, "vol-x"] }), "CSI_NOT_FOUND"],
    ["more volumes than can be held still", () => ({ name: "g", sourceVolumeIds: Array.from({ length: 257 }, (_, n) => `v${n}`) }), "CSI_INVALID"],
  ])("is refused with %s", async (_what, request, code) => {
    const driver = await bench.start();
    const id = await create(driver, "pvc-1");
    await expect(driver.controller.groups.CreateVolumeGroupSnapshot(request(id))).rejects.toMatchObject({ code });
    expect(inStorage("snapshots")).toEqual([]);
  });

  it("is refused under a name that other volumes have, and to callers who know other members", async () => {
    const driver = await bench.start();
    const [one, two] = [await create(driver, "pvc-1"), await create(driver, "pvc-2")];
    const { groupSnapshotId } = await cut(driver, "g", one);
    await expect(cut(driver, "g", one, two)).rejects.toMatchObject({ code: "CSI_ALREADY_EXISTS" });
    const { snapshot } = await driver.controller.CreateSnapshot({ name: "alone", sourceVolumeId: two });
    const wrong = { groupSnapshotId, snapshotIds: [snapshot?.snapshotId ?? ""] };
    await expect(driver.controller.groups.GetVolumeGroupSnapshot(wrong)).rejects.toMatchObject({ code: "CSI_INVALID" });
    await expect(driver.controller.groups.DeleteVolumeGroupSnapshot(wrong)).rejects.toMatchObject({ code: "CSI_INVALID" });
    expect(inStorage("snapshots")).toHaveLength(2);
  });

  it("of file systems of their own never has a later write without the earlier one, while both are written to", async () => {
    const driver = await bench.start();
    const image = { parameters: { backing: "image" } };
    if (!host.loopDevices) {
      await expect(create(driver, "pvc-1", image)).rejects.toMatchObject({ code: "CSI_PRECONDITION" });
      return;
    }
    const volumes = [await create(driver, "pvc-1", image), await create(driver, "pvc-2", image)];
    const places: string[] = [];
    for (const id of volumes) places.push(await publish(driver, id));
    // Counts: first in one volume, then in the other.
    const script = 'n=0; while :; do n=$((n+1)); echo $n > "$1/next"; mv "$1/next" "$1/count"; echo $n > "$2/next"; mv "$2/next" "$2/count"; done';
    const writer = spawn("sh", ["-c", script, "sh", ...places], { stdio: "ignore" });
    const counts: number[][] = [];
    try {
      await expect.poll(() => places.every((place) => existsSync(join(place, "count")))).toBe(true);
      for (const name of ["g1", "g2", "g3"]) {
        const { snapshots } = await cut(driver, name, ...volumes);
        const pair: number[] = [];
        for (const id of volumes) {
          const snapshotId = snapshots.find(({ sourceVolumeId }) => sourceVolumeId === id)?.snapshotId ?? "";
          const restored = await publish(driver, await create(driver, `${name} ${id}`, { volumeContentSource: { snapshot: { snapshotId } } }));
          pair.push(Number(readFileSync(join(restored, "count"), "utf8")));
        }
        counts.push(pair);
      }
    } finally {
      const ended = new Promise<void>((resolve) => writer.once("close", () => resolve()));
      writer.kill("SIGKILL");
      await ended;
    }
    expect(counts.map(([first = 0, second = 0]) => first > 0 && [0, 1].includes(first - second))).toEqual([true, true, true]);
  });
});

async function publish({ node }: RunningDriver, id: string): Promise<string> {
  const [stagingPath, targetPath] = [bench.path("node-1", id, "staging"), bench.path("node-1", id, "mount")];
  await node.stage(nodeVolume(id), stagingPath);
  await node.publish(nodeVolume(id), { stagingPath, targetPath, readOnly: false });
  return targetPath;
}
