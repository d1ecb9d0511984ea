/**
 * Reads objects: direct ones, and those that a list describes, on any number of levels.
 *
 * Every length that a list states is checked against what the content holds, so a damaged object is an error and never a shorter one.
 */
import { DrayError } from "@drayage/base";
import type { ContentReader, ReadContentOptions } from "../content-port.ts";
import { type Chunk, ChunkList } from "./chunk-list.ts";
import { decodeIndirectList } from "./indirect-list.ts";
import { listObjectId, type ObjectId, parseObjectId } from "./object-id.ts";

/** Lists of lists of lists: four levels hold more than 10^18 bytes with the smallest chunks there are. */
const INDIRECTION_MAX = 8;
const HEADER_BYTES = 4;

export interface ReadChunksOptions extends ReadContentOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ReadObjectOptions extends ReadChunksOptions {
  /** Contents asked for before they are needed. @default 2 */
  readonly ahead?: number;
}

/** Expands a payload whose first 4 bytes name its compressor, as `Z` objects are. */
export type Decompress = (headerId: number, payload: Uint8Array) => Uint8Array;

export class ObjectReader {
  readonly #contents: ContentReader;
  readonly #decompress: Decompress;

  constructor(contents: ContentReader, decompress: Decompress) {
    this.#contents = contents;
    this.#decompress = decompress;
  }

  /**
   * The direct objects that make up an object, in order. Lists are streamed. The single chunk of a direct object has the length that the index states.
   * Throws REPO_CONTENT_NOT_FOUND, REPO_CORRUPT.
   */
  async *chunks(id: ObjectId, options: ReadChunksOptions = {}, level = 0): AsyncGenerator<Chunk> {
    const { signal } = options;
    const { indirection, compressed, contentId } = parseObjectId(id);
    if (indirection === 0) {
      let info = this.#contents.info(contentId);
      if (info === undefined) {
        // Another writer may have stored it since the index was loaded.
        await this.#contents.refresh(signal);
        info = this.#contents.info(contentId);
      }
      if (info === undefined) throw notFound(id);
      // Only reading a Z content tells its length.
      const length = compressed ? (await this.readChunk({ offset: 0, length: -1, objectId: id }, options)).length : info.originalLength;
      yield { offset: 0, length, objectId: id };
      return;
    }
    if (level + indirection > INDIRECTION_MAX) throw new DrayError("REPO_CORRUPT", `Cannot read object "${id}": more than ${INDIRECTION_MAX} lists are nested`);
    for await (const entry of decodeIndirectList(this.pieces(listObjectId(id), options, level + 1), `indirect list "${listObjectId(id)}"`)) {
      if (!entry.objectId.startsWith("I")) {
        yield entry;
        continue;
      }
      let end = 0;
      for await (const inner of this.chunks(entry.objectId, options, level + 1)) {
        end = inner.offset + inner.length;
        yield { ...inner, offset: entry.offset + inner.offset };
      }
      if (end !== entry.length)
        throw new DrayError("REPO_CORRUPT", `Cannot read object "${id}": "${entry.objectId}" has ${end} bytes, ${entry.length} were wanted`);
    }
  }

  /** The bytes of one direct chunk. A length of -1 accepts any. Throws REPO_CORRUPT when the length is another. */
  async readChunk(chunk: Chunk, options: ReadChunksOptions = {}): Promise<Uint8Array> {
    const { compressed, contentId } = parseObjectId(chunk.objectId);
    const stored = await this.#contents.get(contentId, options.signal, options);
    const data = compressed ? this.#expand(chunk.objectId, stored) : stored;
    if (chunk.length >= 0 && data.length !== chunk.length) {
      throw new DrayError("REPO_CORRUPT", `Cannot read object "${chunk.objectId}": it has ${data.length} bytes, ${chunk.length} were wanted`, {
        context: { object: chunk.objectId },
      });
    }
    return data;
  }

  /** The bytes of an object from front to back, a chunk at a time, reading ahead. */
  async *pieces(id: ObjectId, { ahead = 2, ...options }: ReadObjectOptions = {}, level = 0): AsyncGenerator<Uint8Array> {
    const pending: Promise<Uint8Array>[] = [];
    for await (const chunk of this.chunks(id, options, level)) {
      options.signal?.throwIfAborted();
      const read = this.readChunk(chunk, options);
      // When the consumer leaves early nobody awaits what was read ahead.
      read.catch(() => undefined);
      pending.push(read);
      if (pending.length > ahead) yield await (pending.shift() as Promise<Uint8Array>);
    }
    for (const read of pending) yield await read;
  }

  /** A whole object in memory. Throws REPO_CORRUPT when it has more than `lengthMax` bytes. */
  async read(id: ObjectId, lengthMax: number, signal?: AbortSignal): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const piece of this.pieces(id, { signal })) {
      length += piece.length;
      if (length > lengthMax) throw new DrayError("REPO_CORRUPT", `Cannot read object "${id}" whole: it has more than ${lengthMax} bytes`);
      parts.push(piece);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** An object for reads at any offset. Its list is held in memory: some 45 bytes for every 4 MiB. */
  async open(id: ObjectId, signal?: AbortSignal): Promise<OpenObject> {
    const chunks = new ChunkList();
    for await (const chunk of this.chunks(id, { signal })) chunks.append(chunk.objectId, chunk.length);
    return new OpenObject(this, chunks);
  }

  /** Bytes of an object, from the index and the lists alone where its format allows. */
  async length(id: ObjectId, signal?: AbortSignal): Promise<number> {
    let end = 0;
    for await (const chunk of this.chunks(id, { signal })) end = chunk.offset + chunk.length;
    return end;
  }

  #expand(id: ObjectId, stored: Uint8Array): Uint8Array {
    if (stored.length < HEADER_BYTES)
      throw new DrayError("REPO_CORRUPT", `Cannot read object "${id}": ${stored.length} bytes are too few for a compression header`);
    const headerId = new DataView(stored.buffer, stored.byteOffset, HEADER_BYTES).getUint32(0);
    return this.#decompress(headerId, stored.subarray(HEADER_BYTES));
  }
}

/** An object for reads at any offset; the chunk read last is kept. */
export class OpenObject {
  readonly #reader: ObjectReader;
  readonly #chunks: ChunkList;
  #last: { readonly index: number; readonly data: Uint8Array } | undefined;

  constructor(reader: ObjectReader, chunks: ChunkList) {
    this.#reader = reader;
    this.#chunks = chunks;
  }

  /** Bytes. */
  get length(): number {
    return this.#chunks.totalLength;
  }

  /** Up to `length` bytes from `offset` on; fewer only at the end of the object. */
  async read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const end = Math.min(offset + length, this.length);
    const out = new Uint8Array(Math.max(end - offset, 0));
    for (let index = this.#chunks.indexAt(offset), at = offset; at < end; index++) {
      const chunk = this.#chunks.at(index);
      if (this.#last?.index !== index) this.#last = { index, data: await this.#reader.readChunk(chunk, { signal }) };
      const part = this.#last.data.subarray(at - chunk.offset, end - chunk.offset);
      out.set(part, at - offset);
      at += part.length;
    }
    return out;
  }
}

function notFound(id: ObjectId): DrayError {
  return new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read object "${id}": the index of the repository has no such content`, {
    context: { object: id },
    hint: "Run `dray repo verify` to see what else is missing.",
  });
}
