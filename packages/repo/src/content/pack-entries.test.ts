import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import { listedEntries, orderOf, SealedEntries } from "./pack-entries.ts";
import { PACK_COLUMNS, type SealedPack } from "./sealing-lane.ts";

const PACK = "p0123456789abcdef0123456789abcdef-s0123456789abcdef000";
const COUNT = 3000;
const DIGEST_BYTES = 16;
const trailer = Uint8Array.from({ length: 32 }, (_, i) => i);

/** Contents of which every tenth shares its first four bytes with others, as hashes hardly ever do. */
function sealedPack(plain: boolean): SealedPack {
  const hashes = new Uint8Array(COUNT * DIGEST_BYTES);
  const columns = new Uint32Array(COUNT * PACK_COLUMNS);
  let offset = 32;
  for (let i = 0; i < COUNT; i++) {
    const hash = createHash("md5").update(String(i)).digest();
    if (i % 10 === 0) hash.fill(7, 0, 4);
    hashes.set(hash, i * DIGEST_BYTES);
    const packed = 28 + (i % 500);
    columns.set([offset, packed, packed - 28, plain ? 0 : (i % 3) * 0x1100], i * PACK_COLUMNS);
    offset += packed;
  }
  return { buffer: new Uint8Array(0), length: offset, count: COUNT, hashes, columns };
}

/** Every seventh content was there before, deleted at a later time. */
const timestampOf = (key: Uint8Array): number => ((key[5] ?? 0) % 7 === 0 ? 1_700_000_005 : 1_700_000_000);

function entriesOf({ hashes, columns }: SealedPack): IndexEntry[] {
  return Array.from({ length: COUNT }, (_, i) => {
    const key = Uint8Array.of(0, ...hashes.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES));
    const [packOffset = 0, packedLength = 0, originalLength = 0, compressionId = 0] = columns.subarray(i * PACK_COLUMNS);
    return {
      key,
      packBlobId: PACK,
      packOffset,
      packedLength,
      originalLength,
      compressionId,
      formatVersion: 3,
      timestampSeconds: timestampOf(key),
      deleted: false,
    };
  });
}

const sealedEntries = (sealed: SealedPack): SealedEntries => new SealedEntries(sealed, { packBlobId: PACK, formatVersion: 3, timestampOf });

describe("entries of a pack in columns", () => {
  it.each([
    [1, true],
    [2, true],
    [2, false],
  ])("become the index that a list of them becomes: version %i, uncompressed %s", (version, plain) => {
    const sealed = sealedPack(plain);
    const bytes = sealedEntries(sealed).encode(version, trailer);
    expect(Buffer.from(bytes).equals(listedEntries(entriesOf(sealed)).encode(version, trailer))).toBe(true);
    expect(sealedEntries(sealed).isSaidBy(decodeIndex(bytes.subarray(0, bytes.length - trailer.length)))).toBe(true);
  });

  it("are not said by an index in which anything is different", () => {
    const sealed = sealedPack(false);
    const entries = entriesOf(sealed);
    const said = (changed: IndexEntry[]): boolean => sealedEntries(sealed).isSaidBy(decodeIndex(listedEntries(changed).encode(2, trailer)));
    expect(said(entries)).toBe(true);
    expect(said(entries.slice(1))).toBe(false);
    const other = (entry: IndexEntry): Partial<IndexEntry>[] => [
      { key: Uint8Array.from(entry.key, (byte, i) => (i === 16 ? byte ^ 1 : byte)) },
      ...[
        { packBlobId: `${PACK}1` },
        { packOffset: entry.packOffset + 1 },
        { packedLength: entry.packedLength + 1 },
        { originalLength: entry.originalLength + 1 },
      ],
      ...[{ compressionId: 5 }, { formatVersion: 2 }, { timestampSeconds: 3 }, { deleted: true }],
    ];
    for (const at of [0, COUNT >> 1, COUNT - 1]) {
      const entry = entries[at] as IndexEntry;
      for (const change of other(entry)) expect([change, said(entries.with(at, { ...entry, ...change }))]).toEqual([change, false]);
    }
  });

  it("are put in order by all of their bytes", () => {
    const hashes = Uint8Array.of(9, 9, 9, 9, 2, 1, 1, 1, 1, 1, 9, 9, 9, 9, 1, 255, 0, 0, 0, 0, 9, 9, 9, 9, 0);
    expect([...orderOf(hashes, 5)]).toEqual([1, 4, 2, 0, 3]);
  });
});
