import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { asBuffer, type LogRecord, loggerTo, nullLogger, systemRandom, utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openFilesystemStorage } from "../filesystem/filesystem-storage.ts";
import { MemoryStorage } from "../memory/memory-storage.ts";
import { FaultyStorage, faultWhen } from "../testing/faulty-storage.ts";
import { BlobCache, type BlobCacheOptions } from "./blob-cache.ts";
import { CachedStorage } from "./cached-storage.ts";

let base: string;
let clock: VirtualClock;
let random: ReturnType<typeof seededRandom>;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "dray-blob-cache-"));
  clock = new VirtualClock();
  random = seededRandom(3);
});
afterEach(() => {
  chmodSync(base, 0o700);
  rmSync(base, { recursive: true, force: true });
});

const cacheOf = (changes: Partial<BlobCacheOptions> = {}): BlobCache =>
  new BlobCache({ folder: join(base, "copies"), store: "mem", clock, random, logger: nullLogger, ...changes });

function cached(changes: Partial<BlobCacheOptions> = {}, inner = new MemoryStorage(clock)) {
  const counted = new FaultyStorage(inner);
  const cache = cacheOf(changes);
  return { inner, counted, cache, storage: new CachedStorage(counted, cache, (id) => id.startsWith("q")) };
}

const textOf = (bytes: Uint8Array): string => asBuffer(bytes).toString();
const files = (): string[] =>
  readdirSync(join(base, "copies"), { recursive: true, encoding: "utf8" })
    .map((name) => join(base, "copies", name))
    .filter((path) => statSync(path).isFile());

describe("CachedStorage", () => {
  it("asks the store once for the same range, the whole and the length, and the next process not at all", async () => {
    const first = cached();
    await first.inner.put("q1", utf8("hello, world"));
    for (let round = 0; round < 2; round++) {
      expect(textOf(await first.storage.get("q1", { offset: 7, length: 5 }))).toBe("world");
      expect(textOf(await first.storage.get("q1"))).toBe("hello, world");
      expect(await first.storage.head("q1")).toEqual({ id: "q1", length: 12, timestampMs: clock.nowMs() });
    }
    expect(first.counted.calls).toBe(3);
    const next = cached({}, first.inner);
    const into = new Uint8Array(5);
    expect(await next.storage.get("q1", { offset: 7, length: 5, into })).toBe(into);
    expect(textOf(into)).toBe("world");
    expect(next.counted.calls).toBe(0);
    expect(next.cache.lookups).toEqual({ hits: 1, misses: 0 });
  });

  it("keeps nothing of other blobs, and no failures", async () => {
    const { inner, storage, counted } = cached();
    await inner.put("p1", utf8("data"));
    await storage.get("p1");
    await storage.get("p1");
    await expect(storage.get("q2")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    await inner.put("q2", utf8("late"));
    expect(textOf(await storage.get("q2"))).toBe("late");
    await expect(storage.get("q2", { offset: 2, length: 9 })).rejects.toMatchObject({ code: "BLOB_INVALID_RANGE" });
    expect(counted.calls).toBe(5);
    expect(files().length).toBe(1);
  });

  it("forgets what this client replaces or deletes", async () => {
    const { storage } = cached();
    await storage.put("q1", utf8("old"));
    await storage.get("q1");
    await storage.put("q1", utf8("new"));
    expect(textOf(await storage.get("q1"))).toBe("new");
    await storage.delete("q1");
    await expect(storage.get("q1")).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
  });

  it("asks the store itself when the copy did not prove right, and keeps what it says now", async () => {
    const { inner, storage } = cached();
    await inner.put("q1", utf8("broken"));
    await storage.get("q1");
    await inner.put("q1", utf8("mended"));
    expect(textOf(await storage.get("q1"))).toBe("broken");
    expect(textOf(await storage.get("q1", { fresh: true }))).toBe("mended");
    expect(textOf(await storage.get("q1"))).toBe("mended");
  });

  it("answers without the store, which may be away", async () => {
    const { inner, storage, counted } = cached();
    await inner.put("q1", utf8("here"));
    await storage.get("q1");
    counted.plan = faultWhen(() => true);
    expect(textOf(await storage.get("q1"))).toBe("here");
    await expect(storage.get("q2")).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
  });
});

describe("BlobCache", () => {
  it("takes no damaged copy for the blob: any byte, any length, or the name of another", async () => {
    const warnings: string[] = [];
    const logger = loggerTo(({ level, message }: LogRecord) => void (level === "warn" && warnings.push(message)));
    const { inner, storage, counted } = cached({ logger });
    await inner.put("q1", utf8("0123456789"));
    await inner.put("q2", utf8("abcdefghij"));
    await storage.get("q1");
    await storage.get("q2");
    const [one = "", two = ""] = files().sort((a, b) => (readFileSync(a).includes("0123") ? -1 : readFileSync(b).includes("0123") ? 1 : 0));
    const whole = readFileSync(one);
    const damages: (() => void)[] = [
      ...Array.from(whole, (byte, at) => () => writeFileSync(one, Buffer.from(whole.map((old, index) => (index === at ? byte ^ 0x10 : old))))),
      ...Array.from(whole, (_, length) => () => truncateSync(one, length)),
      () => writeFileSync(one, Buffer.concat([whole, Buffer.from("x")])),
      () => writeFileSync(one, readFileSync(two)),
    ];
    const before = counted.calls;
    for (const damage of damages) {
      damage();
      expect(textOf(await storage.get("q1"))).toBe("0123456789");
    }
    expect(counted.calls - before).toBe(damages.length);
    expect(new Set(warnings)).toEqual(new Set(["Fetching a blob again, its local copy was damaged"]));
  });

  it("stays within its bound, and lets go what nobody has used for longest", () => {
    const cache = cacheOf({ bytesMax: 100_000 });
    for (let i = 0; i < 300; i++) {
      cache.store(`q${i}`, "all", new Uint8Array(1000));
      cache.load("q0", "all");
      clock.jump(61_000);
      if (i % 5 === 0) expect(cache.use().bytesOfAll).toBeLessThanOrEqual(100_000);
    }
    expect(cache.load("q0", "all")?.length).toBe(1000);
    expect(cache.load("q299", "all")?.length).toBe(1000);
    expect(cache.load("q100", "all")).toBeUndefined();
    // Folders of blobs that are gone are gone.
    expect(readdirSync(join(base, "copies"), { recursive: true }).length).toBeLessThan(250);
  });

  it("counts all stores together, and each by itself", () => {
    const one = cacheOf({ store: "one", bytesMax: 10_000 });
    const two = cacheOf({ store: "two", bytesMax: 10_000 });
    one.store("q1", "all", new Uint8Array(3000));
    clock.jump(61_000);
    for (let i = 0; i < 4; i++) two.store(`q${i}`, "all", new Uint8Array(2000));
    expect(one.use()).toMatchObject({ bytes: 0, bytesMax: 10_000 });
    expect(two.use().bytes).toBe(two.use().bytesOfAll);
    expect(two.use().bytesOfAll).toBeLessThanOrEqual(10_000);
  });

  it("removes what a process that was killed left half written", () => {
    const cache = cacheOf({ bytesMax: 1000 });
    cache.store("q1", "all", new Uint8Array(100));
    const [file = ""] = files();
    const abandoned = join(file, "..", "..", "0123456789abcdef.tmp");
    writeFileSync(abandoned, "half");
    utimesSync(abandoned, clock.nowMs() / 1000 - 7200, clock.nowMs() / 1000 - 7200);
    cache.store("q2", "all", new Uint8Array(100));
    expect(existsSync(abandoned)).toBe(false);
  });

  it("keeps nothing where others may write, where it cannot write, and where nothing is wanted", async () => {
    mkdirSync(join(base, "copies"), { mode: 0o700 });
    const open = cacheOf();
    const [folder = ""] = readdirSync(join(base, "copies"));
    chmodSync(join(base, "copies", folder), 0o777);
    const warnings: string[] = [];
    const logger = loggerTo(({ message }: LogRecord) => void warnings.push(message));
    for (const cache of [cacheOf({ logger }), cacheOf({ folder: "/proc/none", logger }), cacheOf({ bytesMax: 0, folder: join(base, "never") })]) {
      cache.store("q1", "all", utf8("x"));
      expect(cache.load("q1", "all")).toBeUndefined();
    }
    expect(warnings).toEqual(["Not keeping blobs between commands: others may write to the folder", "Not keeping blobs between commands"]);
    expect(existsSync(join(base, "never"))).toBe(false);
    expect(open.use().bytes).toBe(0);
  });

  it("names no file outside its folder, whatever a blob is called", () => {
    const cache = cacheOf();
    for (const id of ["../../evil", "q/../../x", "", ".", "..", `q${"x".repeat(300)}`]) {
      cache.store(id, "all", utf8("x"));
      cache.forget(id);
      expect(cache.load(id, "all")).toBeUndefined();
    }
    expect(files()).toEqual([]);
  });

  it("serves two processes at once that fill, damage and clean one folder: no answer is wrong, and the bound holds", async () => {
    const blobs = join(base, "blobs");
    const storage = await openFilesystemStorage({ path: blobs, create: true, random: systemRandom });
    for (let i = 0; i < 40; i++) await storage.put(`q${i}`, random.bytes(4000));
    const script = join(import.meta.dirname, "..", "testing", "use-cache-process.ts");
    const results = await Promise.all(
      [1, 2].map(async (seed) => {
        const { stdout } = await promisify(execFile)(process.execPath, [script, blobs, join(base, "copies"), "600", String(seed), "60000"]);
        return JSON.parse(stdout) as { wrong: number; most: number; hits: number };
      }),
    );
    for (const { wrong, most, hits } of results) {
      expect(wrong).toBe(0);
      expect(hits).toBeGreaterThan(0);
      expect(most).toBeLessThanOrEqual(60_000);
    }
  }, 60_000);
});
