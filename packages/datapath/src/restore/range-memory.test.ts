import { describe, expect, it } from "vitest";
import { RangeMemory } from "./range-memory.ts";

/** Whether it is there after everything that can happen has happened. */
async function isThere(taken: Promise<unknown>): Promise<boolean> {
  let there = false;
  void taken.then(() => {
    there = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return there;
}

describe("memory for ranges", () => {
  it("is one piece, of which those who hold a part have each their own", async () => {
    const memory = new RangeMemory(100);
    const parts = await Promise.all([memory.take(40), memory.take(50), memory.take(10)]);
    expect(new Set(parts.map(({ bytes }) => bytes.buffer)).size).toBe(1);
    expect(parts.map(({ bytes }) => [bytes.byteOffset, bytes.length])).toEqual([
      [0, 40],
      [40, 50],
      [90, 10],
    ]);
  });

  it("is used again from the front, where the gap is wide enough", async () => {
    const memory = new RangeMemory(100);
    const [first, second] = [await memory.take(30), await memory.take(30)];
    first.giveBack();
    expect((await memory.take(31)).bytes.byteOffset).toBe(60);
    expect((await memory.take(30)).bytes.byteOffset).toBe(0);
    second.giveBack();
    expect((await memory.take(10)).bytes.byteOffset).toBe(30);
  });

  it("is waited for while every gap is too small, however much is free in all", async () => {
    const memory = new RangeMemory(100);
    const held = [await memory.take(40), await memory.take(20), await memory.take(40)];
    held[0]?.giveBack();
    held[2]?.giveBack();
    const late = memory.take(60);
    expect(await isThere(late)).toBe(false);
    // Others that fit go first.
    expect((await memory.take(40)).bytes.byteOffset).toBe(0);
    held[1]?.giveBack();
    expect((await late).bytes.byteOffset).toBe(40);
  });

  it("lets pass what is longer than all of it", async () => {
    const memory = new RangeMemory(100);
    const held = await memory.take(100);
    const long = await memory.take(101);
    expect(long.bytes.length).toBe(101);
    expect(long.bytes.buffer).not.toBe(held.bytes.buffer);
    // Nothing is given back twice.
    long.giveBack();
    held.giveBack();
    held.giveBack();
    expect((await memory.take(100)).bytes.byteOffset).toBe(0);
  });
});
