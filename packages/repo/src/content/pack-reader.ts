/**
 * Reads stored contents out of packs. Small ones come through a cache of blocks, since neighbours in a pack are wanted together; large ones are read as they are.
 *
 * Memory: blocks kept, at most `cacheBytesMax`, and up to eight blocks on their way, besides the contents handed out.
 */
import { DrayError, hasCode, Semaphore } from "@drayage/base";
import type { BlobStorage, GetBlobOptions } from "@drayage/blob";
import { shared } from "./shared-work.ts";

export interface StoredRange {
  readonly packBlobId: string;
  readonly packOffset: number;
  readonly packedLength: number;
}

const BLOCK_BYTES = 1 << 20;
/** Contents from this length on are read by their own range. */
const DIRECT_FROM_BYTES = BLOCK_BYTES / 2;
const LENGTHS_MAX = 10_000;
const LOADS_AT_ONCE = 8;

export class PackReader {
  readonly #storage: BlobStorage;
  readonly #blocksMax: number;
  /** In order of use, the least recently used first. */
  readonly #blocks = new Map<string, Promise<Uint8Array>>();
  readonly #lengths = new Map<string, Promise<number>>();
  readonly #loads: Semaphore;
  #bytesFetched = 0;

  constructor(storage: BlobStorage, cacheBytesMax: number) {
    this.#storage = storage;
    this.#blocksMax = Math.max(1, Math.floor(cacheBytesMax / BLOCK_BYTES));
    this.#loads = new Semaphore(Math.min(LOADS_AT_ONCE, this.#blocksMax));
  }

  /** Bytes fetched for `read` so far. */
  get bytesFetched(): number {
    return this.#bytesFetched;
  }

  /** The stored bytes of a content. Throws BLOB_NOT_FOUND when the pack is gone, REPO_CORRUPT when it is too short. */
  async read(range: StoredRange, signal?: AbortSignal): Promise<Uint8Array> {
    if (range.packedLength >= DIRECT_FROM_BYTES) {
      this.#bytesFetched += range.packedLength;
      return this.readRange(range.packBlobId, range.packOffset, range.packedLength, signal === undefined ? {} : { signal });
    }
    const first = Math.floor(range.packOffset / BLOCK_BYTES);
    const last = Math.floor((range.packOffset + range.packedLength - 1) / BLOCK_BYTES);
    const out = new Uint8Array(range.packedLength);
    for (let block = first; block <= last; block++) {
      const bytes = await this.#block(range.packBlobId, block, signal);
      const from = Math.max(range.packOffset, block * BLOCK_BYTES);
      const to = Math.min(range.packOffset + range.packedLength, (block + 1) * BLOCK_BYTES);
      if (to - block * BLOCK_BYTES > bytes.length) throw tooShort(range.packBlobId, to);
      out.set(bytes.subarray(from - block * BLOCK_BYTES, to - block * BLOCK_BYTES), from - range.packOffset);
    }
    return out;
  }

  /** A content, opened. What does not open is read once more from the store itself, past every copy on the way: one may be damaged, or be of before a repair. */
  async readOpened(range: StoredRange, open: (stored: Uint8Array) => Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      return open(await this.read(range, signal));
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
    }
    const { packBlobId, packOffset, packedLength } = range;
    for (const key of this.#blocks.keys()) if (key.startsWith(`${packBlobId}/`)) this.#blocks.delete(key);
    this.#lengths.delete(packBlobId);
    this.#bytesFetched += packedLength;
    return open(await this.readRange(packBlobId, packOffset, packedLength, { fresh: true, ...(signal === undefined ? {} : { signal }) }));
  }

  /** A range of a pack, past the cache. */
  async readRange(packBlobId: string, offset: number, length: number, options: Omit<GetBlobOptions, "offset" | "length"> = {}): Promise<Uint8Array> {
    try {
      return await this.#storage.get(packBlobId, { ...options, offset, length });
    } catch (error) {
      throw hasCode(error, "BLOB_INVALID_RANGE") ? tooShort(packBlobId, offset + length, error) : error;
    }
  }

  #block(packBlobId: string, block: number, signal?: AbortSignal): Promise<Uint8Array> {
    const key = `${packBlobId}/${block}`;
    const known = this.#blocks.get(key);
    if (known !== undefined) {
      this.#blocks.delete(key);
      this.#blocks.set(key, known);
      return known;
    }
    // Shared by all who want the block: the abort of one of them must not fail the others, so the load itself has no signal of theirs.
    const loaded = this.#loads.run(() => this.#loadBlock(packBlobId, block), 1);
    this.#blocks.set(key, loaded);
    loaded.catch(() => {
      if (this.#blocks.get(key) === loaded) this.#blocks.delete(key);
    });
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= this.#blocksMax) break;
      this.#blocks.delete(oldest);
    }
    return shared(loaded, signal);
  }

  async #loadBlock(packBlobId: string, block: number): Promise<Uint8Array> {
    const length = await this.#length(packBlobId);
    const offset = block * BLOCK_BYTES;
    if (offset >= length) throw tooShort(packBlobId, offset + 1);
    const bytes = await this.readRange(packBlobId, offset, Math.min(BLOCK_BYTES, length - offset));
    this.#bytesFetched += bytes.length;
    return bytes;
  }

  #length(packBlobId: string): Promise<number> {
    const known = this.#lengths.get(packBlobId);
    if (known !== undefined) return known;
    const loaded = this.#storage.head(packBlobId).then(({ length }) => length);
    this.#lengths.set(packBlobId, loaded);
    loaded.catch(() => this.#lengths.delete(packBlobId));
    if (this.#lengths.size > LENGTHS_MAX) {
      const [oldest] = this.#lengths.keys();
      if (oldest !== undefined) this.#lengths.delete(oldest);
    }
    return loaded;
  }
}

function tooShort(packBlobId: string, needed: number, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read pack "${packBlobId}": it ends before byte ${needed}`, { cause, context: { packBlobId } });
}
