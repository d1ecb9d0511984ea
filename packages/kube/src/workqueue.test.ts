import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { Workqueue } from "./workqueue.ts";

function setUp(options: { itemsMax?: number } = {}) {
  const clock = new VirtualClock();
  return { clock, queue: new Workqueue({ clock, random: seededRandom(1), backoffFirstMs: 100, backoffMaxMs: 1_000, ...options }) };
}

describe("a workqueue", () => {
  it("holds a key once, however often it is added", async () => {
    const { queue } = setUp();
    for (const key of ["a", "b", "a"]) queue.add(key);
    expect(queue.length).toBe(2);
    expect([await queue.take(), await queue.take()]).toEqual(["a", "b"]);
  });

  it("gives a key again only after it is done, when it was added meanwhile", async () => {
    const { queue } = setUp();
    queue.add("a");
    await queue.take();
    queue.add("a");
    expect(queue.length).toBe(0);
    queue.done("a");
    expect(await queue.take()).toBe("a");
  });

  it("hands a key to who waits for one", async () => {
    const { queue } = setUp();
    const taken = queue.take();
    queue.add("a");
    expect(await taken).toBe("a");
    expect(queue.working).toBe(1);
  });

  it("brings a delayed key at the earliest of its times", async () => {
    const { clock, queue } = setUp();
    queue.addAfter("a", 1_000);
    queue.addAfter("a", 5_000);
    queue.addAfter("a", 500);
    await clock.advance(499);
    expect(queue.length).toBe(0);
    await clock.advance(1);
    expect(queue.length).toBe(1);
    await clock.advance(10_000);
    expect(queue.length).toBe(1);
  });

  it("puts a failing key off longer each time, up to a limit, and from the start again once it is forgotten", () => {
    const { queue } = setUp();
    const delays = Array.from({ length: 6 }, () => queue.addFailed("a"));
    expect(delays.every((delay, index) => delay >= Math.min(50 * 2 ** index, 500) && delay <= Math.min(100 * 2 ** index, 1_000))).toBe(true);
    expect(queue.failures("a")).toBe(6);
    queue.forget("a");
    expect(queue.addFailed("a")).toBeLessThanOrEqual(100);
  });

  it("ends who waits when it is closed, and takes nothing more", async () => {
    const { clock, queue } = setUp();
    const taken = queue.take();
    queue.addAfter("later", 10);
    queue.close();
    queue.add("a");
    await clock.advance(100);
    expect(await taken).toBeUndefined();
    expect(await queue.take()).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  it("refuses more items than its limit", () => {
    const { queue } = setUp({ itemsMax: 2 });
    queue.add("a");
    queue.addAfter("b", 10);
    expect(() => queue.add("c")).toThrow("2 items wait already");
  });
});
