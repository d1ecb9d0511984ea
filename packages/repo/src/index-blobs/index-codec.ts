/** Indexes of either version: which one a byte string is, and how entries are spread over several. */
import { compareBytes } from "@drayage/base";
import { IndexShard } from "./index-shard.ts";
import { encodeIndexV1, indexFormatV1 } from "./index-v1.ts";
import { IndexV2Builder, indexFormatV2 } from "./index-v2.ts";
import { MemoryIndex, memoryBytes } from "./memory-index.ts";
import { corruptIndex, type IndexBytes, type IndexEntry, type IndexFormat } from "./pack-index.ts";

/** Above this an index is written as several. */
export const SHARD_ENTRIES_MAX = 16_000_000;

/** Decodes an index that lies in memory; its entries stay bytes until they are asked for. Throws REPO_CORRUPT. */
export function decodeIndex(bytes: Uint8Array): MemoryIndex {
  return new MemoryIndex(bytes, indexFormatOf(memoryBytes(bytes)));
}

/** The format of an index by its first byte; both versions may stand side by side in a repository. Throws REPO_CORRUPT. */
export function indexFormatOf(bytes: IndexBytes): IndexFormat {
  if (bytes.length === 0) throw corruptIndex("it is empty");
  const [version] = bytes.read(0, 1);
  if (version === 1) return indexFormatV1(bytes);
  if (version === 2) return indexFormatV2(bytes);
  throw corruptIndex(`version is ${version}, 1 and 2 are known`);
}

/** Encodes entries, in any order, as one index of a version. */
export function encodeIndex(version: number, entries: readonly IndexEntry[], trailer?: Uint8Array): Uint8Array {
  const sorted = inKeyOrder(entries);
  if (version === 1) return encodeIndexV1(sorted, trailer);
  const builder = new IndexV2Builder(sorted[0]?.key.length ?? 0, sorted.length);
  for (const entry of sorted) builder.add(entry);
  return builder.build(trailer);
}

/** Entries in the order of their keys; these themselves where they are in it already. */
export function inKeyOrder(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  const isSorted = entries.every(({ key }, i) => i === 0 || compareBytes((entries[i - 1] as IndexEntry).key, key) <= 0);
  return isSorted ? entries : entries.toSorted((a, b) => compareBytes(a.key, b.key));
}

/** Spreads entries over as few shards as the limit needs, by FNV-1a of the text of their ids; empty shards are left out (kopia-format.md 6.4). */
export function shardEntries(entries: readonly IndexEntry[], shardEntriesMax: number = SHARD_ENTRIES_MAX): IndexEntry[][] {
  const count = Math.ceil(entries.length / shardEntriesMax);
  if (count <= 1) return entries.length === 0 ? [] : [[...entries]];
  const shards: IndexEntry[][] = Array.from({ length: count }, () => []);
  for (const entry of entries) shards[hashOfId(entry.key) % count]?.push(entry);
  return shards.filter((shard) => shard.length > 0);
}

/**
 * Encodes entries that come in order of their keys, none twice, as one index or as several, each when it is asked for: what is not encoded yet takes some 40
 * bytes an entry, what was handed out is no longer kept here. Entries of file data, when they are many, come apart from those of listings (`IndexShard`).
 * @param countMax - as many entries come at most; decides how many shards there are
 */
export function encodeInShards(version: number, entries: Iterable<IndexEntry>, countMax: number, shardEntriesMax: number = SHARD_ENTRIES_MAX): IndexShards {
  if (version === 1) {
    const shards = shardEntries([...entries].map(copyOf), shardEntriesMax);
    return { count: shards.length, encode: (trailer) => lazily(shards.map((shard) => () => encodeIndex(1, shard, trailer?.()))) };
  }
  const count = Math.max(1, Math.ceil(countMax / shardEntriesMax));
  const expected = count === 1 ? countMax : Math.ceil((countMax / count) * SHARD_SLACK);
  const shards = Array.from({ length: count }, () => new IndexShard(expected));
  for (const entry of entries) shards[count === 1 ? 0 : hashOfId(entry.key) % count]?.add(entry);
  const builders = shards.splice(0).flatMap((shard) => shard.builders());
  return { count: builders.length, encode: (trailer) => lazily(builders.splice(0).map((builder) => () => builder.build(trailer?.()))) };
}

/** Shards share entries nearly evenly, so that a builder with this much room more seldom grows. */
const SHARD_SLACK = 1.05;

export interface IndexShards {
  readonly count: number;
  /** The shards, once. `trailer` gives what stands behind each. */
  encode(trailer?: () => Uint8Array): IterableIterator<Uint8Array>;
}

/** All shards at once. */
export function encodeShards(version: number, entries: Iterable<IndexEntry>, countMax: number, shardEntriesMax: number = SHARD_ENTRIES_MAX): Uint8Array[] {
  return [...encodeInShards(version, entries, countMax, shardEntriesMax).encode()];
}

function* lazily(makers: (() => Uint8Array)[]): IterableIterator<Uint8Array> {
  for (let make = makers.shift(); make !== undefined; make = makers.shift()) yield make();
}

/** An entry whose key outlives the index that it came from. */
function copyOf(entry: IndexEntry): IndexEntry {
  return { ...entry, key: entry.key.slice() };
}

/** FNV-1a of the text of the content id that a key stands for, without making the text. */
function hashOfId(key: Uint8Array): number {
  let hash = 0x811c9dc5;
  const take = (code: number): void => {
    hash = Math.imul(hash ^ code, 0x01000193);
  };
  const [prefix = 0] = key;
  if (prefix !== 0) take(prefix);
  for (let i = 1; i < key.length; i++) {
    take(HEX_DIGITS[(key[i] as number) >>> 4] as number);
    take(HEX_DIGITS[(key[i] as number) & 15] as number);
  }
  return hash >>> 0;
}

const HEX_DIGITS = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0));
