import { asBuffer, utf8 } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { collect } from "../contract/collect.ts";
import { MemoryObjectStore } from "../memory/memory-object-store.ts";
import { MemoryStorage } from "../memory/memory-storage.ts";
import { type Fault, FaultyStorage, faultAt, faultWhen } from "../testing/faulty-storage.ts";
import { MeteredStorage } from "./metered-storage.ts";
import { RetryingObjectStore } from "./retrying-object-store.ts";
import { RetryingStorage } from "./retrying-storage.ts";
import { ThrottledStorage } from "./throttled-storage.ts";

/** Moves the clock until the work is done. */
async function drive<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let running = true;
  const done = work.finally(() => {
    running = false;
  });
  done.catch(() => undefined);
  while (running) await clock.advance(1_000);
  return await done;
}

function retrying(plan: FaultyStorage["plan"], inner = new MemoryStorage()) {
  const clock = new VirtualClock();
  const faulty = new FaultyStorage(inner, plan);
  const logger = memoryLogger();
  return { clock, faulty, inner, logger, storage: new RetryingStorage(faulty, { clock, random: seededRandom(7), logger }) };
}

describe("RetryingStorage", () => {
  it.each<Fault>([{ kind: "fail" }, { kind: "fail", code: "BLOB_THROTTLED" }, { kind: "torn" }, { kind: "appliedButTimedOut" }])(
    "gets every operation through a passing %j",
    async (fault) => {
      const { clock, storage, inner, logger } = retrying((call) => (call.index % 2 === 1 ? fault : undefined));
      await drive(clock, storage.put("a", utf8("whole")));
      expect(asBuffer(await drive(clock, storage.get("a"))).toString()).toBe("whole");
      expect((await drive(clock, storage.head("a"))).length).toBe(5);
      expect((await drive(clock, collect(storage.list("")))).map(({ id }) => id)).toEqual(["a"]);
      await drive(clock, storage.delete("a"));
      expect(inner.ids()).toEqual([]);
      expect(logger.records.length).toBe(5);
    },
  );

  it("goes on with a listing where it broke off, giving nothing twice", async () => {
    const inner = new MemoryStorage();
    for (const id of ["a", "b", "c"]) await inner.put(id, utf8(id));
    const { clock, storage } = retrying(faultAt(1, { kind: "torn" }), inner);
    expect((await drive(clock, collect(storage.list("")))).map(({ id }) => id)).toEqual(["a", "b", "c"]);
  });

  it("does not take its own lost put for somebody else's", async () => {
    const { clock, storage } = retrying(faultAt(1, { kind: "appliedButTimedOut" }));
    await drive(clock, storage.put("lock", utf8("mine"), { ifAbsent: true }));
    await expect(storage.put("lock", utf8("yours"), { ifAbsent: true })).rejects.toMatchObject({ code: "BLOB_ALREADY_EXISTS" });
  });

  it("takes somebody else's blob for what it is after a lost put", async () => {
    const { clock, storage, inner } = retrying(faultAt(1, { kind: "fail" }));
    await inner.put("lock", utf8("yours"));
    await expect(drive(clock, storage.put("lock", utf8("mine"), { ifAbsent: true }))).rejects.toMatchObject({ code: "BLOB_ALREADY_EXISTS" });
  });

  it("tries ten times and then throws the last error as it is", async () => {
    const { clock, storage, faulty } = retrying(faultAt(1, { kind: "fail", code: "BLOB_THROTTLED" }, true));
    await expect(drive(clock, storage.get("a"))).rejects.toMatchObject({ code: "BLOB_THROTTLED" });
    expect(faulty.calls).toBe(10);
  });

  it.each(["BLOB_NOT_FOUND", "BLOB_ACCESS_DENIED", "BLOB_NO_SPACE", "INVARIANT"] as const)("does not try %s again", async (code) => {
    const { storage, faulty } = retrying(faultAt(1, { kind: "fail", code }));
    await expect(storage.get("a")).rejects.toMatchObject({ code });
    expect(faulty.calls).toBe(1);
  });

  it("stops waiting when it is aborted", async () => {
    const { storage } = retrying(faultAt(1, { kind: "fail" }, true));
    const abort = new AbortController();
    const pending = storage.get("a", { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(pending).rejects.toThrow("enough");
  });
});

describe("RetryingStorage.close()", () => {
  it("ends calls under way, also those that nobody else could end", async () => {
    const { clock, storage, faulty } = retrying(() => ({ kind: "fail" }));
    const reading = storage.get("a");
    const listing = collect(storage.list("", new AbortController().signal));
    await settle();
    await storage.close();
    await expect(reading).rejects.toThrow("The storage was closed");
    await expect(listing).rejects.toThrow("The storage was closed");
    const calls = faulty.calls;
    await clock.advance(60_000);
    expect(faulty.calls).toBe(calls);
  });
});

describe("RetryingObjectStore", () => {
  it("goes on with a listing where it broke off", async () => {
    const inner = new MemoryObjectStore();
    for (const key of ["a", "b/c", "d"]) await inner.put(key, utf8(key));
    let broken = 0;
    const flaky = Object.create(inner, {
      description: { value: "flaky" },
      listAll: {
        value: async function* (prefix: string) {
          for await (const object of inner.listAll(prefix)) {
            yield object;
            if (broken++ === 1)
              throw Object.assign(new Error("reset"), { [Symbol.for("drayage.error")]: true, code: "BLOB_UNAVAILABLE", disposition: "retry" });
          }
        },
      },
    }) as MemoryObjectStore;
    const clock = new VirtualClock();
    const store = new RetryingObjectStore(flaky, { clock, random: seededRandom(1) });
    expect((await drive(clock, collect(store.listAll("")))).map(({ key }) => key)).toEqual(["a", "b/c", "d"]);
  });
});

describe("ThrottledStorage", () => {
  it("keeps the average rate, letting one second's worth through at once", async () => {
    const clock = new VirtualClock();
    const storage = new ThrottledStorage(new MemoryStorage(clock), { clock, uploadBytesPerSecond: 100, downloadBytesPerSecond: 1000 });
    const startMs = clock.nowMs();
    const work = (async () => {
      for (let index = 0; index < 10; index++) await storage.put("a", new Uint8Array(100));
    })();
    await drive(clock, work);
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(8_000);
    expect(clock.nowMs() - startMs).toBeLessThanOrEqual(11_000);
    expect((await storage.get("a")).length).toBe(100);
  });

  it("limits requests of each kind by themselves, and listings by their pages", async () => {
    const clock = new VirtualClock();
    const inner = new MemoryStorage(clock);
    for (let index = 0; index < 3_500; index++) await inner.put(`p${index}`, utf8("x"));
    const storage = new ThrottledStorage(inner, { clock, readsPerSecond: 1, writesPerSecond: 2, listsPerSecond: 1 });
    const takenMs = async (work: () => Promise<unknown>): Promise<number> => {
      const startMs = clock.nowMs();
      await drive(clock, work());
      return clock.nowMs() - startMs;
    };
    const reads = await takenMs(async () => {
      for (let index = 0; index < 6; index++) await storage.head("p1");
    });
    expect(reads).toBeGreaterThanOrEqual(4_000);
    const writes = await takenMs(async () => {
      for (let index = 0; index < 12; index++) await storage.delete("none");
    });
    expect(writes).toBeGreaterThanOrEqual(4_000);
    expect(writes).toBeLessThanOrEqual(7_000);
    // Four pages, the first of which goes at once.
    expect(await takenMs(() => collect(storage.list("")))).toBeGreaterThanOrEqual(2_000);
  });

  it("takes a new limit at once, also for calls that wait under the old one", async () => {
    const clock = new VirtualClock();
    const storage = new ThrottledStorage(new MemoryStorage(clock), { clock, uploadBytesPerSecond: 1 });
    await storage.put("a", new Uint8Array(1_000_000));
    const waiting = storage.put("b", new Uint8Array(1));
    await clock.advance(1_000);
    storage.setLimits({ uploadBytesPerSecond: 1_000_000 });
    const startMs = clock.nowMs();
    await drive(clock, waiting);
    expect(clock.nowMs() - startMs).toBeLessThanOrEqual(3_000);
    storage.setLimits({});
    await storage.put("c", new Uint8Array(100_000_000));
    expect(clock.pending).toBe(0);
  });

  it("ends the wait of a call that is aborted, with its reason", async () => {
    const clock = new VirtualClock();
    const storage = new ThrottledStorage(new MemoryStorage(clock), { clock, uploadBytesPerSecond: 1 });
    await storage.put("a", new Uint8Array(1_000));
    const abort = new AbortController();
    const waiting = storage.put("b", new Uint8Array(1), { signal: abort.signal });
    const reason = new Error("enough");
    abort.abort(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it("limits nothing where no rate is said", async () => {
    const clock = new VirtualClock();
    const storage = new ThrottledStorage(new MemoryStorage(clock), { clock });
    await storage.put("a", new Uint8Array(1_000_000));
    await storage.get("a");
    expect(clock.pending).toBe(0);
  });
});

describe("MeteredStorage", () => {
  it("counts calls, bytes and failures by operation", async () => {
    const clock = new VirtualClock();
    const calls: string[] = [];
    const faulty = new FaultyStorage(new MemoryStorage(clock));
    const storage = new MeteredStorage(faulty, { clock, onCall: ({ operation, failure }) => calls.push(`${operation} ${failure ?? "ok"}`) });
    await storage.put("a", [utf8("abc"), utf8("de")]);
    await storage.get("a", { length: 2 });
    await storage.get("none").catch(() => undefined);
    await collect(storage.list(""));
    faulty.plan = faultWhen(({ operation }) => operation === "list");
    await collect(storage.list("")).catch(() => undefined);
    expect(storage.totals("put")).toMatchObject({ calls: 1, failures: 0, bytes: 5 });
    expect(storage.totals("get")).toMatchObject({ calls: 2, failures: 1, bytes: 2 });
    expect(storage.totals("list")).toMatchObject({ calls: 2, failures: 1 });
    expect(calls).toEqual(["put ok", "get ok", "get BLOB_NOT_FOUND", "list ok", "list BLOB_UNAVAILABLE"]);
  });
});
