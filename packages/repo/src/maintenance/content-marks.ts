import { keyOf } from "../content/content-id.ts";
import type { ContentId } from "../content-port.ts";
import type { PackIndex } from "../index-blobs/pack-index.ts";

/** A set of contents as one bit for each entry of the indexes that name them: of ten million contents it takes little more than a megabyte. */
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
      const position = positionOf(index, key);
      if (position === undefined) continue;
      bits[position >>> 3] = (bits[position >>> 3] ?? 0) | (1 << (position & 7));
      found = true;
    }
    return found;
  }

  has(id: ContentId): boolean {
    const key = keyOf(id);
    for (const { index, bits } of this.#parts) {
      const position = positionOf(index, key);
      // Marked in one means marked in all.
      if (position !== undefined) return ((bits[position >>> 3] ?? 0) & (1 << (position & 7))) !== 0;
    }
    return false;
  }
}

function positionOf(index: PackIndex, key: Uint8Array): number | undefined {
  if (key.length !== index.keyBytes) return undefined;
  const position = index.lowerBound(key);
  return position < index.entryCount && Buffer.compare(index.keyAt(position), key) === 0 ? position : undefined;
}
