/** The committed index over real, encrypted index blobs, with limits so small that everything happens: files, pieces, merging, and the folder between clients. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { nullLogger, toHex } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { FaultyStorage, MemoryStorage } from "@drayage/blob/testing";
import { prepareNative } from "@drayage/kernels";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeIndex } from "../index-blobs/index-codec.ts";
import type { IndexLimits } from "../index-blobs/index-loader.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";
import { type IndexEntry, prevails } from "../index-blobs/pack-index.ts";
import { attachIndex } from "../index-blobs/shared-index.ts";
import { testCodec } from "../testing/open-index-process.ts";
import { CommittedIndex } from "./committed-index.ts";

const LIMITS: IndexLimits = { inMemoryBytes: 2000, streamedFromBytes: 8000, pieceBytes: 1000 };
const hasAddon = (await prepareNative()).state !== "unavailable";
const codec = await testCodec();
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "dray-committed-"));
});
afterEach(() => {
  rmSync(base, { recursive: true, force: true });
});

/** A bucket of sealed index blobs of which some are active, and clients of it. */
class World {
  readonly clock = new VirtualClock();
  readonly storage = new FaultyStorage(new MemoryStorage(this.clock));
  readonly active = new Map<string, readonly IndexEntry[]>();
  watermark = 0;

  async add(entries: readonly IndexEntry[]): Promise<string> {
    const { id, data } = codec.sealBlob("xn0_", encodeIndex(2, entries), `s${this.active.size}-c1`);
    await this.storage.put(id, data);
    this.active.set(id, entries);
    return id;
  }

  client(folder?: string): CommittedIndex {
    return new CommittedIndex({
      ...{ storage: this.storage, codec, clock: this.clock, random: seededRandom(this.storage.calls), logger: nullLogger, limits: LIMITS },
      cache: folder === undefined ? undefined : { folder },
      findKeys: codec.findKeys,
      blobs: {
        active: async () => ({
          blobs: await Promise.all([...this.active.keys()].map((id) => this.storage.head(id))),
          deletionWatermark: this.watermark,
        }),
        write: async (indexes) =>
          Promise.all(
            indexes.map(async (plain, i) => {
              const { id, data } = codec.sealBlob("xn0_", plain, `w${this.active.size}-c${i}`);
              await this.storage.put(id, data);
              this.active.set(id, []);
              return id;
            }),
          ),
      },
    });
  }

  /** What a plain map says: of the entries of a key the one that prevails. */
  expected(): Map<string, IndexEntry> {
    const map = new Map<string, IndexEntry>();
    for (const entry of [...this.active.values()].flat()) {
      const known = map.get(toHex(entry.key));
      if (known === undefined || prevails(entry, known)) map.set(toHex(entry.key), entry);
    }
    return map;
  }

  get gets(): number {
    return this.storage.history.filter(({ operation }) => operation === "get").length;
  }
}

const plain = ({ key, ...rest }: IndexEntry): object => ({ key: toHex(key), ...rest });

function check(index: Pick<CommittedIndex, "find" | "indexes">, expected: ReadonlyMap<string, IndexEntry>): void {
  const sorted = [...expected].sort(([a], [b]) => (a < b ? -1 : 1));
  expect([...mergeEntries(index.indexes())].map(plain)).toEqual(sorted.map(([, entry]) => plain(entry)));
  for (const [hex, entry] of expected) {
    const found = index.find(entry.key);
    expect(found === undefined ? hex : plain(found)).toEqual(plain(entry));
    const other = Uint8Array.from(entry.key);
    other[8] = (other[8] ?? 0) ^ 0x10;
    expect(index.find(other)).toEqual(expected.get(toHex(other)));
  }
}

/** Entries of which some are in several blobs, with other times. */
function entriesOf(count: number, seed: number): IndexEntry[] {
  const random = seededRandom(seed);
  const entries = new Map<string, IndexEntry>();
  for (let i = 0; i < count; i++) {
    const shared = random.fraction() < 0.2;
    const key = shared ? new Uint8Array(17).fill(Math.floor(random.fraction() * 200), 1) : new Uint8Array(random.bytes(17));
    key[0] = random.fraction() < 0.2 ? 0x6b : 0;
    entries.set(toHex(key), {
      ...{ key, packBlobId: `p${seed}x${i % 5}`, packOffset: 32 + i, packedLength: 100 + i, originalLength: 72 + i, compressionId: 0, formatVersion: 3 },
      ...{ timestampSeconds: 1000 + Math.floor(random.fraction() * 4), deleted: random.fraction() < 0.3 },
    });
  }
  return [...entries.values()];
}

describe("the committed index", () => {
  it("says what a plain map says, wherever its parts are kept, in every client and every thread", async () => {
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(1, 5, 40, 100, 400), { minLength: 1, maxLength: 24 }), fc.boolean(), async (counts, keeps) => {
        const world = new World();
        const folder = keeps ? join(base, String(round++)) : undefined;
        for (const [i, count] of counts.entries()) await world.add(entriesOf(count, 100 * round + i));
        const first = world.client(folder);
        await first.refresh();
        check(first, world.expected());
        const attached = attachIndex(structuredClone(first.share()));
        for (const entry of world.expected().values()) expect(plain(attached.find(entry.key) ?? entry)).toEqual(plain(entry));
        attached.close();
        const fetched = world.gets;
        const second = world.client(folder);
        await second.refresh();
        check(second, world.expected());
        // Large ones take several requests.
        expect(keeps ? world.gets - fetched : Math.min(world.gets - fetched, counts.length)).toBe(keeps ? 0 : counts.length);
        // Some are gone, another is there: as after a compaction.
        for (const id of [...world.active.keys()].slice(0, counts.length >> 1)) world.active.delete(id);
        await world.add(entriesOf(60, 7000 + round));
        for (const client of [first, second]) {
          await client.refresh();
          check(client, world.expected());
          client.close();
        }
      }),
      { numRuns: 25 },
    );
  });

  it.runIf(hasAddon)("tells of many keys at once which come first that are held: all that one index names, once its blocks are in memory", async () => {
    for (const [round, counts] of [[400, 3], [5], [1, 1, 1], [60, 60, 60, 60], [5000, 20]].entries()) {
      const world = new World();
      for (const [i, count] of counts.entries()) await world.add(entriesOf(count, 50 * round + i));
      const index = world.client();
      await index.refresh();
      const all = [...world.active.values()].flat();
      const named = Map.groupBy(all, ({ key }) => toHex(key));
      const isPlain = ({ key, deleted }: IndexEntry): boolean => key[0] === 0 && !deleted && named.get(toHex(key))?.length === 1;
      const plainKeys = all.filter(isPlain).map(({ key }) => key);
      const many = (keys: readonly Uint8Array[]): number => index.heldFirst(Buffer.concat(keys), keys.length, 17);
      const before = many(plainKeys);
      expect(plainKeys.slice(0, before).every((key) => index.has(key))).toBe(true);
      for (const key of plainKeys) expect(index.has(key)).toBe(true);
      expect(many(plainKeys)).toBe(plainKeys.length < 4 ? 0 : plainKeys.length);
      // Behind the first that is anything else nothing is told.
      const others = [...all.filter((entry) => !isPlain(entry)).map(({ key }) => key), Uint8Array.from({ length: 17 }, (_, i) => (i === 0 ? 0 : 0xf3))];
      for (const other of others) {
        const told = many([...plainKeys, other, ...plainKeys]);
        expect(told).toBe(plainKeys.length < 2 ? told : plainKeys.length);
        expect(plainKeys.length + (index.has(other) ? 1 : 0)).toBeGreaterThanOrEqual(told);
      }
      index.close();
    }
  });

  it("asks few indexes however many blobs there are", async () => {
    const world = new World();
    for (let i = 0; i < 150; i++) await world.add(entriesOf(3, i));
    const index = world.client(join(base, "runs"));
    await index.refresh();
    expect(index.indexes().length).toBeLessThanOrEqual(16);
    expect(readdirSync(join(base, "runs")).length).toBeLessThanOrEqual(16);
    check(index, world.expected());
    const before = world.gets;
    const next = world.client(join(base, "runs"));
    await next.refresh();
    expect(world.gets).toBe(before);
    check(next, world.expected());
    index.close();
    next.close();
  });

  it("takes up what it commits, and hides what is deleted for good", async () => {
    const world = new World();
    const index = world.client();
    await index.refresh();
    const entries = entriesOf(30, 1);
    for (let i = 0; i < 30; i++) await index.commit([encodeIndex(2, entries.slice(i, i + 1))], "s1");
    expect(index.indexes().length).toBeLessThanOrEqual(16);
    for (const entry of entries) expect(plain(index.find(entry.key) ?? entry)).toEqual(plain(entry));
    await index.refresh();
    for (const entry of entries) expect(plain(index.find(entry.key) ?? entry)).toEqual(plain(entry));
    world.watermark = 1001;
    await index.refresh();
    const attached = attachIndex(index.share());
    for (const entry of entries) {
      expect(index.isDropped(entry)).toBe(entry.deleted && entry.timestampSeconds <= 1001);
      expect(attached.find(entry.key) === undefined).toBe(index.isDropped(entry));
    }
    attached.close();
    index.close();
  });

  it("fetches again what was damaged in the folder, and says so of what is damaged in the storage", async () => {
    const world = new World();
    const ids = [await world.add(entriesOf(10, 1)), await world.add(entriesOf(100, 2)), await world.add(entriesOf(600, 3))];
    const folder = join(base, "runs");
    const first = world.client(folder);
    await first.refresh();
    first.close();
    for (const [i, id] of ids.entries()) {
      const path = join(folder, `${id}.run`);
      const bytes = readFileSync(path);
      bytes[40 + i] = (bytes[40 + i] ?? 0) ^ 0x01;
      writeFileSync(path, bytes);
    }
    const before = world.gets;
    const second = world.client(folder);
    await second.refresh();
    check(second, world.expected());
    expect(world.gets).toBeGreaterThan(before + 2);
    second.close();
    for (const id of ids) {
      const path = join(folder, `${id}.run`);
      truncateSync(path, 50);
      const sealed = await world.storage.get(id);
      sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 0x01;
      await world.storage.put(id, sealed);
      await expect(world.client(folder).refresh()).rejects.toMatchObject({ code: "REPO_CORRUPT", context: { blobId: id } });
      sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 0x01;
      await world.storage.put(id, sealed);
      expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    }
  });

  it("tells a thread that comes too late to take a fresh handle", async () => {
    const world = new World();
    await world.add(entriesOf(400, 1));
    const index = world.client(join(base, "runs"));
    await index.refresh();
    const handle = index.share();
    const attached = attachIndex(handle);
    index.close();
    for (const entry of world.expected().values()) expect(attached.find(entry.key)).toBeDefined();
    attached.close();
    expect(() => attachIndex(handle)).toThrow(expect.objectContaining({ code: "BLOB_UNAVAILABLE" }));
  });

  it("is shared by processes that open it at the same time while somebody damages their copies", { timeout: 120_000 }, async () => {
    const world = new World();
    for (let i = 0; i < 20; i++) await world.add(entriesOf(i % 5 === 0 ? 300 : 20, i));
    mkdirSync(join(base, "blobs"));
    for (const id of world.active.keys()) writeFileSync(join(base, "blobs", id), await world.storage.get(id));
    const script = new URL("../testing/open-index-process.ts", import.meta.url).pathname;
    const folder = join(base, "runs");
    let running = true;
    const processes = Array.from({ length: 3 }, () =>
      promisify(execFile)(process.execPath, [script, join(base, "blobs"), folder, "15"], { maxBuffer: 64 << 20 }),
    );
    const vandal = (async () => {
      const random = seededRandom(5);
      for (let i = 0; running; i++) {
        await new Promise(setImmediate);
        if (i % 50 !== 0) continue;
        try {
          const names = readdirSync(folder);
          const name = names[Math.floor(random.fraction() * names.length)] ?? "";
          if (!name.endsWith(".run")) continue;
          // Only what nobody has open may be changed: others notice and stop, as they should. So a shorter copy is made beside and put in its place;
          // writing under its name would cut what another process has just put there.
          const bytes = readFileSync(join(folder, name));
          writeFileSync(join(base, "shorter"), bytes.subarray(0, bytes.length - 1 - (i % 40)));
          renameSync(join(base, "shorter"), join(folder, name));
        } catch {
          // It is not there yet, or another process was faster.
        }
      }
    })();
    const outputs = await Promise.all(processes).finally(() => {
      running = false;
    });
    await vandal;
    const sorted = [...world.expected()].sort(([a], [b]) => (a < b ? -1 : 1));
    const expected = sorted.map(([hex, { packBlobId }]) => `${hex} ${packBlobId}`).join("\n");
    for (const { stdout } of outputs) expect(JSON.parse(stdout)).toEqual([expected]);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});
