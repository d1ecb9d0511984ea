import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DirectoryListingWriter, loadDirectory, ObjectWriter, parseSnapshotSource } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deviceBytesOf, isBlockSnapshot } from "./restore/block-snapshot.ts";
import { restoreSnapshot } from "./restore/restore-snapshot.ts";
import { patternBytes } from "./testing/index.ts";
import { uploadSnapshot } from "./upload/upload-snapshot.ts";

const SIZE = (24 << 20) + 512;
const snapshotSource = parseSnapshotSource("default@default:snapshot-data-upload-download/kopia/ns/pvc");

// Only root attaches loop devices; a regular file is no stand-in for a device.
if (process.getuid?.() === 0) {
  describe("block devices", () => {
    let folder: string;
    let devices: string[];

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "block-"));
      devices = [];
    });
    afterEach(() => {
      for (const device of devices) execFileSync("losetup", ["--detach", device]);
      rmSync(folder, { recursive: true, force: true });
    });

    function attach(name: string, bytes: number, fill?: Buffer): { readonly device: string; readonly image: string } {
      const image = join(folder, name);
      writeFileSync(image, fill ?? "");
      truncateSync(image, bytes);
      const device = execFileSync("losetup", ["--find", "--show", "--direct-io=on", image], { encoding: "utf8" }).trim();
      devices.push(device);
      return { device, image };
    }

    function writeImage(image: string, parts: readonly (readonly [offset: number, data: Buffer])[]): void {
      const fd = openSync(image, "r+");
      for (const [offset, data] of parts) writeSync(fd, data, 0, data.length, offset);
      closeSync(fd);
    }

    async function uploaded() {
      const { device, image } = attach("source", SIZE);
      writeImage(image, [
        [0, patternBytes(100_000, 1)],
        [7 << 20, patternBytes(3 << 20, 2)],
        [SIZE - 512, patternBytes(512, 3)],
      ]);
      execFileSync("blockdev", ["--flushbufs", device]);
      const { repository, contents } = memoryRepository({ splitter: "DYNAMIC-4M-BUZHASH" });
      const result = await uploadSnapshot({ repository, source: { kind: "block", path: device }, snapshotSource, clock: repository.clock });
      return { device, image, repository, contents, ...result };
    }

    it("are stored in Velero's form: a directory of their name with one file of it", async () => {
      const { device, repository, rootEntry, stats } = await uploaded();
      expect(rootEntry).toMatchObject({ name: device, type: "directory", mode: 0o777, mtimeNs: -6_795_364_578_871_345_152n });
      expect(await loadDirectory(repository.objects, rootEntry.objectId, 2)).toMatchObject([{ name: device, type: "file", mode: 0o777, size: SIZE }]);
      expect(stats).toMatchObject({ fileCount: 1, totalSize: SIZE });
      expect(await isBlockSnapshot(repository, rootEntry)).toBe(true);
    });

    it("have the size that the device states, and come back to the last sector over what was there before", async () => {
      const { image, repository, rootEntry } = await uploaded();
      const target = attach("target", SIZE + (1 << 20), patternBytes(SIZE + (1 << 20), 9));
      await restoreSnapshot({ repository, root: rootEntry, target: { kind: "block", path: target.device }, clock: repository.clock });
      execFileSync("blockdev", ["--flushbufs", target.device]);
      const restored = readFileSync(target.image);
      expect(restored.subarray(0, SIZE).equals(readFileSync(image))).toBe(true);
      // Beyond the snapshot's end nothing was touched.
      expect(restored.subarray(SIZE).equals(patternBytes(SIZE + (1 << 20), 9).subarray(SIZE))).toBe(true);
    });

    it("that are too small are refused before anything is written", async () => {
      const { repository, rootEntry } = await uploaded();
      const target = attach("target", 1 << 20, patternBytes(1 << 20, 9));
      await expect(restoreSnapshot({ repository, root: rootEntry, target: { kind: "block", path: target.device }, clock: repository.clock })).rejects.toThrow(
        expect.objectContaining({ code: "PATH_NO_SPACE" }),
      );
      expect(readFileSync(target.image).equals(patternBytes(1 << 20, 9))).toBe(true);
    });

    it("that Velero's block mover stored in whole blocks come back without what was padded", async () => {
      const { repository } = memoryRepository({ splitter: "DYNAMIC-4M-BUZHASH" });
      const data = Buffer.concat([patternBytes(3 << 20, 4), Buffer.alloc(2 << 20), patternBytes((1 << 20) + 512, 5)]);
      const object = new ObjectWriter(repository.objectWriters, { splitter: "FIXED-1M" });
      await object.write(data);
      await object.writeZeros((1 << 20) - 512);
      const { objectId, length } = await object.finish();
      expect([objectId[0], length]).toEqual(["I", 7 << 20]);
      const listing = new DirectoryListingWriter(repository.objectWriters);
      const facts = { mode: 0o777, uid: 0, gid: 0, mtimeNs: 0n };
      await listing.add({ ...facts, name: "ns-pvc", type: "file", size: length, objectId });
      const root = { ...facts, name: "", type: "directory" as const, size: 0, ...(await listing.finish({ mtimeNs: 0n })) };
      const deviceBytes = deviceBytesOf({ id: "1", tags: { "bdev-source-size": String(data.length) } });
      const target = attach("target", data.length, patternBytes(data.length, 9));
      const restore = (bytes: number | undefined) =>
        restoreSnapshot({
          repository,
          root,
          target: { kind: "block", path: target.device },
          clock: repository.clock,
          ...(bytes === undefined ? {} : { deviceBytes: bytes }),
        });
      await expect(restore(undefined)).rejects.toThrow(expect.objectContaining({ code: "PATH_NO_SPACE" }));
      expect((await restore(deviceBytes)).progress.filesDone).toBe(1);
      execFileSync("blockdev", ["--flushbufs", target.device]);
      expect(readFileSync(target.image).equals(data)).toBe(true);
    });

    it("zeros cost neither hashing nor space", async () => {
      const { device } = attach("empty", 1 << 30);
      const { repository, contents } = memoryRepository({ splitter: "DYNAMIC-4M-BUZHASH" });
      const { progress, rootEntry } = await uploadSnapshot({ repository, source: { kind: "block", path: device }, snapshotSource, clock: repository.clock });
      expect(progress.bytesDone).toBe(1 << 30);
      expect(contents.writes.length).toBeLessThan(10);
      const target = attach("target", 1 << 30);
      await restoreSnapshot({ repository, root: rootEntry, target: { kind: "block", path: target.device }, clock: repository.clock });
      expect(statSync(target.image).blocks * 512).toBeLessThan(1 << 20);
    });
  });
}

describe("what is no block device", () => {
  it("is refused by name", async () => {
    const { repository } = memoryRepository();
    await expect(uploadSnapshot({ repository, source: { kind: "block", path: "/dev/null" }, snapshotSource, clock: repository.clock })).rejects.toThrow(
      'Cannot upload "/dev/null" as a block device: it is none',
    );
  });
});

describe("deviceBytesOf()", () => {
  it("is what the tag says, if it says a size", () => {
    expect(deviceBytesOf({ id: "1", tags: {} })).toBeUndefined();
    expect(deviceBytesOf({ id: "1", tags: { "bdev-source-size": "5368709120" } })).toBe(5_368_709_120);
    for (const text of ["", "-1", "1e9", "99999999999999999"])
      expect(() => deviceBytesOf({ id: "1", tags: { "bdev-source-size": text } })).toThrow('Cannot restore snapshot "1": its tag bdev-source-size is');
  });
});
