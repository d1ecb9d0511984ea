import { randomHex } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { KnownIds } from "./known-ids.ts";

describe("KnownIds", () => {
  it("holds what was added, over every growth, and nothing else", () => {
    const random = seededRandom(1);
    const ids = Array.from({ length: 20_000 }, () => randomHex(random, 16));
    const known = new KnownIds(1_000_000);
    for (const id of ids) known.add(id);
    for (const id of ids) known.add(id);
    expect(known.size).toBe(ids.length);
    expect(ids.every((id) => known.has(id))).toBe(true);
    expect(ids.some((id) => known.has(randomHex(random, 16)) || known.has(`k${id}`) || known.has(`Ix${id}`))).toBe(false);
  });

  it("tells prefixes apart, and takes long hashes by their end", () => {
    const known = new KnownIds(10);
    const id = "0".repeat(32);
    for (const one of [id, `k${id}`, `Ix${id}`, `IIx${id}`, `00ff${"a".repeat(60)}`]) {
      expect(known.has(one)).toBe(false);
      known.add(one);
      expect(known.has(one)).toBe(true);
    }
    expect(known.size).toBe(5);
  });

  it("keeps no more than it may, and nothing that is too short to tell apart", () => {
    const known = new KnownIds(2);
    for (const id of ["1".repeat(32), "2".repeat(32), "3".repeat(32), "abc"]) known.add(id);
    expect([known.size, known.has("2".repeat(32)), known.has("3".repeat(32)), known.has("abc")]).toEqual([2, true, false, false]);
  });
});
