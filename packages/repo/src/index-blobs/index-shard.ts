/**
 * The entries of one shard, version 2, on their way into one index or into two.
 *
 * Listings are compressed and file data mostly is not; with two formats in an index each entry says in a byte of its own which one it has. That byte is 3 % of the index of a large
 * snapshot, which everybody who opens the repository fetches; the few entries of listings in an index of their own are one small blob, fetched beside the large one.
 */
import { IndexV2Builder, indexFormatV2 } from "./index-v2.ts";
import { MemoryIndex, memoryBytes } from "./memory-index.ts";
import type { IndexEntry } from "./pack-index.ts";

/** Bytes that another blob is worth. */
const SEPARATE_FROM_ENTRIES = 64 << 10;

export class IndexShard {
  readonly #expected: number;
  readonly #separateFrom: number;
  /** Of contents without a prefix, whose keys come before all others. */
  #data: IndexV2Builder | undefined;
  /** Of the others: the same one where there is too little data for two. */
  #named: IndexV2Builder | undefined;

  /** @param expected - entries that are likely to come */
  constructor(expected: number, separateFrom: number = SEPARATE_FROM_ENTRIES) {
    this.#expected = expected;
    this.#separateFrom = separateFrom;
  }

  /** Entries come in order of their keys. */
  add(entry: IndexEntry): void {
    if (entry.key[0] === 0) {
      this.#data ??= new IndexV2Builder(entry.key.length, this.#expected);
      this.#data.add(entry);
      return;
    }
    this.#named ??= this.#builderOfNamed(entry.key.length);
    this.#named.add(entry);
  }

  /** One for each index that is to be written; none where no entry came. Once. */
  builders(): IndexV2Builder[] {
    const [data, named] = [this.#data, this.#named];
    if (data === undefined || named === undefined || data === named) return [data ?? named].filter((builder) => builder !== undefined);
    if (data.isShorterWithout(named)) return [data, named];
    const bytes = named.build();
    for (const scan = new MemoryIndex(bytes, indexFormatV2(memoryBytes(bytes))).scan(0); scan.next(); ) data.add(scan.entry());
    return [data];
  }

  #builderOfNamed(keyBytes: number): IndexV2Builder {
    // Where there is no data this is all that comes.
    if (this.#data === undefined) return new IndexV2Builder(keyBytes, this.#expected);
    return this.#data.entryCount < this.#separateFrom ? this.#data : new IndexV2Builder(keyBytes);
  }
}
