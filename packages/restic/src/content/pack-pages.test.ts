import { describe, expect, it } from "vitest";
import { PackPages } from "./pack-pages.ts";

const PAGE = 64 << 10;
const PACK = Uint8Array.from({ length: 40 * PAGE + 100 }, (_, i) => (i * 2_654_435_761) >>> 24);

function pages(): { readonly pages: PackPages; readonly fetched: number[]; fail: boolean } {
  const fetched: number[] = [];
  const all = {
    fetched,
    fail: false,
    pages: new PackPages(async (_pack, offset, length) => {
      if (all.fail) throw new Error("the store is away");
      fetched.push(length);
      return PACK.slice(offset, offset + length);
    }),
  };
  return all;
}

describe("PackPages", () => {
  it("fetches little for a few listings, wherever they are, and a page only once", async () => {
    const { pages: some, fetched } = pages();
    for (const offset of [PACK.length - 50, 3 * PAGE - 20, 100, 120]) {
      expect(await some.read("p", offset, 50, PACK.length)).toEqual(PACK.slice(offset, offset + 50));
    }
    // One lies across two pages; the last page of the pack is shorter.
    expect(fetched).toEqual([100, PAGE, PAGE, PAGE]);
  });

  it("fetches more at once for who reads on, each byte about once", async () => {
    const { pages: some, fetched } = pages();
    for (let offset = 0; offset < PACK.length; offset += 5000) {
      const length = Math.min(5000, PACK.length - offset);
      expect(await some.read("p", offset, length, PACK.length)).toEqual(PACK.slice(offset, offset + length));
    }
    expect(fetched.length).toBeLessThan(20);
    expect(fetched.reduce((sum, length) => sum + length, 0)).toBeLessThan(PACK.length + 8 * PAGE);
  });

  it("asks again for what could not be had", async () => {
    const store = pages();
    store.fail = true;
    for (let i = 0; i < 14; i++) await expect(store.pages.read("p", i * PAGE, 10, PACK.length)).rejects.toThrow("away");
    store.fail = false;
    expect(await store.pages.read("p", 13 * PAGE, 10, PACK.length)).toEqual(PACK.slice(13 * PAGE, 13 * PAGE + 10));
  });
});
