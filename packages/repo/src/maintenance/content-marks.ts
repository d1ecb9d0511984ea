import { keyOf } from "../content/content-id.ts";
import type { ContentId } from "../content-port.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";
import type { IndexEntry, PackIndex } from "../index-blobs/pack-index.ts";

/**
 * A set of contents as one bit for each entry of the indexes that name them: of ten million contents it takes little more than a megabyte.
 * It is about the indexes as they were when it was made: what others add meanwhile is not in it, neither as marked nor as unmarked.
 */
export class ContentMarks {
  readonly #parts: readonly { readonly index: PackIndex; readonly bits: Uint8Array }[];

  constructor(indexes: readonly PackIndex[]) {
    this.#parts = indexes.map((index) => ({ index, bits: new Uint8Array(Math.ceil(index.entryCount / 8)) }));
  }

  /** Marks a content in every index that names it. Returns false when none does. */
  mark(id: ContentId): boolean {
    const key = keyOf(id);
    let found = false;
    for (const { index, bits } of this.#parts) {
      const position = index.find(key);
      if (position === -1) continue;
      bits[position >>> 3] = (bits[position >>> 3] ?? 0) | (1 << (position & 7));
      found = true;
    }
    return found;
  }

  has(id: ContentId): boolean {
    return this.hasKey(keyOf(id));
  }

  hasKey(key: Uint8Array): boolean {
    for (const { index, bits } of this.#parts) {
      const position = index.find(key);
      // Marked in one means marked in all.
      if (position !== -1) return ((bits[position >>> 3] ?? 0) & (1 << (position & 7))) !== 0;
    }
    return false;
  }

  /** The entries that hold in those indexes, deleted ones included, in order of their keys. */
  entries(): IterableIterator<IndexEntry> {
    return mergeEntries(this.#parts.map(({ index }) => index));
  }
}
