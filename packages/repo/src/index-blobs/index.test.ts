import { createHash } from "node:crypto";
import { compareBytes, concat, isDrayError, toHex, utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keyOf, parseContentId } from "../content/content-id.ts";
import { bytesOfHex, golden } from "../testing/golden.ts";
import { decodeIndex, encodeIndex, shardEntries } from "./index-codec.ts";
import { V1_ENTRY_AT, V1_HEADER_AT } from "./index-v1.ts";
import { V2_ENTRY_AT, V2_HEADER_AT } from "./index-v2.ts";
import { MergedIndex, mergeEntries } from "./merged-index.ts";
import { findEntry, type IndexEntry, type PackIndex } from "./pack-index.ts";

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);

/** Entry i of the generator that the vectors describe. */
function goldenEntry(i: number, packs: number, formats: number, version: 1 | 2, big: boolean): IndexEntry {
  const prefix = ["", "", "k", "m", "x", "g", "z"][i % 7] ?? "";
  const isBig = big && i === 3;
  const packedLength = isBig ? 0x2345678 : 128 + i;
  return {
    key: keyOf(parseContentId(prefix + sha256(u32(i)).slice(0, 32))),
    packBlobId: `p${sha256(utf8(`pack${i % packs}`)).slice(0, 32)}-s0011223344556677147`,
    packOffset: 32 + 100 * i,
    packedLength,
    originalLength: version === 1 ? packedLength - 28 : isBig ? 0x1234567 : 100 + i,
    compressionId: version === 1 ? 0 : ([0, 0x1101, 0x1100][i % formats] ?? 0),
    formatVersion: version === 1 ? 1 : 3,
    timestampSeconds: 1_760_000_000 + i,
    deleted: i % 5 === 4,
  };
}

const shapes = Object.keys(golden.indexes.values).map((name) => {
  const match = /^n(\d+)(?:p(\d+))?(?:f(\d+))?(v1)?(big)?$/.exec(name);
  if (match === null) throw new Error(name);
  const count = Number(match[1]);
  const described = /(\d+),(\d+),(\d+)/.exec(golden.indexes.shape[name] ?? "");
  return {
    name,
    version: match[4] === undefined ? (2 as const) : (1 as const),
    big: match[5] !== undefined,
    count,
    packs: Number(described?.[2] ?? 1),
    formats: Number(described?.[3] ?? 1),
  };
});

const entry = (overrides: Partial<IndexEntry> & { readonly id?: string } = {}): IndexEntry => ({
  key: keyOf(parseContentId(overrides.id ?? "00112233445566778899aabbccddeeff")),
  packBlobId: "p1",
  packOffset: 32,
  packedLength: 128,
  originalLength: 100,
  compressionId: 0,
  formatVersion: 3,
  timestampSeconds: 1000,
  deleted: false,
  ...overrides,
});
const all = (index: PackIndex): IndexEntry[] => Array.from({ length: index.entryCount }, (_, i) => index.entryAt(i));
const plain = ({ key, ...rest }: IndexEntry): object => ({ key: toHex(key), ...rest });

describe("pack indexes", () => {
  for (const { name, version, big, count, packs, formats } of shapes) {
    it(`${name}: are encoded and sharded byte by byte as Kopia does, and read back`, () => {
      const expected = golden.indexes.values[name];
      const entries = Array.from({ length: count }, (_, i) => goldenEntry(i, packs, formats, version, big));
      const bytes = encodeIndex(version, entries);
      expect([bytes.length, sha256(bytes)]).toEqual([expected?.len, expected?.sha]);
      if (expected?.hex !== undefined) expect(toHex(bytes)).toBe(expected.hex);
      const shards = shardEntries(entries, Math.max(1, Math.floor((count + 2) / 3))).map((shard) => sha256(encodeIndex(version, shard)));
      expect(shards).toEqual(expected?.shards);
      const index = decodeIndex(concat([bytes, new Uint8Array(32)]));
      expect(index.entryCount).toBe(count);
      for (const i of [0, 1, 2, 3, 4, count >> 1, count - 1].filter((at) => at < count)) {
        const wanted = goldenEntry(i, packs, formats, version, big);
        const found = findEntry(index, wanted.key);
        expect(found === undefined ? undefined : plain(found)).toEqual(plain(wanted));
      }
    });
  }

  it("answer every prefix and every flipped byte with an error or with entries", () => {
    for (const name of ["n6p2f2", "n6p2f2big", "n5v1"]) {
      const bytes = bytesOfHex(golden.indexes.values[name]?.hex ?? "");
      const attempt = (data: Uint8Array): void => {
        try {
          for (const { packBlobId, packedLength } of all(decodeIndex(data))) expect([packBlobId.length > 0, packedLength >= 0]).toEqual([true, true]);
        } catch (error) {
          expect(isDrayError(error) && ["REPO_CORRUPT", "REPO_UNSUPPORTED"].includes(error.code)).toBe(true);
        }
      };
      for (let at = 0; at < bytes.length; at++) {
        expect(() => all(decodeIndex(bytes.subarray(0, at)))).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
        for (const mask of [0x01, 0x80, 0xff]) {
          const damaged = bytes.slice();
          damaged[at] = (damaged[at] ?? 0) ^ mask;
          attempt(damaged);
        }
      }
    }
  });

  it("do not believe counts that the bytes cannot hold", () => {
    const header = Uint8Array.of(2, 17, 0, 16, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0, 0, 0, 0);
    expect(() => decodeIndex(header)).toThrow(/its tables take/);
    expect(() => decodeIndex(Uint8Array.of(1, 17, 0, 20, 0xff, 0xff, 0xff, 0xff))).toThrow(/its entries take/);
    expect(() => decodeIndex(new Uint8Array())).toThrow(/it is empty/);
    expect(() => decodeIndex(Uint8Array.of(3))).toThrow(/version is 3/);
  });

  it("add the base timestamp that other writers may use", () => {
    const bytes = encodeIndex(2, [entry({ timestampSeconds: 5 })]);
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(V2_HEADER_AT.baseTimestamp, 1_700_000_000);
    expect(decodeIndex(bytes).entryAt(0).timestampSeconds).toBe(1_700_000_005);
  });

  it("refuse contents under a second encryption key, and pack names that no blob can have", () => {
    const bytes = encodeIndex(2, [entry()]);
    const keyIdAt = bytes.length - "p1".length - 1;
    const second = bytes.slice();
    second[keyIdAt] = 1;
    expect(() => decodeIndex(second).entryAt(0)).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
    const path = bytes.slice();
    path[bytes.length - 1] = "/".charCodeAt(0);
    expect(() => decodeIndex(path).entryAt(0)).toThrow(/no blob name/);
  });

  it("have the layouts that their comments show", async () => {
    const { readFileSync } = await import("node:fs");
    const table = (file: string, from: string): Record<string, number> => {
      const text = readFileSync(new URL(file, import.meta.url), "utf8");
      const lines = text.slice(text.indexOf(from)).split("\n").slice(1);
      const rows: Record<string, number> = {};
      for (const line of lines) {
        const match = /^ \* +(\d+) +\d+ +(\w+)/.exec(line);
        if (match?.[2] !== undefined) rows[match[2]] = Number(match[1]);
        else break;
      }
      return rows;
    };
    expect(table("./index-v2.ts", "offset  size  field")).toEqual(V2_HEADER_AT);
    expect(table("./index-v2.ts", "entry: key, then")).toEqual(V2_ENTRY_AT);
    expect(table("./index-v1.ts", "offset  size  field")).toEqual(V1_HEADER_AT);
    expect(table("./index-v1.ts", "entry: key, then")).toEqual(V1_ENTRY_AT);
  });

  it("find the place of keys and prefixes", () => {
    const ids = ["10ab", "20ab", "k10ab", "m00ab"];
    const index = decodeIndex(
      encodeIndex(
        2,
        ids.map((id) => entry({ id })),
      ),
    );
    expect(["00ab", "10ab", "20ff", "k00ab", "z00ab"].map((id) => index.lowerBound(keyOf(parseContentId(id))))).toEqual([0, 0, 2, 2, 4]);
    expect(index.lowerBound(utf8("k"))).toBe(2);
    expect(findEntry(index, keyOf(parseContentId("20ac")))).toBeUndefined();
    expect(findEntry(index, keyOf(parseContentId("20abcd")))).toBeUndefined();
  });
});

describe("merged indexes", () => {
  const indexOf = (...entries: IndexEntry[]): PackIndex => decodeIndex(encodeIndex(2, entries));
  const merge = (parts: readonly PackIndex[]): MergedIndex => {
    const merged = new MergedIndex(12);
    for (const [i, part] of parts.entries()) merged.add(`x${i}`, part);
    return merged;
  };
  const winner = (...entries: IndexEntry[]): IndexEntry | undefined => merge(entries.map((one) => indexOf(one))).find(entry().key);

  it("let the later entry hold, then the one that is not deleted, then the greater pack name", () => {
    expect(winner(entry({ timestampSeconds: 1 }), entry({ timestampSeconds: 2, deleted: true }))?.deleted).toBe(true);
    expect(winner(entry({ deleted: true }), entry())?.deleted).toBe(false);
    expect(winner(entry({ packBlobId: "p2" }), entry({ packBlobId: "p10" }))?.packBlobId).toBe("p2");
    expect(winner()).toBeUndefined();
  });

  it("say the same whether looked up, listed, merged beforehand or not", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.record({ id: fc.integer({ min: 0, max: 40 }), at: fc.integer({ min: 1, max: 3 }), deleted: fc.boolean() }), { maxLength: 12 }), {
          maxLength: 20,
        }),
        (lists) => {
          const parts = lists
            .map((list, pack) => {
              const unique = new Map(list.map((item) => [item.id, item]));
              return [...unique.values()].map((item) =>
                entry({
                  id: `${item.id % 3 === 0 ? "k" : ""}${item.id.toString(16).padStart(4, "0")}`,
                  timestampSeconds: item.at,
                  deleted: item.deleted,
                  packBlobId: `p${String(pack).padStart(2, "0")}`,
                }),
              );
            })
            .filter((list) => list.length > 0)
            .map((list) => indexOf(...list));
          const expected = [...mergeEntries(parts)];
          const merged = merge(parts);
          expect([...merged.entries()].map(plain)).toEqual(expected.map(plain));
          for (let i = 1; i < expected.length; i++) expect(compareBytes(expected[i - 1]?.key ?? utf8(""), expected[i]?.key ?? utf8(""))).toBeLessThan(0);
          for (const one of expected) expect(plain(merged.find(one.key) ?? one)).toEqual(plain(one));
          const directories = expected.filter(({ key }) => key[0] === 0x6b);
          expect([...merged.entries(0x6b)].map(plain)).toEqual(directories.map(plain));
        },
      ),
    );
  });

  it("forget what is gone, and with it what was merged with it", () => {
    const parts = Array.from({ length: 20 }, (_, i) => indexOf(entry({ id: `${i.toString(16).padStart(2, "0")}aa` })));
    const merged = merge(parts);
    merged.retain(new Set(parts.map((_, i) => `x${i}`)));
    expect([merged.entryCount, merged.has("x19")]).toEqual([20, true]);
    expect(merged.find(keyOf(parseContentId("13aa")))).toBeDefined();
    merged.retain(new Set(parts.slice(1).map((_, i) => `x${i + 1}`)));
    expect(merged.entryCount).toBeLessThan(20);
    const missing = parts.flatMap((part, i) => (i > 0 && !merged.has(`x${i}`) ? [[`x${i}`, part] as const] : []));
    for (const [name, part] of missing) merged.add(name, part);
    expect([...merged.entries()].length).toBe(19);
    expect(merged.find(keyOf(parseContentId("00aa")))).toBeUndefined();
  });
});
