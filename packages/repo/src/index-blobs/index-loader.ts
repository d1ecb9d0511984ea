/**
 * Brings index blobs to this machine: from the folder of runs where they are there already, else from the storage, decrypted once.
 *
 * Memory: a blob under 8 MiB is fetched whole, several at once within a budget; a larger one passes through in pieces to a file. Error correction needs the
 * whole blob, whatever its size. Indexes under 1 MiB stay in (shared) memory, larger ones in files.
 */
import { asBuffer, DrayError, hasCode, invariant, Semaphore } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import type { ContentCodec } from "../content/content-codec.ts";
import { decodeIndex } from "./index-codec.ts";
import { writeIndexV2 } from "./index-v2-writer.ts";
import { buildKeyFilter, KeyFilter } from "./key-filter.ts";
import { MemoryIndex } from "./memory-index.ts";
import { mergeEntries, mergeToIndex } from "./merged-index.ts";
import type { PackIndex } from "./pack-index.ts";
import { readIndex, writeFully } from "./run-file.ts";
import type { RunFolder } from "./run-folder.ts";
import { RunIndex } from "./run-index.ts";
import { inSharedMemory } from "./shared-index.ts";

/** Sizes that decide where an index goes; tests make them small. */
export interface IndexLimits {
  /** Indexes below this stay in memory. */
  readonly inMemoryBytes: number;
  /** Blobs from this length on are decrypted piece by piece. */
  readonly streamedFromBytes: number;
  readonly pieceBytes: number;
}

const DEFAULT_LIMITS: IndexLimits = { inMemoryBytes: 1 << 20, streamedFromBytes: 8 << 20, pieceBytes: 4 << 20 };
/** Of blobs on their way, sealed and plain. */
const FETCH_BYTES_MAX = 32 << 20;
/** What an entry takes in a merged index, with its key of 16 bytes and a share of its pack's name. */
const MERGED_ENTRY_BYTES = 40;

/** An index, and the index blobs that it speaks for. */
export interface IndexSegment {
  readonly names: ReadonlySet<string>;
  readonly index: MemoryIndex | RunIndex;
}

export class IndexLoader {
  readonly #storage: BlobStorage;
  readonly #codec: ContentCodec;
  readonly #runs: RunFolder;
  readonly #limits: IndexLimits;
  readonly #room = new Semaphore(FETCH_BYTES_MAX);
  #bytesFetched = 0;

  constructor(storage: BlobStorage, codec: ContentCodec, runs: RunFolder, limits: IndexLimits = DEFAULT_LIMITS) {
    this.#storage = storage;
    this.#codec = codec;
    this.#runs = runs;
    this.#limits = limits;
  }

  /** Bytes fetched from the storage so far. */
  get bytesFetched(): number {
    return this.#bytesFetched;
  }

  /** The runs in the folder that speak for several blobs, all of them among these, and none for a blob that another one speaks for. */
  loadMerged(wanted: ReadonlySet<string>): IndexSegment[] {
    const taken = new Set<string>();
    const segments: IndexSegment[] = [];
    const bySize = this.#runs.loadMerged().sort((a, b) => b.entryCount - a.entryCount);
    for (const run of bySize) {
      const { names } = run.parts;
      if (names.length === 0 || !names.every((name) => wanted.has(name) && !taken.has(name))) {
        run.file.close();
        continue;
      }
      for (const name of names) taken.add(name);
      segments.push({ names: new Set(names), index: this.#placed(run) });
    }
    return segments;
  }

  /** One index blob. Throws BLOB_NOT_FOUND, REPO_CORRUPT naming it. */
  async load(blob: BlobMetadata): Promise<IndexSegment> {
    const names = new Set([blob.id]);
    const known = this.#runs.load(blob.id);
    if (known !== undefined) return { names, index: this.#placed(known) };
    try {
      return { names, index: await this.#fetch(blob) };
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot use index blob "${blob.id}": ${error.message}`, {
        cause: error,
        context: { blobId: blob.id },
        hint: "Contents that only this index names are not found; other copies of the bucket may have it.",
      });
    }
  }

  /** An index that lies in memory already: what this process wrote. */
  async take(id: string, plain: Uint8Array): Promise<IndexSegment> {
    return { names: new Set([id]), index: plain.length < this.#limits.inMemoryBytes ? filtered(plain) : await this.#store(id, plain) };
  }

  /** One segment that says what several say. Their runs in the folder go: a folder of hundreds of small files would be slow to open. */
  async merge(segments: readonly IndexSegment[]): Promise<IndexSegment | undefined> {
    const parts = segments.map(({ index }) => index).filter(({ entryCount }) => entryCount > 0);
    const ids = segments.flatMap(({ names }) => [...names]);
    const [first] = parts;
    const keyBytes = first?.keyBytes;
    if (keyBytes === undefined) return undefined;
    const entries = parts.reduce((sum, { entryCount }) => sum + entryCount, 0);
    const isSmall = entries * MERGED_ENTRY_BYTES < this.#limits.inMemoryBytes;
    const run = isSmall && !this.#runs.keeps ? undefined : await this.#runs.make(ids, (fd) => writeIndexV2(fd, keyBytes, mergeEntries(parts)));
    this.#runs.forget(ids);
    if (run !== undefined) return { names: new Set(ids), index: this.#placed(run) };
    const merged = mergeToIndex(parts);
    invariant(merged !== undefined, "Cannot merge indexes: nothing came out");
    return { names: new Set(ids), index: filtered(merged.bytes) };
  }

  async #fetch(blob: BlobMetadata): Promise<MemoryIndex | RunIndex> {
    const streamed = blob.length >= this.#limits.streamedFromBytes && this.#codec.blobOpener(blob.id) !== undefined;
    const release = await this.#room.acquire(streamed ? 2 * this.#limits.pieceBytes : 2 * blob.length);
    try {
      const run = streamed ? await this.#runs.make([blob.id], (fd) => this.#stream(blob, fd)) : undefined;
      return run ?? (await this.#fetchWhole(blob));
    } finally {
      release();
    }
  }

  async #fetchWhole({ id }: BlobMetadata): Promise<MemoryIndex | RunIndex> {
    const sealed = await this.#storage.get(id);
    this.#bytesFetched += sealed.length;
    const plain = this.#codec.openBlob(id, sealed);
    // What cannot be read as an index is told before it gets a file.
    decodeIndex(plain);
    return plain.length < this.#limits.inMemoryBytes && !this.#runs.keeps ? filtered(plain) : await this.#store(id, plain);
  }

  /** Puts an index into a file; it stays in memory where none can be made. */
  async #store(id: string, plain: Uint8Array): Promise<MemoryIndex | RunIndex> {
    const run = await this.#runs.make([id], (fd) => {
      writeFully(fd, plain, 0);
      return plain.length;
    });
    return run === undefined ? filtered(plain) : this.#placed(run);
  }

  /** Decrypts a blob into a file, piece by piece. The file is believed only after the tag at its end. */
  async #stream({ id, length }: BlobMetadata, fd: number): Promise<number> {
    const opener = this.#codec.blobOpener(id);
    invariant(opener !== undefined, `Cannot read blob "${id}" piece by piece: its error correction needs all of it`);
    let written = 0;
    const { pieceBytes } = this.#limits;
    for (let offset = 0; offset < length; offset += pieceBytes) {
      const piece = await this.#storage.get(id, { offset, length: Math.min(pieceBytes, length - offset) });
      this.#bytesFetched += piece.length;
      const plain = opener.update(piece);
      writeFully(fd, plain, written);
      written += plain.length;
    }
    opener.end();
    return written;
  }

  /** A small run is read once and for all. */
  #placed(run: RunIndex): MemoryIndex | RunIndex {
    const { indexBytes, filter } = run.parts;
    if (indexBytes >= this.#limits.inMemoryBytes) return run;
    const bytes = new Uint8Array(new SharedArrayBuffer(indexBytes));
    readIndex(run.file, asBuffer(bytes));
    run.file.close();
    return new MemoryIndex(bytes, decodeIndex(bytes).format, new KeyFilter(filter));
  }
}

function filtered(plain: Uint8Array): MemoryIndex {
  const { bytes, format } = decodeIndex(inSharedMemory(plain));
  const index = new MemoryIndex(bytes, format);
  return index.entryCount === 0 ? index : new MemoryIndex(bytes, format, buildKeyFilter(index));
}

/** The indexes of segments. */
export function indexesOf(segments: readonly IndexSegment[]): PackIndex[] {
  return segments.map(({ index }) => index);
}

/** Gives back the file of a segment that nobody looks into any more. */
export function closeSegment({ index }: IndexSegment): void {
  if (index instanceof RunIndex) index.file.close();
}
