/** Large files come past the cache where the disk can take them so, and are the same as through it. */
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { takesDirectWrites } from "@drayage/base";
import { isPageAligned, type SystemCalls, systemCalls } from "@drayage/kernels";
import { parseSnapshotSource } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { DeviceWriter } from "./device-writer.ts";
import { DIRECT_FILE_BYTES_MIN, openDirect, wholeBlocksOf } from "./direct-files.ts";
import { FileWriter } from "./file-writer.ts";
import { type RestoreSnapshotOptions, restoreSnapshot } from "./restore-snapshot.ts";
import type { ContentDecoder } from "./restore-source.ts";
import { CONTENT, PART, TARGET, type WriteJob, type WriteResult } from "./write-job.ts";

const MIB = 1 << 20;
const isOnDisk = takesDirectWrites(statfsSync(tmpdir()).type);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "direct-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function opened(name: string, size = 0): number {
  const fd = openSync(join(folder, name), "w+");
  ftruncateSync(fd, size);
  return fd;
}

it("wholeBlocksOf(): what is left at the ends is less than a block", () => {
  expect(wholeBlocksOf(0, 8192)).toEqual({ head: 0, inner: 8192 });
  expect(wholeBlocksOf(1, 8192)).toEqual({ head: 4095, inner: 4096 });
  expect(wholeBlocksOf(4095, 4098)).toEqual({ head: 1, inner: 4096 });
  expect(wholeBlocksOf(100, 50)).toEqual({ head: 50, inner: 0 });
  expect(wholeBlocksOf(4096, 0)).toEqual({ head: 0, inner: 0 });
});

describe("openDirect()", () => {
  const flagsOf = (fd: number): number => Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "", 8);

  it.runIf(isOnDisk)("opens the very file again, whatever has its name now, for writes past the cache", () => {
    const fd = opened("file", DIRECT_FILE_BYTES_MIN);
    rmSync(join(folder, "file"));
    writeFileSync(join(folder, "file"), "another");
    const direct = openDirect(fd, DIRECT_FILE_BYTES_MIN) ?? -1;
    expect(flagsOf(direct) & constants.O_DIRECT).toBe(constants.O_DIRECT);
    expect(statSync(`/proc/self/fd/${direct}`).ino).toBe(statSync(`/proc/self/fd/${fd}`).ino);
    for (const each of [fd, direct]) closeSync(each);
  });

  it("leaves small files, and file systems that copy all the same, to the cache", () => {
    const fd = opened("file", DIRECT_FILE_BYTES_MIN);
    expect(openDirect(fd, DIRECT_FILE_BYTES_MIN - 1)).toBeUndefined();
    closeSync(fd);
    expect(openDirect(fd, DIRECT_FILE_BYTES_MIN)).toBeUndefined();
    const inProc = openSync("/proc/self/stat", "r");
    expect(openDirect(inProc, DIRECT_FILE_BYTES_MIN)).toBeUndefined();
    closeSync(inProc);
  });
});

describe("a writer", () => {
  const decoder: ContentDecoder = {
    decode(stored, _content, scratch) {
      scratch.set(stored);
      return scratch.subarray(0, stored.length);
    },
    isGenuine: () => true,
  };

  interface Place {
    readonly fd: number;
    readonly direct: number;
    readonly offset: number;
  }

  const writer = (system: SystemCalls = systemCalls): FileWriter =>
    new FileWriter(decoder, { overwrite: false, sparse: false, verify: false }, system, () => false);

  /** One content that is wanted in each of these places. */
  function jobOf(plain: Uint8Array, places: readonly Place[]): WriteJob {
    const contents = new Float64Array(CONTENT.columns);
    contents.set([0, plain.length, plain.length, 0, places.length]);
    const targets = new Float64Array(TARGET.columns * places.length);
    for (const [index, { fd, direct, offset }] of places.entries()) {
      const row = index * TARGET.columns;
      targets[row + TARGET.kind] = PART;
      targets[row + TARGET.place] = fd;
      targets[row + TARGET.mode] = direct;
      targets[row + TARGET.offset] = offset;
    }
    const names = places.map(() => "file");
    return { bytes: plain, pack: "p", contents, contentIds: ["id"], targets, names, directories: [], extras: new Map(), check: false };
  }

  const written = (plain: Uint8Array, places: readonly Place[]): WriteResult => writer().run(jobOf(plain, places));

  it("takes memory for long contents once, whatever their lengths", () => {
    const taken: number[] = [];
    const alignedBuffer = (bytes: number): Uint8Array => {
      taken.push(bytes);
      return systemCalls.alignedBuffer(bytes);
    };
    const fd = opened("file");
    const longer = writer({ ...systemCalls, alignedBuffer });
    for (const length of [1000, 2 * MIB, 5 * MIB, 8 * MIB]) longer.run(jobOf(new Uint8Array(length), [{ fd, direct: -1, offset: 4095 }]));
    expect(taken).toEqual([MIB, 9 * MIB]);
    closeSync(fd);
  });

  it("gives whole blocks of long stretches to the second descriptor, and the ends to the first", () => {
    const plain = patternBytes(2 * MIB + 4321, 1);
    // Two files in the place of one show what goes which way.
    const fd = opened("cached");
    const direct = opened("direct");
    const offset = 8192 - 100;
    expect(written(plain, [{ fd, direct, offset }])).toMatchObject({ failures: [], badContents: [] });
    const { head, inner } = wholeBlocksOf(offset, plain.length);
    expect([head, inner]).toEqual([100, 2 * MIB + 4096]);
    const cached = readFileSync(join(folder, "cached"));
    expect(cached.subarray(offset, offset + head).equals(plain.subarray(0, head))).toBe(true);
    expect(cached.subarray(offset + head, offset + head + inner).every((byte) => byte === 0)).toBe(true);
    expect(cached.subarray(offset + head + inner).equals(plain.subarray(head + inner))).toBe(true);
    expect(
      readFileSync(join(folder, "direct"))
        .subarray(offset + head)
        .equals(plain.subarray(head, head + inner)),
    ).toBe(true);
    for (const each of [fd, direct]) closeSync(each);
  });

  it("writes through the cache what is short, or lies in memory as it does not on the disk", () => {
    const direct = opened("direct");
    const [a, b, c] = [opened("a"), opened("b"), opened("c")];
    const short = patternBytes(MIB, 2);
    written(short, [{ fd: a, direct, offset: 1 }]);
    expect(readFileSync(join(folder, "a")).subarray(1).equals(short)).toBe(true);
    const long = patternBytes(2 * MIB, 3);
    written(long, [
      { fd: b, direct: -1, offset: 5 },
      { fd: c, direct, offset: 6 },
    ]);
    for (const [name, offset] of [
      ["b", 5],
      ["c", 6],
    ] as const)
      expect(readFileSync(join(folder, name)).subarray(offset).equals(long)).toBe(true);
    expect(statSync(join(folder, "direct")).size).toBe(0);
    for (const each of [direct, a, b, c]) closeSync(each);
  });

  it("writes through the cache what the disk does not take past it, and tells of any other failure", () => {
    const plain = patternBytes(2 * MIB, 4);
    const fd = opened("file");
    // It answers EINVAL to what is no number.
    const refusing = openSync("/proc/self/oom_score_adj", "r+");
    expect(written(plain, [{ fd, direct: refusing, offset: 10 }])).toMatchObject({ failures: [], badContents: [] });
    expect(readFileSync(join(folder, "file")).subarray(10).equals(plain)).toBe(true);
    closeSync(refusing);
    const readOnly = openSync(join(folder, "file"), "r");
    expect(written(plain, [{ fd, direct: readOnly, offset: 0 }]).failures).toMatchObject([{ target: 0, error: { code: "PATH_IO" } }]);
    for (const each of [fd, readOnly]) closeSync(each);
  });
});

it("a device is written from memory that lies as it does, without a copy", () => {
  const noStage = (): never => {
    throw new Error("no copy was wanted");
  };
  const direct = opened("device", 4 * MIB);
  const memory = systemCalls.alignedBuffer(3 * MIB);
  const data = memory.subarray(700, 700 + 2 * MIB);
  data.set(patternBytes(data.length, 5));
  expect(isPageAligned(memory.subarray(4096))).toBe(true);
  new DeviceWriter({ ...systemCalls, alignedBuffer: noStage }).write({ direct, buffered: direct }, 4096 + 700, data, "device");
  expect(
    readFileSync(join(folder, "device"))
      .subarray(4796, 4796 + data.length)
      .equals(data),
  ).toBe(true);
  closeSync(direct);
});

describe("a restore", { timeout: 120_000 }, () => {
  const SIZE = DIRECT_FILE_BYTES_MIN + 3 * MIB + 77;

  /** Two large files of contents of uneven lengths, one with a hole in it, the other with all its bytes. */
  async function stored() {
    const source = join(folder, "source");
    mkdirSync(source);
    const whole = patternBytes(SIZE, 6);
    writeFileSync(join(source, "whole"), whole);
    const fd = openSync(join(source, "holed"), "w");
    ftruncateSync(fd, SIZE);
    writeSync(fd, whole, 0, 3 * MIB + 5, 0);
    writeSync(fd, whole, 0, 4 * MIB, 7 * MIB);
    closeSync(fd);
    const { repository } = memoryRepository({ splitter: "DYNAMIC-2M-BUZHASH" });
    const upload = { repository, source: { kind: "directory", path: source }, snapshotSource: parseSnapshotSource("u@h:/d"), clock: repository.clock } as const;
    const { rootEntry: root } = await uploadSnapshot(upload);
    return { source, repository, root };
  }

  async function restored(over: Partial<RestoreSnapshotOptions>): Promise<void> {
    const { source, repository, root } = await stored();
    const target = join(folder, "target");
    await restoreSnapshot({ repository, root, target: { kind: "directory", path: target }, clock: repository.clock, ...over });
    for (const name of ["whole", "holed"]) {
      expect(readFileSync(join(target, name)).equals(readFileSync(join(source, name)))).toBe(true);
      const [was, is] = [source, target].map((path) => statSync(join(path, name), { bigint: true }));
      expect([is?.mtimeNs, is?.size, is?.mode]).toEqual([was?.mtimeNs, was?.size, was?.mode]);
    }
    if (isOnDisk) expect(statSync(join(target, "holed")).blocks * 512).toBeLessThan(8 * MIB);
  }

  it("gives the same bytes, times and holes with threads and without, read back or not", async () => {
    await restored({ parallel: 2 });
    rmSync(join(folder, "source"), { recursive: true });
    rmSync(join(folder, "target"), { recursive: true });
    await restored({ system: systemCalls, verify: true });
  });

  const recording = (allocate: SystemCalls["allocate"]) => {
    const calls: (readonly [number, number])[] = [];
    const system: SystemCalls = {
      ...systemCalls,
      allocate(fd, offset, length) {
        calls.push([offset, length]);
        return allocate(fd, offset, length);
      },
    };
    return { calls, system };
  };

  it.runIf(isOnDisk)("finds room for a file that has no holes, and for no other", async () => {
    const { calls, system } = recording(systemCalls.allocate);
    await restored({ system });
    expect(calls).toEqual([[0, SIZE]]);
  });

  it("goes without room where none is found beforehand", async () => {
    const { system } = recording(() => {
      throw new Error("none");
    });
    await restored({ system });
  });
});
