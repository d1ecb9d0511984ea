/**
 * Cuts a stream into chunks in one arena and stores as many at a time as the arena holds: the hash takes several side by side, and waits for the longest of them.
 *
 *   arena   [ chunks that are cut | the chunk under way | pieces that are being read │ room for the next ]
 *
 * Invariant: the cuts are those of a stream that is cut byte by byte; runs of zeros that were never read give what reading them would.
 */
import { invariant } from "@drayage/base";
import type { Splitter } from "@drayage/kernels";
import type { SealingLane } from "@drayage/repo/sealing-lane";
import type { RangeChunks, StoreCounts } from "./jobs.ts";

const BLOCK_BYTES = 4096;
/** The most messages that the hash takes at a time, with the widest vectors. */
const HASHED_SIDE_BY_SIDE = 8;
/** Of a run of zeros that reaches a chunk under way, so much is filled in at a time. */
const ZEROS_AT_ONCE = 1 << 20;
/** Of a hole of terabytes, so many chunks are told at a time. */
const ZERO_CHUNKS_AT_ONCE = 4096;

export class RangeCutter {
  readonly #lane: SealingLane;
  readonly #arena: Buffer;
  readonly #splitter: Splitter;
  readonly #createSplitter: () => Splitter;
  readonly #compressor: string | undefined;
  readonly #aligned: boolean;
  readonly #from: number;
  readonly #lead: number;
  readonly #onChunks: (chunks: RangeChunks, times: Pick<StoreCounts, "workMs">) => void;
  /** Bytes of the range before `#start`. */
  #passed = 0;
  #start = 0;
  #scanned = 0;
  #end = 0;
  /** Bytes of the pieces behind `#end` that are not taken yet. */
  readonly #placed: number[] = [];
  #placedBytes = 0;
  /** Ends of the chunks that are cut and not stored. */
  #cuts: number[] = [];
  #stored = 0;
  /** Bytes of the chunk that zeros are cut into, 0 when not known; and its hash, when it was stored. */
  #zeroBytes = 0;
  #zeroHash: Uint8Array<ArrayBuffer> | undefined;
  #zeros: Buffer | undefined;

  constructor(
    lane: SealingLane,
    arena: Uint8Array,
    options: {
      readonly createSplitter: () => Splitter;
      readonly compressor: string | undefined;
      readonly aligned: boolean;
      /** Where the range begins in its file. */
      readonly from: number;
      /** Chunks that begin before so many bytes of the range are not stored. */
      readonly lead: number;
      readonly onChunks: (chunks: RangeChunks, times: Pick<StoreCounts, "workMs">) => void;
    },
  ) {
    this.#lane = lane;
    this.#arena = Buffer.from(arena.buffer, arena.byteOffset, arena.length);
    this.#createSplitter = options.createSplitter;
    this.#splitter = options.createSplitter();
    this.#compressor = options.compressor;
    this.#aligned = options.aligned;
    this.#from = options.from;
    this.#lead = options.lead;
    this.#onChunks = options.onChunks;
  }

  /** No chunk is longer. */
  get maxChunkBytes(): number {
    return this.#splitter.maxChunkBytes;
  }

  get arena(): Buffer {
    return this.#arena;
  }

  /** Where the next piece begins that is to be taken. */
  get end(): number {
    return this.#end;
  }

  /** Whether there are chunks that are cut and not stored. */
  get hasChunks(): boolean {
    return this.#cuts.length > 0;
  }

  /** Where a piece is to be read to, behind those that were placed and are not taken yet; undefined where room has to be made first. */
  place(bytes: number): number | undefined {
    if (!this.#hasRoom(bytes)) return undefined;
    const at = this.#end + this.#placedBytes;
    this.#placed.push(bytes);
    this.#placedBytes += bytes;
    return at;
  }

  /** The same where nothing is placed yet, with room made where there is none. */
  async reserve(bytes: number): Promise<number> {
    if (!this.#hasRoom(bytes)) await this.makeRoom();
    const at = this.place(bytes);
    invariant(at !== undefined, "a piece has room behind a chunk under way");
    return at;
  }

  /** Stores what is cut, then has `settle` wait for pieces that are under way, and moves them to the front behind the chunk under way. */
  async makeRoom(settle: () => void = () => undefined): Promise<void> {
    await this.#store();
    settle();
    this.#moveToFront();
  }

  /** What was placed first has come: so many bytes, of which some at the beginning and at the end are none of the range. Where they do not fill their place, nothing follows. */
  take(bytes: number, { before = 0, behind = 0 }: { readonly before?: number; readonly behind?: number } = {}): void {
    this.#placedBytes -= this.#placed.shift() ?? 0;
    // Only the first piece of a range begins before it.
    if (before > 0) this.#start = this.#scanned = this.#end + before;
    this.#end += bytes - behind;
    this.#cut();
  }

  /** The same as taking so many zeros, but hardly any work where whole chunks are zeros. */
  async skip(bytes: number, pace: () => Promise<void> | void): Promise<void> {
    for (let left = bytes; left > 0; ) {
      await pace();
      const chunk = this.#end === this.#boundary() ? this.#zeroChunk() : 0;
      if (chunk > 0 && chunk <= left) {
        await this.#store();
        const count = Math.min(Math.floor(left / chunk), ZERO_CHUNKS_AT_ONCE);
        await this.#emitZeros(count);
        left -= count * chunk;
        continue;
      }
      const part = Math.min(left, ZEROS_AT_ONCE);
      if (!this.#hasRoom(Math.ceil(part / BLOCK_BYTES) * BLOCK_BYTES)) await this.makeRoom();
      const at = this.#end;
      this.#arena.fill(0, at, at + part);
      const cutsBefore = this.#cuts.length;
      this.#end = at + part;
      this.#cut();
      left -= part;
      const pending = this.#end - this.#boundary();
      if (this.#cuts.length > cutsBefore && pending <= part) {
        // A chunk ended inside these zeros: go back to its end, where whole chunks of zeros can begin.
        left += pending;
        this.#end = this.#scanned = this.#boundary();
        this.#splitter.reset();
      }
    }
  }

  /** Stores what is left: as the last chunk, or as far as it is cut when the object goes on. Of an object of nothing, an empty chunk. */
  async finish(isOpen: boolean): Promise<void> {
    const boundary = this.#boundary();
    if (isOpen) this.#end = boundary;
    else if (this.#end > boundary || (this.#stored === 0 && this.#cuts.length === 0)) this.#cuts.push(this.#end);
    await this.#store();
    this.#splitter.reset();
  }

  #hasRoom(bytes: number): boolean {
    const at = this.#end + this.#placedBytes;
    // Aligned memory is wanted only where what is there ends on a block: pieces are whole blocks, so it does after the move.
    const isOnBlock = !this.#aligned || at % BLOCK_BYTES === 0;
    return isOnBlock && this.#arena.length - at >= bytes && !this.#isWholeTurn(bytes);
  }

  /**
   * Whether the chunks that are there keep all lanes of the hash busy, and there is no room for as many again: of thirteen chunks of one length the last five would take as long as eight.
   * Long chunks never come to so many.
   */
  #isWholeTurn(pieceBytes: number): boolean {
    const count = this.#cuts.length;
    if (count === 0 || count % HASHED_SIDE_BY_SIDE !== 0) return false;
    const boundary = this.#boundary();
    const turnBytes = ((boundary - this.#start) / count) * HASHED_SIDE_BY_SIDE;
    return this.#arena.length - this.#placedBytes - boundary < turnBytes + pieceBytes;
  }

  /** Where the chunk under way begins. */
  #boundary(): number {
    return this.#cuts.at(-1) ?? this.#start;
  }

  #cut(): void {
    while (this.#scanned < this.#end) {
      const cut = this.#splitter.next(this.#arena, this.#scanned, this.#end);
      this.#scanned = cut < 0 ? this.#end : cut;
      if (cut >= 0) this.#cuts.push(cut);
    }
  }

  async #store(): Promise<void> {
    const cuts = this.#cutsToStore();
    if (cuts.length === 0) return;
    const offset = this.#from + this.#passed;
    const startedMs = performance.now();
    const count = cuts.length;
    const lengths = new Uint32Array(count);
    const starts = new Uint32Array(count);
    const picked = new Uint32Array(count);
    const order = new Int32Array(count);
    const hashes = new Uint8Array(count * this.#lane.digestBytes);
    let reads = 0;
    let hashed = 0;
    let known = 0;
    let from = this.#start;
    for (const [i, end] of cuts.entries()) {
      lengths[i] = end - from;
      hashed += end - from;
      order[i] = -1;
      if (this.#zeroHash !== undefined && this.#isZeroChunk(from, end)) {
        hashes.set(this.#zeroHash, i * this.#lane.digestBytes);
        known += end - from;
      } else {
        starts[reads] = from;
        picked[reads] = end - from;
        order[i] = reads++;
      }
      from = end;
    }
    const stored = await this.#lane.store({ data: this.#arena, starts, lengths: picked, count: reads }, this.#compressor);
    for (let i = 0; i < count; i++) {
      const at = order[i] ?? -1;
      if (at < 0) continue;
      const hash = stored.hashes.subarray(at * this.#lane.digestBytes, (at + 1) * this.#lane.digestBytes);
      hashes.set(hash, i * this.#lane.digestBytes);
      if (this.#zeroHash === undefined && this.#isZeroChunk(starts[at] ?? 0, (starts[at] ?? 0) + (picked[at] ?? 0))) this.#zeroHash = hash.slice();
    }
    this.#passed += hashed;
    this.#start = from;
    this.#cuts = [];
    this.#stored += count;
    const counts = { hashed, known: known + stored.knownBytes, packed: stored.packedBytes, readMs: 0, workMs: 0, waitMs: 0 };
    this.#onChunks({ offset, hashes, lengths, zeroHash: this.#zeroHash, counts }, { workMs: performance.now() - startedMs });
  }

  /** Cuts, without those of chunks that begin in the lead: these are passed. */
  #cutsToStore(): number[] {
    while (this.#passed < this.#lead && this.#cuts.length > 0) {
      const end = this.#cuts.shift() as number;
      this.#passed += end - this.#start;
      this.#start = end;
    }
    return this.#cuts;
  }

  async #emitZeros(chunks: number): Promise<void> {
    const length = this.#zeroChunk();
    const leading = Math.min(chunks, Math.ceil(Math.max(0, this.#lead - this.#passed) / length));
    this.#passed += leading * length;
    const count = chunks - leading;
    if (count === 0) return;
    const offset = this.#from + this.#passed;
    if (this.#zeroHash === undefined) {
      const zeros = this.#zeroBuffer();
      const { hashes } = await this.#lane.store({ data: zeros, starts: Uint32Array.of(0), lengths: Uint32Array.of(length), count: 1 }, this.#compressor);
      this.#zeroHash = hashes.slice();
    }
    const { digestBytes } = this.#lane;
    const hashes = new Uint8Array(count * digestBytes);
    for (let i = 0; i < count; i++) hashes.set(this.#zeroHash, i * digestBytes);
    this.#stored += count;
    const bytes = count * length;
    this.#passed += bytes;
    const lengths = new Uint32Array(count).fill(length);
    const counts = { hashed: bytes, known: bytes, packed: 0, readMs: 0, workMs: 0, waitMs: 0 };
    this.#onChunks({ offset, hashes, lengths, zeroHash: this.#zeroHash, counts }, { workMs: 0 });
  }

  /** Bytes of the chunk that a run of zeros begins with. */
  #zeroChunk(): number {
    if (this.#zeroBytes === 0) {
      const zeros = this.#zeroBuffer();
      this.#zeroBytes = this.#createSplitter().next(zeros, 0, zeros.length);
    }
    return this.#zeroBytes;
  }

  #isZeroChunk(from: number, to: number): boolean {
    // The first byte decides nearly always.
    if (this.#arena[from] !== 0 || to - from !== this.#zeroChunk()) return false;
    return this.#arena.compare(this.#zeroBuffer(), 0, to - from, from, to) === 0;
  }

  /** Pages that nobody writes to take no memory. */
  #zeroBuffer(): Buffer {
    this.#zeros ??= Buffer.alloc(this.#splitter.maxChunkBytes);
    return this.#zeros;
  }

  #moveToFront(): void {
    const pending = this.#end - this.#start;
    const to = this.#aligned ? (BLOCK_BYTES - (pending % BLOCK_BYTES)) % BLOCK_BYTES : 0;
    // Buffer's copy, which may overlap, is twice as fast in shared memory as copyWithin.
    if (to !== this.#start) this.#arena.copy(this.#arena, to, this.#start, this.#end + this.#placedBytes);
    this.#scanned += to - this.#start;
    this.#start = to;
    this.#end = to + pending;
  }
}
