/**
 * Stores contents of file data, many at a time, into a pack of its own: what a thread does beside others.
 *
 *   ranges of an arena ─ hashed side by side ─ known? ─ compressed ─ sealed in place ─ read back ─► pack buffer ──full──► delivered, with what its index will say
 *
 * A lane needs no storage, no index of its own and no clock: whoever takes the pack gives it a name and a time (Contents.adopt). So a lane runs in any thread.
 *
 * Memory: one pack buffer, and 50 bytes for each content in it.
 */
import { hasCode, invariant } from "@drayage/base";
import { type ByteRanges, createKernels, type Kernels } from "@drayage/kernels";
import type { ContentDecoderOptions } from "../content-port.ts";
import { type AttachedIndex, attachIndex, type SharedIndex } from "../index-blobs/shared-index.ts";
import { type ContentCodec, createContentCodec } from "./content-codec.ts";
import { makeContentId } from "./content-id.ts";
import { KnownContents, type SharedKnownContents } from "./known-contents.ts";

/** What a lane is made from; all of it can be passed to another thread. It holds the keys of the repository and is kept in memory only. */
export interface LaneOptions {
  readonly codec: ContentDecoderOptions;
  /** A pack with this many bytes is delivered. */
  readonly maxPackBytes: number;
  /** Bytes that stay free at the beginning of a pack for what stands before its contents. */
  readonly headBytes: number;
  readonly readBack: boolean;
}

/** Which contents are stored already: committed ones, and those of this session. */
export interface KnownToLane {
  readonly committed: SharedIndex;
  readonly session: SharedKnownContents;
}

/** A pack without name, head and index. All of it can be passed between threads. */
export interface SealedPack {
  readonly buffer: Uint8Array;
  /** Bytes used, the free head included. */
  readonly length: number;
  readonly count: number;
  /** Hashes of the contents, one behind the other. */
  readonly hashes: Uint8Array<ArrayBuffer>;
  /** PACK_COLUMNS words for each: offset, packed length, original length, compression id. */
  readonly columns: Uint32Array<ArrayBuffer>;
}

export const PACK_COLUMNS = 4;

export interface StoredRanges {
  /** Hashes of all ranges, `digestBytes` each; valid until the next call. */
  readonly hashes: Uint8Array;
  readonly newContents: number;
  /** Bytes of ranges that were there already. */
  readonly knownBytes: number;
  /** Bytes added to packs. */
  readonly packedBytes: number;
}

export interface LanePorts {
  /** Memory for the next pack, of `laneBufferBytes`, shared where packs go to another thread; waiting for it is the back-pressure. */
  readonly nextBuffer: () => Promise<Uint8Array> | Uint8Array;
  readonly deliver: (pack: SealedPack) => void;
}

/** Bytes of a pack buffer where no content has more than `contentBytesMax`. */
export function laneBufferBytes({ maxPackBytes, headBytes }: LaneOptions, contentBytesMax: number): number {
  return maxPackBytes + headBytes + contentBytesMax + PACK_SLACK_BYTES;
}

/** What encryption adds, with room to spare; error correction grows the buffer. */
const PACK_SLACK_BYTES = 1 << 20;
const FIRST_COUNT = 1024;
/** The first byte of the key of a content of file data. */
const DATA_PREFIX = 0;

/** A pack on its way, as SealedPack has it. */
interface LanePack {
  buffer: Uint8Array;
  length: number;
  count: number;
  hashes: Uint8Array<ArrayBuffer>;
  columns: Uint32Array<ArrayBuffer>;
}

/** Opens a lane in this thread. */
export async function openLane(options: LaneOptions, known: KnownToLane, ports: LanePorts, kernels?: Kernels): Promise<SealingLane> {
  const codec = await createContentCodec(options.codec, kernels ?? (await createKernels()));
  return new SealingLane(options, codec, known, ports);
}

export class SealingLane {
  readonly digestBytes: number;
  readonly #options: LaneOptions;
  readonly #codec: ContentCodec;
  readonly #ports: LanePorts;
  #committed: AttachedIndex;
  /** Whether the committed index may name file data: in a first backup it does not. */
  #committedHasData: boolean;
  readonly #session: KnownContents;
  readonly #key: Uint8Array;
  #hashes = new Uint8Array(0);
  /** Positions of ranges that are new, among those of one call. */
  #fresh = new Uint32Array(0);
  #pack: LanePack | undefined;

  constructor(options: LaneOptions, codec: ContentCodec, known: KnownToLane, ports: LanePorts) {
    this.#options = options;
    this.#codec = codec;
    this.#ports = ports;
    this.digestBytes = codec.hasher.digestBytes;
    this.#committed = attachIndex(known.committed);
    this.#committedHasData = this.#committed.mayHavePrefix(DATA_PREFIX);
    this.#session = KnownContents.attach(known.session);
    this.#key = new Uint8Array(1 + this.digestBytes);
  }

  /**
   * Takes up what is known by now. What is out of date already, since it waited behind a large file, changes nothing: the tables that it leaves out may name what only a younger index
   * knows, and that follows.
   */
  update({ committed, session }: Partial<KnownToLane>): void {
    if (committed !== undefined) {
      const attached = attachIfThere(committed);
      if (attached === undefined) return;
      this.#committed.close();
      this.#committed = attached;
      this.#committedHasData = attached.mayHavePrefix(DATA_PREFIX);
    }
    if (session !== undefined) this.#session.update(session);
  }

  /** The number of the table in which this lane claims contents. */
  get newestTable(): number {
    return this.#session.newest;
  }

  /** Stores the contents that are not there yet. Throws INVARIANT when one cannot be read back, and what `nextBuffer` throws. */
  async store(ranges: ByteRanges, compressor?: string): Promise<StoredRanges> {
    const { count } = ranges;
    if (this.#hashes.length < count * this.digestBytes) {
      this.#hashes = new Uint8Array(count * this.digestBytes);
    }
    const hashes = this.#hashes;
    this.#codec.hasher.hashRanges(ranges, hashes);
    return await this.storeHashed(ranges, hashes, compressor);
  }

  /** The same of ranges that were hashed already: `hashes` has those of all, one behind the other. Nothing of either is looked at when it has resolved. */
  async storeHashed(ranges: ByteRanges, hashes: Uint8Array, compressor?: string): Promise<StoredRanges> {
    const { count } = ranges;
    if (this.#fresh.length < count) this.#fresh = new Uint32Array(count);
    let newContents = 0;
    let knownBytes = 0;
    for (let i = 0; i < count; i++) {
      if (this.#isNew(hashes, i * this.digestBytes)) this.#fresh[newContents++] = i;
      else knownBytes += ranges.lengths[i] ?? 0;
    }
    const inOneGo = (compressor === undefined || compressor === "none" || compressor === "") && this.#codec.sealsRanges && this.#options.readBack;
    let packedBytes = 0;
    for (let done = 0; done < newContents; ) {
      this.#pack ??= await this.#openPack();
      const pack = this.#pack;
      const before = pack.length;
      const fresh = this.#fresh.subarray(done, newContents);
      done += inOneGo ? this.#sealTogether(pack, ranges, hashes, fresh) : this.#sealOne(pack, ranges, hashes, fresh[0] ?? 0, compressor);
      packedBytes += pack.length - before;
      if (pack.length >= this.#options.maxPackBytes) this.flush();
    }
    return { hashes: hashes.subarray(0, count * this.digestBytes), newContents, knownBytes, packedBytes };
  }

  /** Delivers what there is. */
  flush(): void {
    const pack = this.#pack;
    if (pack === undefined || pack.count === 0) return;
    this.#pack = undefined;
    const { buffer, length, count } = pack;
    this.#ports.deliver({
      buffer,
      length,
      count,
      hashes: pack.hashes.slice(0, count * this.digestBytes),
      columns: pack.columns.slice(0, count * PACK_COLUMNS),
    });
  }

  /** Gives back what knowing the repository's index takes. What was not delivered is lost. */
  close(): void {
    this.#committed.close();
  }

  #isNew(hashes: Uint8Array, at: number): boolean {
    if (!this.#committedHasData) return this.#session.claim(hashes, at);
    // Byte by byte: a view for each content costs more.
    for (let i = 0; i < this.digestBytes; i++) this.#key[1 + i] = hashes[at + i] ?? 0;
    return !this.#committed.has(this.#key) && this.#session.claim(hashes, at);
  }

  async #openPack(): Promise<LanePack> {
    const buffer = await this.#ports.nextBuffer();
    return {
      ...{ buffer, length: this.#options.headBytes, count: 0 },
      hashes: new Uint8Array(FIRST_COUNT * this.digestBytes),
      columns: new Uint32Array(FIRST_COUNT * PACK_COLUMNS),
    };
  }

  /** As many of the fresh ranges as belong into this pack, in one call. */
  #sealTogether(pack: LanePack, ranges: ByteRanges, hashes: Uint8Array, fresh: Uint32Array): number {
    const { digestBytes } = this;
    const starts = new Uint32Array(fresh.length);
    const lengths = new Uint32Array(fresh.length);
    const chosen = new Uint8Array(fresh.length * digestBytes);
    let end = pack.length;
    let count = 0;
    for (; count < fresh.length && end < this.#options.maxPackBytes; count++) {
      const from = fresh[count] ?? 0;
      const length = ranges.lengths[from] ?? 0;
      starts[count] = ranges.starts[from] ?? 0;
      lengths[count] = length;
      // Byte by byte: a view for each content costs more.
      for (let i = 0; i < digestBytes; i++) chosen[count * digestBytes + i] = hashes[from * digestBytes + i] ?? 0;
      end += this.#codec.sealedLength(length);
    }
    this.#reserve(pack, end);
    this.#codec.sealRanges({ data: ranges.data, starts, lengths, count }, chosen, pack.buffer, pack.length);
    this.#noteTogether(pack, chosen, lengths, count);
    return count;
  }

  #sealOne(pack: LanePack, ranges: ByteRanges, hashes: Uint8Array, index: number, compressor: string | undefined): number {
    const start = ranges.starts[index] ?? 0;
    const data = ranges.data.subarray(start, start + (ranges.lengths[index] ?? 0));
    const hash = hashes.slice(index * this.digestBytes, (index + 1) * this.digestBytes);
    const { payload, compressionId } = this.#codec.compress(data, compressor);
    this.#reserve(pack, pack.length + this.#codec.sealedLength(payload.length));
    const length = this.#codec.seal(payload, hash, pack.buffer, pack.length);
    if (this.#options.readBack) {
      const form = { id: makeContentId("", hash), packBlobId: "", originalLength: data.length, compressionId };
      this.#codec.readBack(pack.buffer.subarray(pack.length, pack.length + length), form, data, payload);
    }
    this.#note(pack, hash, 0, length, data.length, compressionId);
    return 1;
  }

  #reserve(pack: LanePack, length: number): void {
    if (length <= pack.buffer.length) return;
    const grown = new Uint8Array(new SharedArrayBuffer(length + PACK_SLACK_BYTES));
    grown.set(pack.buffer.subarray(0, pack.length));
    pack.buffer = grown;
  }

  #note(pack: LanePack, hashes: Uint8Array, at: number, packedLength: number, originalLength: number, compressionId: number): void {
    makeRoomForNotes(pack, pack.count + 1);
    pack.hashes.set(hashes.subarray(at * this.digestBytes, (at + 1) * this.digestBytes), pack.count * this.digestBytes);
    noteForm(pack, packedLength, originalLength, compressionId);
  }

  /** Notes contents that were sealed as they are. */
  #noteTogether(pack: LanePack, hashes: Uint8Array, lengths: Uint32Array, count: number): void {
    makeRoomForNotes(pack, pack.count + count);
    pack.hashes.set(hashes.subarray(0, count * this.digestBytes), pack.count * this.digestBytes);
    for (let i = 0; i < count; i++) noteForm(pack, this.#codec.sealedLength(lengths[i] ?? 0), lengths[i] ?? 0, 0);
  }
}

function makeRoomForNotes(pack: LanePack, count: number): void {
  while (pack.columns.length < count * PACK_COLUMNS) {
    pack.columns = grownWords(pack.columns);
    pack.hashes = grownBytes(pack.hashes);
  }
}

/** The columns of the next content of a pack, which lies at its end. */
function noteForm(pack: LanePack, packedLength: number, originalLength: number, compressionId: number): void {
  invariant(pack.length + packedLength <= pack.buffer.length, "Cannot note a content: it lies behind its pack's buffer");
  const column = pack.count * PACK_COLUMNS;
  pack.columns[column] = pack.length;
  pack.columns[column + 1] = packedLength;
  pack.columns[column + 2] = originalLength;
  pack.columns[column + 3] = compressionId;
  pack.length += packedLength;
  pack.count++;
}

/** Undefined where a file of it has gone since. */
function attachIfThere(committed: SharedIndex): AttachedIndex | undefined {
  try {
    return attachIndex(committed);
  } catch (error) {
    if (hasCode(error, "BLOB_UNAVAILABLE")) return undefined;
    throw error;
  }
}

function grownWords(words: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(words.length * 2);
  grown.set(words);
  return grown;
}

function grownBytes(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const grown = new Uint8Array(bytes.length * 2);
  grown.set(bytes);
  return grown;
}
