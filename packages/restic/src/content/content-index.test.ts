import { hash } from "node:crypto";
import { expect, it } from "vitest";
import type { PackedContent } from "../format/pack-header.ts";
import { ContentIndex } from "./content-index.ts";

const idOf = (text: string): Uint8Array => Buffer.from(hash("sha256", text, "hex"), "hex");
const packId = (number: number): string => hash("sha256", `pack ${number}`, "hex");

it("finds each of many contents and nothing else, with data and trees apart, in 32 bytes and a few of table each", () => {
  const index = new ContentIndex();
  const [packs, each] = [500, 100];
  for (let pack = 0; pack < packs; pack++) {
    const contents = Array.from(
      { length: each },
      (_, number): PackedContent => ({
        kind: number % 10 === 0 ? "tree" : "data",
        id: idOf(`${pack}/${number}`),
        ...{ offset: number * 100, length: 100, plainLength: number % 2 === 0 ? 0 : 1000 + number },
      }),
    );
    index.addPack(packId(pack), contents, true);
    // The same pack in a second index file.
    index.addPack(packId(pack), contents, true);
  }
  expect([index.size, index.packCount]).toEqual([packs * each, packs]);
  for (let pack = 0; pack < packs; pack += 7) {
    for (let number = 0; number < each; number++) {
      const kind = number % 10 === 0 ? "tree" : "data";
      expect(index.place(kind, idOf(`${pack}/${number}`))).toEqual({
        pack: packId(pack),
        ...{ offset: number * 100, length: 100, plainLength: number % 2 === 0 ? 68 : 1000 + number, isCompressed: number % 2 === 1 },
      });
      expect(index.place(kind === "tree" ? "data" : "tree", idOf(`${pack}/${number}`))).toBeUndefined();
    }
    expect(index.packEnd(packId(pack))).toBe(each * 100);
  }
  for (let number = 0; number < 1000; number++) expect(index.places("data", idOf(`none ${number}`))).toEqual([]);
  expect(index.totals()).toEqual({ stored: packs * each * 100, plain: packs * (50 * 68 + 50 * 1050), trees: packs * 10 });
});

it("looks up an id within a longer list of ids", () => {
  const index = new ContentIndex();
  index.addPack(packId(0), [{ kind: "data", id: idOf("b"), offset: 5, length: 50, plainLength: 0 }], true);
  expect(index.place("data", Buffer.concat([idOf("a"), idOf("b")]), 32)?.offset).toBe(5);
  expect(() => index.place("data", idOf("a"), 1)).toThrow("its id has 31 bytes");
});
