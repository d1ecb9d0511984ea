import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loggerTo } from "@drayage/base";
import type { Extent } from "@drayage/kernels";
import {
  createRepository,
  DirectoryListingWriter,
  loadDirectory,
  type ObjectId,
  ObjectWriter,
  parseSnapshotSource,
  type Repository,
  type SnapshotSource,
} from "@drayage/repo";
import { MemoryStorage, memoryRepository, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deviceBytesOf, isBlockSnapshot } from "./restore/block-snapshot.ts";
import { restoreSnapshot } from "./restore/restore-snapshot.ts";
import { patternBytes } from "./testing/index.ts";
import type { BlockFormName } from "./upload/block-form.ts";
import { uploadSnapshot } from "./upload/upload-snapshot.ts";

const SIZE = (24 << 20) + 512;
const snapshotSource = parseSnapshotSource("default@default:snapshot-data-upload-download/kopia/ns/pvc");

function sourceOf(form: BlockFormName): SnapshotSource {
  return form === "stream" ? snapshotSource : parseSnapshotSource("default@default:snapshot-data-upload-download/velero-block/ns/pvc");
}

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
      vi.unstubAllEnvs();
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

    it.each(["", "portable"])("that fail in their middle have no snapshot, and it is said why: kernels %j", async (build) => {
      const { device, image } = attach("failing", 20 << 20, patternBytes(20 << 20, 1));
      // Of what its file does not have any more, a loop device says EIO.
      truncateSync(image, 9 << 20);
      const { repository } = memoryRepository({ splitter: "DYNAMIC-4M-BUZHASH" });
      vi.stubEnv("DRAY_KERNELS", build);
      const uploading = uploadSnapshot({ repository, source: { kind: "block", path: device }, snapshotSource, clock: repository.clock });
      await expect(uploading).rejects.toMatchObject({ code: "PATH_IO", message: `Cannot read "${device}": the device reports an input/output error` });
      expect((await repository.snapshots.list()).snapshots).toEqual([]);
    });

    describe("whose storage tells what has changed", () => {
      const deriveKey = rememberingKeys();
      const MIB = 1 << 19;
      const WRITTEN = [
        [0, 9 * MIB],
        [20 * MIB, 16 * MIB],
        [48 * MIB, 512],
      ] as const;
      type Ranges = readonly (readonly [offset: number, length: number])[];
      let repository: Repository;
      let device: string;
      let image: string;

      beforeEach(async () => {
        repository = await createRepository(new MemoryStorage(), { password: "pw", deriveKey });
      });
      afterEach(() => repository.close());

      function writtenDevice(): void {
        ({ device, image } = attach("source", 48 * MIB + 512));
        for (const [i, [offset, length]] of WRITTEN.entries()) write(offset, patternBytes(length, i + 1));
      }

      function write(offset: number, data: Buffer): void {
        writeImage(image, [[offset, data]]);
        execFileSync("blockdev", ["--flushbufs", device]);
      }

      /** A storage that knows what changed since these states, or was written when there is `none`. */
      const storage = (changeId: string, ranges: Readonly<Record<string, Ranges>>, volumeId = "volume") => ({
        volumeId,
        changeId,
        async *ranges(base = "none"): AsyncGenerator<Extent> {
          const known = ranges[base];
          if (known === undefined) throw new Error(`the snapshot ${base} is gone`);
          for (const [offset, length] of known) yield { offset, length };
        },
      });

      async function upload(
        changedBlocks?: ReturnType<typeof storage>,
        {
          form = "stream",
          ...options
        }: { readonly parallel?: number; readonly memoryBudget?: number; readonly parent?: "none"; readonly form?: BlockFormName } = { parent: "none" },
      ) {
        const log: string[] = [];
        const logger = loggerTo(({ message, fields }) => log.push(`${message} ${String(fields["error"] ?? "")}`));
        const source = { kind: "block", path: device, form, ...(changedBlocks === undefined ? {} : { changedBlocks }) } as const;
        const result = await uploadSnapshot({ repository, source, snapshotSource: sourceOf(form), logger, ...options });
        const [file] = await loadDirectory(repository.objects, result.rootEntry.objectId, 2);
        return { ...result, object: file?.objectId, log: log.join("\n") };
      }

      it("are read where they were written, and give what reading all of them gives", async () => {
        writtenDevice();
        const known = await upload(storage("s1", { none: WRITTEN }));
        expect(known.log).toContain("Only what was ever written to the device is read");
        expect((await upload()).object).toBe(known.object);
      });

      it("are read where they changed, and give what reading all of them gives", async () => {
        writtenDevice();
        await upload(storage("s1", { none: WRITTEN }));
        write(22 * MIB + 4096, patternBytes(5000, 4));
        write(40 * MIB, patternBytes(3 * MIB, 5));
        const changed: Ranges = [
          [22 * MIB, 3 * 4096],
          [40 * MIB, 3 * MIB],
        ];
        const second = await upload(storage("s2", { s1: changed }), {});
        expect(second.log).toContain("Only what changed on the device is read");
        expect(second.progress.bytesDone).toBe(48 * MIB + 512);
        expect(second.changedBytes).toBeLessThan(40 * MIB);
        const { snapshots } = await repository.snapshots.list();
        expect(snapshots.at(-1)?.tags).toMatchObject({ "cbt-change-id": "s2", "cbt-volume-id": "volume", "drayage-read": "changed" });
        expect((await upload()).object).toBe(second.object);
        const target = attach("target", 48 * MIB + 512, patternBytes(48 * MIB, 9));
        await restoreSnapshot({ repository, root: second.rootEntry, target: { kind: "block", path: target.device } });
        execFileSync("blockdev", ["--flushbufs", target.device]);
        expect(readFileSync(target.image).equals(readFileSync(image))).toBe(true);
      });

      it("are read as if there were no snapshot before when it was of another volume, when its base is gone, and when what is told is in no order", async () => {
        writtenDevice();
        await upload(storage("s1", { none: WRITTEN }));
        write(22 * MIB, patternBytes(MIB, 5));
        const { object, snapshotId } = await upload();
        await repository.snapshots.delete(snapshotId);
        const outOfOrder: Ranges = [
          [23 * MIB, 4096],
          [22 * MIB, MIB],
        ];
        const ranges: readonly Readonly<Record<string, Ranges>>[] = [{ none: WRITTEN }, { none: WRITTEN, s1: outOfOrder }, {}];
        for (const [i, told] of [...ranges, { none: WRITTEN, s1: [] }].entries()) {
          const result = await upload(storage("s2", told, i < ranges.length ? "volume" : "another"), {});
          expect([i, result.object, result.log.includes("Only what changed")]).toEqual([i, object, false]);
          await repository.snapshots.delete(result.snapshotId);
        }
      });

      it("are read whole when what is told to be unchanged is not", async () => {
        writtenDevice();
        await upload(storage("s1", { none: WRITTEN }));
        for (const [offset, length] of WRITTEN) write(offset, patternBytes(length, 7));
        const { log, object } = await upload(storage("s2", { none: WRITTEN, s1: [] }), {});
        expect(log).toContain("Cannot trust the changed blocks of the storage");
        expect((await upload()).object).toBe(object);
      });

      describe("and that are stored in the form of Velero's block mover", () => {
        const full = { form: "blocks", parent: "none" } as const;

        it("are a list of blocks of 1 MiB, the last one padded, and a tag says how long they are", async () => {
          writtenDevice();
          const { rootEntry, object = "", snapshotId } = await upload(undefined, full);
          expect(await loadDirectory(repository.objects, rootEntry.objectId, 2)).toMatchObject([
            { name: "snapshot-data-upload-download-velero-block-ns-pvc", type: "file", mode: 0o777, size: 25 << 20, mtimeNs: -6_795_364_578_871_345_152n },
          ]);
          const lengths = new Map<string, number>();
          for await (const { objectId, length } of repository.objects.chunks(object as ObjectId)) lengths.set(objectId, length);
          expect(new Set(lengths.values())).toEqual(new Set([1 << 20]));
          expect(object).toMatch(/^Ix/);
          expect((await repository.snapshots.get(snapshotId)).tags).toMatchObject({ "bdev-source-size": String(48 * MIB + 512) });
        });

        it("come back as long as they were, and are the same object for any number of threads", async () => {
          writtenDevice();
          const { rootEntry, object, snapshotId } = await upload(undefined, { ...full, parallel: 2 });
          expect((await upload(undefined, { ...full, parallel: 0 })).object).toBe(object);
          const target = attach("target", 48 * MIB + 512, patternBytes(48 * MIB, 9));
          const deviceBytes = deviceBytesOf(await repository.snapshots.get(snapshotId)) ?? 0;
          await restoreSnapshot({ repository, root: rootEntry, target: { kind: "block", path: target.device }, deviceBytes });
          execFileSync("blockdev", ["--flushbufs", target.device]);
          expect(readFileSync(target.image).equals(readFileSync(image))).toBe(true);
        });

        it("are read where they changed, block by block, also when they have grown", async () => {
          writtenDevice();
          await upload(storage("s1", { none: WRITTEN }), full);
          write(22 * MIB + 4096, patternBytes(5000, 4));
          truncateSync(image, 53 * MIB);
          execFileSync("losetup", ["--set-capacity", device]);
          write(52 * MIB, patternBytes(MIB, 6));
          const changed: Ranges = [
            [22 * MIB, 3 * 4096],
            [48 * MIB, 5 * MIB],
          ];
          const second = await upload(storage("s2", { s1: changed }), { form: "blocks" });
          expect(second.log).toContain("Only what changed on the device is read");
          // The block of the change, and what lies behind the end of before.
          expect(second.changedBytes).toBe((1 << 20) + (27 - 24) * (1 << 20));
          expect((await upload(undefined, full)).object).toBe(second.object);
        });

        it("are a list also when they are shorter than a block", async () => {
          ({ device, image } = attach("source", 512));
          write(0, patternBytes(512, 3));
          const { object, rootEntry } = await upload(undefined, full);
          expect(object).toMatch(/^Ix/);
          expect(rootEntry.summary).toMatchObject({ size: 1 << 20 });
        });

        it("are read whole after an object that was cut in another way", async () => {
          writtenDevice();
          const { snapshotId } = await upload(storage("s1", { none: WRITTEN }));
          const { rootEntry, tags } = await repository.snapshots.get(snapshotId);
          const { description, startTimeNs, endTimeNs, stats, pins } = await repository.snapshots.get(snapshotId);
          if (rootEntry === undefined) throw new Error("no root");
          await repository.snapshots.save({ description, startTimeNs, endTimeNs, stats, pins, rootEntry, tags, source: sourceOf("blocks") });
          const { log, object } = await upload(storage("s2", { none: WRITTEN, s1: [] }), { form: "blocks" });
          expect(log).toContain("Cannot go on from an object whose block at 0 has");
          expect((await upload(undefined, full)).object).toBe(object);
        });
      });

      it("give the same object whether they are read ahead or when it is wanted, in arenas of any size", async () => {
        writtenDevice();
        const { object } = await upload();
        for (const memoryBudget of [192 << 20, 1 << 30]) expect((await upload(undefined, { parent: "none", memoryBudget })).object).toBe(object);
        vi.stubEnv("DRAY_KERNELS", "portable");
        for (const memoryBudget of [192 << 20, 1 << 30]) expect((await upload(undefined, { parent: "none", memoryBudget })).object).toBe(object);
      });

      it("give the same object when they are so large that several threads cut them", async () => {
        ({ device, image } = attach("source", 1040 * MIB));
        for (const offset of [10, 490, 1000]) write(offset * MIB, patternBytes(13 * MIB, offset));
        const { object } = await upload(undefined, { parent: "none", parallel: 3 });
        expect((await upload(undefined, { parent: "none", parallel: 0 })).object).toBe(object);
      });
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
