/** Runs and the folder that they are kept in: they say what a plain map says, whatever the keys are, and damage never makes them say anything else. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareBytes, isDrayError, type LogRecord, loggerTo, nullLogger, toHex } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BlockCache } from "./block-cache.ts";
import { decodeIndex, encodeIndex } from "./index-codec.ts";
import { buildKeyFilter } from "./key-filter.ts";
import { MemoryIndex } from "./memory-index.ts";
import { mergeEntries } from "./merged-index.ts";
import { findEntry, type IndexEntry, type PackIndex } from "./pack-index.ts";
import { formatOfRun, loadRun, openForReading, RUN_FOOTER_AT, writeFully } from "./run-file.ts";
import { RunFolder, type RunFolderOptions } from "./run-folder.ts";
import { RunIndex } from "./run-index.ts";

const HOUR_MS = 3_600_000;
let base: string;
let clock: VirtualClock;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "dray-run-test-"));
  clock = new VirtualClock();
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

const folderOf = (changes: Partial<RunFolderOptions> = {}): RunFolder =>
  new RunFolder({ folder: join(base, "one"), clock, random: seededRandom(7), logger: nullLogger, blockBytesMax: 16 << 10, ...changes });

const entryOf = (key: Uint8Array, i: number): IndexEntry => ({
  key,
  packBlobId: `p${(i % 7).toString(16).padStart(4, "0")}`,
  packOffset: 32 + i,
  packedLength: 128 + i,
  originalLength: 100 + i,
  compressionId: i % 3 === 0 ? 0x1101 : 0,
  formatVersion: 3,
  timestampSeconds: 1_760_000_000 + i,
  deleted: i % 5 === 4,
});
const plain = ({ key, ...rest }: IndexEntry): object => ({ key: toHex(key), ...rest });

/** Entries under distinct random keys, some with a prefix. */
function entriesOf(count: number, seed = 1): IndexEntry[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, i) => {
    const key = new Uint8Array(random.bytes(17));
    key[0] = [0, 0, 0, 0x6b, 0x78, 0x6d][i % 6] ?? 0;
    return entryOf(key, i);
  });
}

async function runOf(folder: RunFolder, name: string, entries: readonly IndexEntry[], version = 2): Promise<RunIndex> {
  const bytes = encodeIndex(version, entries);
  const run = await folder.make([name], (fd) => {
    writeFully(fd, bytes, 0);
    return bytes.length;
  });
  if (run === undefined) throw new Error("no run was made");
  return run;
}

describe("runs", () => {
  it("say what a plain map says, for keys that spread and for keys that do not", async () => {
    const folder = folderOf();
    let runs = 0;
    // Few values a byte: keys share long beginnings, and buckets overflow.
    const key = fc.tuple(fc.constantFrom(0, 0x67, 0x6b, 0x7a), fc.array(fc.constantFrom(0, 1, 0x7f, 0xff), { minLength: 16, maxLength: 16 }));
    await fc.assert(
      fc.asyncProperty(fc.array(key, { minLength: 1, maxLength: 600 }), fc.array(key, { maxLength: 30 }), async (named, others) => {
        const map = new Map<string, IndexEntry>();
        for (const [i, [prefix, rest]] of named.entries()) {
          const bytes = Uint8Array.of(prefix, ...rest);
          map.set(toHex(bytes), entryOf(bytes, i));
        }
        const run = await runOf(folder, `x${runs++}`, [...map.values()]);
        const memory = decodeIndex(encodeIndex(2, [...map.values()]));
        const parts: readonly PackIndex[] = [run, memory, new MemoryIndex(memory.bytes, memory.format, buildKeyFilter(memory))];
        for (const [prefix, rest] of [...named, ...others]) {
          const wanted = Uint8Array.of(prefix, ...rest);
          const expected = map.get(toHex(wanted));
          for (const part of parts) {
            const found = findEntry(part, wanted);
            expect(found === undefined ? undefined : plain(found)).toEqual(expected === undefined ? undefined : plain(expected));
            expect(part.lowerBound(wanted)).toBe([...map.values()].filter((one) => compareBytes(one.key, wanted) < 0).length);
          }
        }
        const sorted = [...map.values()].sort((a, b) => compareBytes(a.key, b.key)).map(plain);
        expect([...mergeEntries([run])].map(plain)).toEqual(sorted);
        expect([...mergeEntries([run, memory, run])].map(plain)).toEqual(sorted);
        expect(sorted.map((_, i) => plain(run.entryAt(i)))).toEqual(sorted);
        run.file.close();
      }),
      { numRuns: 60 },
    );
  });

  it("of either version find every key of many blocks, and no other", async () => {
    for (const version of [1, 2]) {
      const entries = entriesOf(5000).map((one) => (version === 1 ? { ...one, compressionId: 0, originalLength: one.packedLength - 28 } : one));
      const run = await runOf(folderOf(), `v${version}`, entries, version);
      for (const one of entries) expect(plain(findEntry(run, one.key) ?? entryOf(one.key, -1))).toEqual(plain(one));
      for (const { key } of entriesOf(5000, 2)) expect(findEntry(run, key)).toBeUndefined();
      expect(findEntry(run, new Uint8Array(16))).toBeUndefined();
      // The figure that the comments state.
      expect(run.parts.filter?.byteLength ?? 0).toBeLessThan(2.6 * entries.length + 200);
    }
  });

  it("walk beside each other and beside lookups without taking each other's bytes", async () => {
    const entries = entriesOf(4000);
    const run = await runOf(folderOf({ blockBytesMax: 4096 }), "x", entries);
    const seen: object[] = [];
    const directories: object[] = [];
    const [a, b] = [mergeEntries([run]), mergeEntries([run], 0x6b)];
    for (const one of a) {
      const other = b.next();
      if (other.done !== true) directories.push(plain(other.value));
      expect(run.find(one.key)).toBe(seen.length);
      seen.push(plain(one));
    }
    expect(seen).toEqual([...entries].sort((x, y) => compareBytes(x.key, y.key)).map(plain));
    const isDirectory = ({ key }: IndexEntry): boolean => key[0] === 0x6b;
    expect(directories).toEqual(
      [...entries]
        .filter(isDirectory)
        .sort((x, y) => compareBytes(x.key, y.key))
        .map(plain),
    );
  });

  it("refuse an index whose keys do not ascend", async () => {
    const bytes = encodeIndex(2, entriesOf(20)).slice();
    bytes.copyWithin(17, 17 + 34, 17 + 68);
    const folder = folderOf();
    const made = folder.make(["x"], (fd) => {
      writeFully(fd, bytes, 0);
      return bytes.length;
    });
    await expect(made).rejects.toMatchObject({ code: "REPO_CORRUPT" });
    expect(readdirSync(join(base, "one"))).toEqual([]);
  });

  it("that are damaged, cut off or something else are told, whichever byte it is", async () => {
    await runOf(folderOf(), "x", entriesOf(20));
    const path = join(base, "one", "x.run");
    const whole = readFileSync(path);
    const attempt = (bytes: Uint8Array): RunIndex | undefined => {
      writeFileSync(path, bytes);
      const file = openForReading(path);
      try {
        const parts = loadRun(file);
        return new RunIndex(file, formatOfRun(file, parts.indexBytes), parts, new BlockCache(4096));
      } catch (error) {
        file.close();
        expect(isDrayError(error) && error.code).toBe("REPO_CORRUPT");
        return undefined;
      }
    };
    const good = attempt(whole);
    expect(good?.entryCount).toBe(20);
    good?.file.close();
    for (let at = 0; at < whole.length; at++) {
      const flipped = Uint8Array.from(whole);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      expect(attempt(flipped), `byte ${at}`).toBeUndefined();
      expect(attempt(whole.subarray(0, at)), `prefix ${at}`).toBeUndefined();
    }
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 12 }), (changes) => {
        const bytes = Uint8Array.from(whole);
        for (const [at, mask] of changes) bytes[at] = (bytes[at] ?? 0) ^ mask;
        if (Buffer.compare(bytes, whole) !== 0) expect(attempt(bytes)).toBeUndefined();
      }),
      { numRuns: 200 },
    );
    expect(attempt(new Uint8Array(5000))).toBeUndefined();
  });

  it("have the footer that their comment shows", () => {
    const text = readFileSync(new URL("./run-file.ts", import.meta.url), "utf8");
    const rows = [...text.slice(text.indexOf("offset  size  field")).matchAll(/^ \* +(\d+) +\d+ +(\w+)/gm)].map(([, at, name]) => [name, Number(at)]);
    expect(Object.fromEntries(rows)).toEqual(RUN_FOOTER_AT);
  });

  it("that are too large to be looked at whole are told to be damaged by the block that is, and removed", async () => {
    const entries = entriesOf(4000);
    (await runOf(folderOf(), "x", entries)).file.close();
    const path = join(base, "one", "x.run");
    const bytes = readFileSync(path);
    bytes[17 + 50_000] = (bytes[17 + 50_000] ?? 0) ^ 0x01;
    writeFileSync(path, bytes);
    const file = openForReading(path);
    const parts = loadRun(file, 0);
    const run = new RunIndex(file, formatOfRun(file, parts.indexBytes), parts, new BlockCache(4096));
    const sorted = [...entries].sort((a, b) => compareBytes(a.key, b.key));
    expect(run.find(sorted[5]?.key ?? new Uint8Array())).toBe(5);
    const key = sorted[Math.floor(50_000 / run.format.stride)]?.key ?? new Uint8Array();
    expect(() => run.find(key)).toThrow(expect.objectContaining({ code: "BLOB_UNAVAILABLE" }));
    expect(existsSync(path)).toBe(false);
    expect(() => [...mergeEntries([run])]).toThrow(/Cannot read the local copy of an index/);
  });
});

describe("a folder of runs", () => {
  it("gives back what it was given, to other processes too, and makes nothing of what is damaged", async () => {
    const entries = entriesOf(300);
    await runOf(folderOf(), "xn0_a", entries);
    expect(folderOf().load("xn0_a")?.entryCount).toBe(300);
    expect(folderOf().load("xn0_b")).toBeUndefined();
    expect(folderOf().load("../one/xn0_a")).toBeUndefined();
    const path = join(base, "one", "xn0_a.run");
    writeFileSync(path, readFileSync(path).subarray(0, 1000));
    const log: LogRecord[] = [];
    expect(folderOf({ logger: loggerTo((record) => void log.push(record)) }).load("xn0_a")).toBeUndefined();
    expect(log.map(({ message }) => message)).toEqual(["Making the copy of an index again, it was damaged"]);
    expect(existsSync(path)).toBe(false);
  });

  it("finds the runs of several blobs by their names", async () => {
    const bytes = encodeIndex(2, entriesOf(10));
    const write = (fd: number): number => {
      writeFully(fd, bytes, 0);
      return bytes.length;
    };
    await folderOf().make(["b", "a"], write);
    await folderOf({ random: seededRandom(8) }).make(["a", "b"], write);
    expect(readdirSync(join(base, "one")).length).toBe(1);
    expect(
      folderOf()
        .loadMerged()
        .map(({ parts }) => [...parts.names].sort()),
    ).toEqual([["a", "b"]]);
  });

  it("is swept of what is not wanted and was not used for an hour, and of the oldest of all when there is too much", async () => {
    await runOf(folderOf(), "wanted", entriesOf(200));
    await runOf(folderOf(), "gone", entriesOf(200));
    await runOf(folderOf({ folder: join(base, "two") }), "elsewhere", entriesOf(200));
    writeFileSync(join(base, "one", "y.run.0123456789abcdef.tmp"), "half");
    writeFileSync(join(base, "one", "notes.txt"), "not ours");
    utimesSync(join(base, "one", "y.run.0123456789abcdef.tmp"), clock.nowMs() / 1000, clock.nowMs() / 1000);
    folderOf().sweep(new Set(["wanted"]));
    expect(readdirSync(join(base, "one")).length).toBe(4);
    clock.jump(2 * HOUR_MS);
    folderOf().load("wanted")?.file.close();
    folderOf().sweep(new Set(["wanted"]));
    expect(readdirSync(join(base, "one")).sort()).toEqual(["notes.txt", "wanted.run"]);
    expect(readdirSync(join(base, "two"))).toEqual(["elsewhere.run"]);
    folderOf({ bytesMax: 10_000 }).sweep(new Set(["wanted"]));
    expect(readdirSync(base)).toEqual(["one"]);
    expect(readdirSync(join(base, "one")).sort()).toEqual(["notes.txt", "wanted.run"]);
  });

  it("that cannot be written is done without: what is made has no name then, and works the same", async () => {
    const log: LogRecord[] = [];
    writeFileSync(join(base, "file"), "");
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith("dray-index-"));
    const folder = folderOf({ folder: join(base, "file", "below"), logger: loggerTo((record) => void log.push(record)) });
    expect(folder.keeps).toBe(false);
    const entries = entriesOf(300);
    const run = await runOf(folder, "x", entries);
    expect(entries.every((one) => run.find(one.key) !== -1)).toBe(true);
    run.file.close();
    expect(log.map(({ message }) => message)).toEqual(["Not keeping indexes between commands"]);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith("dray-index-"))).toEqual(before);
  });

  it("that others may write to is not trusted", () => {
    mkdirSync(join(base, "open"));
    chmodSync(join(base, "open"), 0o777);
    expect(folderOf({ folder: join(base, "open") }).keeps).toBe(false);
  });
});
