import { createHash } from "node:crypto";
import { compareBytes, toHex } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyOf, parseContentId } from "../content/content-id.ts";
import { decodeIndex, encodeIndex } from "./index-codec.ts";
import { IndexShard } from "./index-shard.ts";
import { mergeEntries } from "./merged-index.ts";
import type { IndexEntry } from "./pack-index.ts";

const ZSTD = 0x1101;

function entryOf(number: number, prefix: string, compressionId: number): IndexEntry {
  const id = prefix + createHash("sha256").update(`${number}`).digest("hex").slice(0, 32);
  return {
    key: keyOf(parseContentId(id)),
    packBlobId: `${prefix === "" ? "p" : "q"}${number % 3}`,
    ...{
      packOffset: 32 + number,
      packedLength: 128,
      originalLength: 100,
      compressionId,
      formatVersion: 3,
      timestampSeconds: 1000 + number,
      deleted: number % 5 === 0,
    },
  };
}

function indexesOf(entries: readonly IndexEntry[], separateFrom: number): Uint8Array[] {
  const shard = new IndexShard(entries.length, separateFrom);
  for (const entry of entries) shard.add(entry);
  return shard.builders().map((builder) => builder.build());
}

const comparable = (entry: IndexEntry): unknown => ({ ...entry, key: toHex(entry.key) });
const inOrder = (entries: readonly IndexEntry[]): IndexEntry[] => entries.toSorted((a, b) => compareBytes(a.key, b.key));
const many = (compressionId: number): IndexEntry[] =>
  inOrder([...Array.from({ length: 1000 }, (_, i) => entryOf(i, "", 0)), ...Array.from({ length: 10 }, (_, i) => entryOf(i, "k", compressionId))]);

describe("the entries of a shard", () => {
  it("of many contents without compression come apart from those of listings, and take a byte less each", () => {
    const entries = many(ZSTD);
    const apart = indexesOf(entries, 1000);
    const together = indexesOf(entries, 1001);
    expect(apart.map((bytes) => decodeIndex(bytes).entryCount)).toEqual([1000, 10]);
    expect(together).toEqual([encodeIndex(2, entries)]);
    // What is written twice: a header and the format of listings.
    expect(apart.reduce((sum, { length }) => sum + length, 0)).toBe((together[0]?.length ?? 0) - 1000 - 10 + 17);
  });

  it("stay together where that makes none of them shorter", () => {
    const entries = many(0);
    expect(indexesOf(entries, 1)).toEqual([encodeIndex(2, entries)]);
    const mixed = inOrder([...many(ZSTD), entryOf(2000, "", ZSTD)]);
    expect(indexesOf(mixed, 1)).toEqual([encodeIndex(2, mixed)]);
  });

  it("say the same however they are spread, and in one index are what Kopia writes", () => {
    const entry = fc.tuple(fc.nat(500), fc.constantFrom("", "", "k", "m", "x"), fc.constantFrom(0, 0, ZSTD)).map((parts) => entryOf(...parts));
    const distinct = fc.uniqueArray(entry, { selector: ({ key }) => toHex(key), maxLength: 60 }).map(inOrder);
    fc.assert(
      fc.property(distinct, fc.nat(60), (entries, separateFrom) => {
        const indexes = indexesOf(entries, separateFrom);
        expect([...mergeEntries(indexes.map(decodeIndex))].map(comparable)).toEqual(entries.map(comparable));
        if (indexes.length === 1) expect(indexes[0]).toEqual(encodeIndex(2, entries));
        expect(indexes.length).toBeLessThanOrEqual(2);
      }),
    );
  });
});
