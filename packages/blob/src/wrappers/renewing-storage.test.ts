import { asBuffer, utf8 } from "@drayage/base";
import { memoryLogger, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { collect } from "../contract/collect.ts";
import { MemoryStorage } from "../memory/memory-storage.ts";
import { FaultyStorage } from "../testing/faulty-storage.ts";
import { RenewingStorage } from "./renewing-storage.ts";

const DENIED = { kind: "fail", code: "BLOB_ACCESS_DENIED" } as const;

/** A store whose key is changed on demand, and a client that is told of the new one on demand. */
function rotating() {
  const clock = new VirtualClock();
  const logger = memoryLogger();
  const inner = new MemoryStorage();
  let valid = 1;
  let mounted = 1;
  let used = 1;
  let looks = 0;
  const open = (key: number): FaultyStorage => new FaultyStorage(inner, () => (key === valid ? undefined : DENIED));
  const storage = new RenewingStorage(open(1), {
    clock,
    logger,
    renew: async () => {
      looks++;
      if (mounted === used) return undefined;
      used = mounted;
      return open(used);
    },
  });
  return {
    ...{ clock, storage, inner, looks: () => looks },
    rotate: () => {
      valid++;
    },
    mount: () => {
      mounted = valid;
    },
  };
}

describe("RenewingStorage", () => {
  it("goes on with other credentials as soon as there are some, with every operation that was refused, looking for all of them at once", async () => {
    const { clock, storage, inner, rotate, mount, looks } = rotating();
    for (const id of ["a", "b", "c"]) await storage.put(id, utf8(id));
    rotate();
    const working = Promise.all([storage.put("d", utf8("d")), storage.get("a"), storage.head("b"), collect(storage.list("a"))]);
    await clock.advance(60_000);
    expect(looks()).toBeLessThanOrEqual(14);
    mount();
    await clock.advance(10_000);
    const [, bytes, { length }, listed] = await working;
    expect([asBuffer(bytes).toString(), length, listed.length]).toEqual(["a", 1, 1]);
    expect(inner.ids()).toEqual(["a", "b", "c", "d"]);
    await storage.close();
  });

  it("survives one rotation after the other", async () => {
    const { clock, storage, inner, rotate, mount } = rotating();
    await storage.put("0", utf8("0"));
    for (let turn = 1; turn <= 5; turn++) {
      rotate();
      const working = storage.put(String(turn), utf8("x"));
      await clock.advance(1_000);
      mount();
      await clock.advance(10_000);
      await working;
    }
    expect(inner.ids()).toEqual(["0", "1", "2", "3", "4", "5"]);
  });

  it("goes on with a listing where it was refused, giving nothing twice", async () => {
    const { clock, storage, rotate, mount } = rotating();
    for (const id of ["a", "b", "c"]) await storage.put(id, utf8(id));
    rotate();
    mount();
    const listing = collect(storage.list(""));
    await clock.advance(10_000);
    expect((await listing).map(({ id }) => id)).toEqual(["a", "b", "c"]);
  });

  it("gives up after its patience, and does not wait for the same in vain once more", async () => {
    const { clock, storage, rotate } = rotating();
    await storage.put("a", utf8("a"));
    rotate();
    const refused = expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await clock.advance(6 * 60_000);
    await refused;
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
  });

  it("does not wait where the first call was refused already, nor for leave to delete", async () => {
    const never = rotating();
    never.rotate();
    await expect(never.storage.get("a")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    const later = rotating();
    await later.storage.put("a", utf8("a"));
    later.rotate();
    await expect(later.storage.delete("a")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    later.mount();
    await later.storage.delete("a");
    expect(later.inner.ids()).toEqual([]);
  });

  it("stops waiting when the call is aborted, and when it is closed", async () => {
    const { storage, rotate } = rotating();
    await storage.put("a", utf8("a"));
    rotate();
    const calling = new AbortController();
    const aborted = expect(storage.get("a", { signal: calling.signal })).rejects.toThrow("enough");
    const closed = expect(storage.get("a")).rejects.toThrow();
    await Promise.resolve();
    calling.abort(new Error("enough"));
    await aborted;
    await storage.close();
    await closed;
  });
});
