/**
 * Writes an object: a stream of bytes is cut into chunks, each chunk becomes a content, and several chunks are joined by a list that is an object itself (kopia-format.md 7.1, 7.2).
 *
 * Invariants:
 * - The cuts depend on the bytes alone, never on how they arrive; `writeZeros(n)` gives what `write` of n zeros gives.
 * - Memory: one chunk of the largest size the splitter allows plus what was reserved, and some 45 bytes for every chunk written.
 *
 *   reserve ─► fill ─► commit ─► splitter ─► content … content ─┐
 *                                                finish ─► list ─► I + id of the list
 */
import { asBuffer, concat, invariant } from "@drayage/base";
import type { Splitter } from "@drayage/kernels";
import type { ContentWriter, WriteContentOptions, WrittenContent } from "../content-port.ts";
import { type Chunk, ChunkList } from "./chunk-list.ts";
import { encodeIndirectList } from "./indirect-list.ts";
import { directObjectId, indirectObjectId, type ObjectId, parseObjectId } from "./object-id.ts";

export interface ObjectWriterOptions {
  /** Prefix of the contents: `k` for directories; none for file data. */
  readonly prefix?: string;
  readonly compressor?: string;
  /** Name of a splitter; that of the repository when left out. */
  readonly splitter?: string;
  /** The splitter starts afresh after every so many bytes, as Kopia does when it uploads the parts of a large file side by side. */
  readonly partBytes?: number;
  /** Called for each content with its length before compression. */
  readonly onContent?: (written: WrittenContent, length: number) => void;
}

export interface WrittenObject {
  readonly objectId: ObjectId;
  /** Bytes. */
  readonly length: number;
}

/** What all writers of a repository share. */
export interface ObjectWriterContext {
  readonly contents: ContentWriter;
  /** A splitter by name, or that of the repository. */
  readonly createSplitter: (name?: string) => Splitter;
  /** What is shorter than this the repository's splitter leaves in one piece. */
  readonly minChunkBytes: number;
  /** Compressor of lists and directories. */
  readonly metadataCompressor: string | undefined;
  readonly buffers: BufferPool;
}

/** The compressor that Kopia uses for directories and lists unless a policy says otherwise. */
export const DEFAULT_METADATA_COMPRESSOR = "zstd-fastest";

const FIRST_BUFFER_BYTES = 64 << 10;
const DOUBLE_UNTIL_BYTES = 4 << 20;
const GROW_STEP_BYTES = 2 << 20;
const LIST_PREFIX = "x";

/** Buffers that finished writers leave for the next ones; a few, so that many small files do not allocate each their own. */
export class BufferPool {
  readonly #free: Uint8Array[] = [];
  readonly #keepMax: number;

  constructor(keepMax = 4) {
    this.#keepMax = keepMax;
  }

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(FIRST_BUFFER_BYTES);
  }

  give(buffer: Uint8Array): void {
    if (this.#free.length < this.#keepMax) this.#free.push(buffer);
  }
}

export class ObjectWriter {
  readonly #context: ObjectWriterContext;
  readonly #options: ObjectWriterOptions;
  readonly #contentOptions: WriteContentOptions;
  readonly #splitter: Splitter;
  readonly #chunks = new ChunkList();
  #buffer: Uint8Array;
  /** The chunk under way is `buffer[start, end)`, of which the splitter has seen what lies before `scanned`. */
  #start = 0;
  #scanned = 0;
  #end = 0;
  #chunksInPart = 0;
  #zeroChunk: { readonly objectId: ObjectId; readonly length: number } | undefined;
  #closed = false;

  constructor(context: ObjectWriterContext, options: ObjectWriterOptions = {}) {
    this.#context = context;
    this.#options = options;
    this.#contentOptions = {
      ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
      ...(options.compressor === undefined ? {} : { compressor: options.compressor }),
    };
    this.#splitter = context.createSplitter(options.splitter);
    this.#splitter.reset();
    this.#buffer = context.buffers.take();
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#chunks.totalLength + (this.#end - this.#start);
  }

  /** Memory of at least `bytes` to be filled from its beginning; `commit` then takes what was filled. Valid until the next call. */
  reserve(bytes: number): Uint8Array {
    if (this.#buffer.length - this.#end < bytes) this.#makeRoom(bytes);
    return this.#buffer.subarray(this.#end);
  }

  /** Takes the first `bytes` of what `reserve` gave. */
  async commit(bytes: number, signal?: AbortSignal): Promise<void> {
    invariant(!this.#closed && bytes <= this.#buffer.length - this.#end, `Cannot commit ${bytes} bytes: more than was reserved, or the object is finished`);
    const target = this.#end + bytes;
    while (this.#end < target) {
      // Never past the end of a part, where the splitter starts afresh.
      this.#end = Math.min(target, this.#end + this.#roomInPart());
      await this.#cut(signal);
      if (this.#roomInPart() === 0) await this.#endPart(signal);
    }
    if (this.#start === this.#end) this.#start = this.#scanned = this.#end = 0;
  }

  async write(data: Uint8Array, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < data.length; ) {
      const part = data.subarray(at, at + this.#splitter.maxChunkBytes);
      this.reserve(part.length).set(part);
      await this.commit(part.length, signal);
      at += part.length;
    }
  }

  /** The same as writing so many zeros, but hardly any work where whole chunks are zeros. */
  async writeZeros(bytes: number, signal?: AbortSignal): Promise<void> {
    for (let left = bytes; left > 0; ) {
      signal?.throwIfAborted();
      if (this.#start === this.#end) {
        const chunk = await this.#zero(Math.min(left, this.#roomInPart()), signal);
        if (chunk !== undefined) {
          this.#append(chunk.objectId, chunk.length);
          left -= chunk.length;
          if (this.#roomInPart() === 0) await this.#endPart(signal);
          continue;
        }
      }
      const part = Math.min(left, this.#splitter.maxChunkBytes / 4);
      const chunksBefore = this.#chunks.count;
      this.reserve(part).fill(0, 0, part);
      await this.commit(part, signal);
      left -= part;
      const pending = this.#end - this.#start;
      if (this.#chunks.count > chunksBefore && pending <= part) {
        // A chunk ended inside these zeros: go back to its end, where whole chunks of zeros can begin.
        left += pending;
        this.#start = this.#scanned = this.#end = 0;
        this.#splitter.reset();
      }
    }
  }

  /** Stores what is left and the list, and gives the object's id. The writer is not used afterwards. */
  async finish(signal?: AbortSignal): Promise<WrittenObject> {
    if (this.#end > this.#start) await this.#emit(this.#end, signal);
    if (this.#chunksInPart === 0) this.#append(...(await this.#store(new Uint8Array(0), signal)));
    this.abandon();
    return { objectId: await this.#join(this.#chunks, signal), length: this.#chunks.totalLength };
  }

  /**
   * An object of what was written so far followed by `tail`, without disturbing the stream. Used for checkpoints: what it refers to is safe from garbage collection
   * once a manifest leads to it.
   */
  async checkpoint(tail: Uint8Array, signal?: AbortSignal): Promise<WrittenObject> {
    const chunks = new ChunkList();
    for (const chunk of this.#chunks) chunks.append(chunk.objectId, chunk.length);
    const rest = concat([this.#buffer.subarray(this.#start, this.#end), tail]);
    if (rest.length > 0 || chunks.count === 0) chunks.append(...(await this.#store(rest, signal)));
    return { objectId: await this.#join(chunks, signal), length: chunks.totalLength };
  }

  /** Gives the memory back; what was stored is left to garbage collection. */
  abandon(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.buffers.give(this.#buffer);
  }

  async #cut(signal: AbortSignal | undefined): Promise<void> {
    while (this.#scanned < this.#end) {
      const cut = this.#splitter.next(this.#buffer, this.#scanned, this.#end);
      this.#scanned = cut < 0 ? this.#end : cut;
      if (cut >= 0) await this.#emit(cut, signal);
    }
  }

  async #emit(end: number, signal: AbortSignal | undefined): Promise<void> {
    const chunk = this.#buffer.subarray(this.#start, end);
    this.#append(...(await this.#store(chunk, signal)));
    this.#start = end;
  }

  async #store(data: Uint8Array, signal: AbortSignal | undefined): Promise<[ObjectId, number]> {
    const written = await this.#context.contents.write(data, this.#contentOptions, signal);
    this.#options.onContent?.(written, data.length);
    return [directObjectId(written.id), data.length];
  }

  #append(objectId: ObjectId, length: number): void {
    this.#chunks.append(objectId, length);
    this.#chunksInPart++;
  }

  #roomInPart(): number {
    const { partBytes } = this.#options;
    if (partBytes === undefined) return Number.POSITIVE_INFINITY;
    const room = partBytes - (this.length % partBytes);
    return room === partBytes && this.#chunksInPart + (this.#end - this.#start) > 0 ? 0 : room;
  }

  async #endPart(signal: AbortSignal | undefined): Promise<void> {
    if (this.#end > this.#start) await this.#emit(this.#end, signal);
    this.#splitter.reset();
    this.#chunksInPart = 0;
  }

  /** The chunk that a run of `bytes` zeros begins with; undefined when the splitter does not cut within them. */
  async #zero(bytes: number, signal: AbortSignal | undefined): Promise<{ objectId: ObjectId; length: number } | undefined> {
    if (this.#zeroChunk === undefined) {
      const zeros = new Uint8Array(Math.min(bytes, this.#splitter.maxChunkBytes));
      const length = this.#splitter.next(zeros, 0, zeros.length);
      this.#splitter.reset();
      if (length < 0) return undefined;
      const [objectId] = await this.#store(zeros.subarray(0, length), signal);
      this.#zeroChunk = { objectId, length };
      return this.#zeroChunk;
    }
    if (this.#zeroChunk.length > bytes) return undefined;
    this.#options.onContent?.({ id: parseObjectId(this.#zeroChunk.objectId).contentId, isNew: false, packedLength: 0 }, this.#zeroChunk.length);
    return this.#zeroChunk;
  }

  async #join(chunks: ChunkList, signal: AbortSignal | undefined): Promise<ObjectId> {
    if (chunks.count === 1) return chunks.at(0).objectId;
    const { prefix } = this.#options;
    return await writeIndirectList(this.#context, chunks, prefix === undefined ? {} : { prefix }, signal);
  }

  #makeRoom(bytes: number): void {
    const pending = this.#end - this.#start;
    const needed = pending + bytes;
    if (needed <= this.#buffer.length && this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    } else {
      const grown = new Uint8Array(grownLength(needed));
      asBuffer(this.#buffer).copy(grown, 0, this.#start, this.#end);
      this.#buffer = grown;
    }
    this.#scanned -= this.#start;
    this.#start = 0;
    this.#end = pending;
  }
}

/** Doubling while it is cheap; then in small steps, since a buffer of many MiB stays for the whole transfer. */
function grownLength(needed: number): number {
  return needed <= DOUBLE_UNTIL_BYTES ? 2 ** Math.ceil(Math.log2(needed)) : Math.ceil(needed / GROW_STEP_BYTES) * GROW_STEP_BYTES;
}

/** Stores a list of objects as an object: under the prefix of what it lists, or `x`, cut by the repository's own splitter unless another is named, compressed as metadata. */
export async function writeIndirectList(
  context: ObjectWriterContext,
  chunks: Iterable<Chunk>,
  { prefix = LIST_PREFIX, splitter }: Pick<ObjectWriterOptions, "prefix" | "splitter"> = {},
  signal?: AbortSignal,
): Promise<ObjectId> {
  const list = new ObjectWriter(context, {
    prefix,
    ...(splitter === undefined ? {} : { splitter }),
    ...(context.metadataCompressor === undefined ? {} : { compressor: context.metadataCompressor }),
  });
  try {
    for (const piece of encodeIndirectList(chunks)) await list.write(piece, signal);
    return indirectObjectId((await list.finish(signal)).objectId);
  } finally {
    list.abandon();
  }
}
