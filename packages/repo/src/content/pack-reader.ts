/**
 * Reads stored contents out of packs. Small ones come in blocks that are kept, where their neighbours in the pack are likely to be wanted, too: as large as what the reader expects to want,
 * since who wants one listing of a thousand has no use for the others. Large contents, and small ones that are wanted alone, are read as they are.
 *
 * Memory: what is kept, at most `cacheBytesMax`, and up to eight blocks on their way, besides the contents handed out.
 */
import { DrayError, hasCode, Semaphore } from "@drayage/base";
import type { BlobStorage, GetBlobOptions } from "@drayage/blob";
import type { ReadContentOptions } from "../content-port.ts";
import { shared } from "./shared-work.ts";

export interface StoredRange {
  readonly packBlobId: string;
  readonly packOffset: number;
  readonly packedLength: number;
}

const BLOCK_BYTES_MAX = 1 << 20;
/** Smaller blocks save nothing: their request costs more than their bytes. */
const BLOCK_BYTES_MIN = 16 << 10;
/** Contents from this length on are read by their own range, and not kept. */
const DIRECT_FROM_BYTES = BLOCK_BYTES_MAX / 2;
const LENGTHS_MAX = 10_000;
const LOADS_AT_ONCE = 8;

export class PackReader {
  readonly #storage: BlobStorage;
  readonly #cacheBytesMax: number;
  /** Stretches of packs in order of use, the least recently used first. */
  readonly #kept = new Map<string, { readonly length: number; readonly bytes: Promise<Uint8Array> }>();
  #keptBytes = 0;
  readonly #lengths = new Map<string, Promise<number>>();
  readonly #loads: Semaphore;
  #bytesFetched = 0;

  constructor(storage: BlobStorage, cacheBytesMax: number) {
    this.#storage = storage;
    this.#cacheBytesMax = cacheBytesMax;
    this.#loads = new Semaphore(Math.min(LOADS_AT_ONCE, Math.max(1, Math.floor(cacheBytesMax / BLOCK_BYTES_MAX))));
  }

  /** Bytes fetched for `read` so far. */
  get bytesFetched(): number {
    return this.#bytesFetched;
  }

  /** Bytes that are kept, and those that are being fetched to be kept. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** The stored bytes of a content. Throws BLOB_NOT_FOUND when the pack is gone, REPO_CORRUPT when it is too short. */
  async read(range: StoredRange, signal?: AbortSignal, { aroundBytes = BLOCK_BYTES_MAX }: ReadContentOptions = {}): Promise<Uint8Array> {
    const { packBlobId, packOffset, packedLength } = range;
    if (packedLength >= DIRECT_FROM_BYTES) {
      this.#bytesFetched += packedLength;
      return this.readRange(packBlobId, packOffset, packedLength, signal === undefined ? {} : { signal });
    }
    const blockBytes = blockBytesOf(aroundBytes);
    if (packedLength >= blockBytes / 2) {
      return (await this.#stretch(range, packedLength, () => this.#load(packBlobId, packOffset, packedLength), signal)).slice();
    }
    const first = Math.floor(packOffset / blockBytes);
    const last = Math.floor((packOffset + packedLength - 1) / blockBytes);
    const out = new Uint8Array(packedLength);
    for (let block = first; block <= last; block++) {
      const at = block * blockBytes;
      const bytes = await this.#stretch({ packBlobId, packOffset: at }, blockBytes, () => this.#loadBlock(packBlobId, at, blockBytes), signal);
      const from = Math.max(packOffset, at);
      const to = Math.min(packOffset + packedLength, at + blockBytes);
      if (to - at > bytes.length) throw tooShort(packBlobId, to);
      out.set(bytes.subarray(from - at, to - at), from - packOffset);
    }
    return out;
  }

  /** A content, opened. What does not open is read once more from the store itself, past every copy on the way: one may be damaged, or be of before a repair. */
  async readOpened(range: StoredRange, open: (stored: Uint8Array) => Uint8Array, signal?: AbortSignal, options?: ReadContentOptions): Promise<Uint8Array> {
    try {
      return open(await this.read(range, signal, options));
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
    }
    const { packBlobId, packOffset, packedLength } = range;
    for (const key of this.#kept.keys()) if (key.startsWith(`${packBlobId}/`)) this.#forget(key);
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

  /** What is kept of a pack from an offset on, or what `load` gives, which is then kept. */
  #stretch(
    { packBlobId, packOffset }: Pick<StoredRange, "packBlobId" | "packOffset">,
    length: number,
    load: () => Promise<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const key = `${packBlobId}/${packOffset}+${length}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return shared(known.bytes, signal);
    }
    // Shared by all who want the stretch: the abort of one of them must not fail the others, so the load itself has no signal of theirs.
    const stretch = { length, bytes: this.#loads.run(load, 1) };
    this.#kept.set(key, stretch);
    this.#keptBytes += length;
    stretch.bytes.catch(() => {
      if (this.#kept.get(key) === stretch) this.#forget(key);
    });
    for (const oldest of this.#kept.keys()) {
      if (this.#keptBytes <= this.#cacheBytesMax || oldest === key) break;
      this.#forget(oldest);
    }
    return shared(stretch.bytes, signal);
  }

  #forget(key: string): void {
    this.#keptBytes -= this.#kept.get(key)?.length ?? 0;
    this.#kept.delete(key);
  }

  async #loadBlock(packBlobId: string, offset: number, blockBytes: number): Promise<Uint8Array> {
    const length = await this.#length(packBlobId);
    if (offset >= length) throw tooShort(packBlobId, offset + 1);
    return await this.#load(packBlobId, offset, Math.min(blockBytes, length - offset));
  }

  async #load(packBlobId: string, offset: number, length: number): Promise<Uint8Array> {
    const bytes = await this.readRange(packBlobId, offset, length);
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

/** How much is fetched at a time by who expects to want so much: 0 for nothing but the content itself. */
function blockBytesOf(aroundBytes: number): number {
  if (aroundBytes <= 0) return 0;
  let blockBytes = BLOCK_BYTES_MIN;
  while (blockBytes < aroundBytes && blockBytes < BLOCK_BYTES_MAX) blockBytes *= 2;
  return blockBytes;
}

function tooShort(packBlobId: string, needed: number, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read pack "${packBlobId}": it ends before byte ${needed}`, { cause, context: { packBlobId } });
}
