/**
 * Does one job at a time in whichever thread it is: reads synchronously, hashes, seals.
 *
 *   files   read into the arena, many in one call ─ hashed side by side ─ sealed ─ entries written as text
 *   range   read piece by piece ─ cut ─ four chunks at a time hashed and sealed
 */
import { fstatSync } from "node:fs";
import { ATTRIBUTES, type BatchFiles, type DirectoryNames, type Kernels, nameBytes, type ReadsAhead, ROW, ROW_SLOTS } from "@drayage/kernels";
import { encodeDirectoryEntry, encodeEntryExtension, MEMBER, type SealingLane } from "@drayage/repo/sealing-lane";
import { indexesFrom } from "./indexes.ts";
import {
  type FileExtension,
  type FilesJob,
  type FilesResult,
  LEFT_TO_WALK,
  type RangeChunks,
  type RangeJob,
  type RangeResult,
  type StoreCounts,
} from "./jobs.ts";
import { RangeCutter } from "./range-cutter.ts";
import { RangeReader, type RangeReaderOptions } from "./range-reader.ts";

const PIECE_BYTES = 4 << 20;
const SMALL_PIECE_BYTES = 1 << 20;
/** Of direct reads that are on their way meanwhile, and the part of an arena that they may have at most. */
export const READ_AHEAD_BYTES: number = 8 << 20;
const ARENA_SHARE_AHEAD = 1 / 4;
const NS_PER_S = 1_000_000_000n;
const ENTRY_BYTES_BESIDE_NAME = 400;
const MAX_NS = 2n ** 63n - 1n;
const MIN_NS = -(2n ** 63n);

/** The least arena for a splitter: one chunk of the largest size, and a piece. Above it more chunks are hashed side by side. */
export function leastArenaBytes(maxChunkBytes: number): number {
  return maxChunkBytes + 2 * SMALL_PIECE_BYTES;
}

export interface RunnerOptions {
  readonly lane: SealingLane;
  readonly kernels: Kernels;
  /** Aligned for direct I/O. */
  readonly arena: Uint8Array;
  /** Milliseconds that were spent waiting for pack memory so far. */
  readonly waitedMs: () => number;
  /** Called between pieces of work; what it throws ends the job. */
  readonly pace: () => Promise<void> | void;
}

export class JobRunner {
  readonly #options: RunnerOptions;
  readonly #files: BatchFiles;
  /** Made for the first direct read. */
  #reads: ReadsAhead | undefined;
  #sinceMs = 0;
  #waitedMs = 0;
  #readMs = 0;
  #prefixes = new Uint8Array(0);
  #prefixEnds = new Uint32Array(0);

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#files = options.kernels.files;
  }

  async files(job: FilesJob): Promise<FilesResult> {
    this.#begin();
    const count = job.ends.length;
    const { lane, arena, pace } = this.#options;
    const rows = new Float64Array(count * ROW_SLOTS);
    const hashes = new Uint8Array(count * lane.digestBytes);
    const text = new EntryText(job.names.length + count * ENTRY_BYTES_BESIDE_NAME, count);
    let [hashed, known, packed] = [0, 0, 0];
    for (let from = 0; from < count; ) {
      await pace();
      const picks = indexesFrom(from, count);
      const readFromMs = performance.now();
      const part = rows.subarray(from * ROW_SLOTS);
      const done = this.#files.readFiles(job.directory, namesOf(job), picks, job, part, arena);
      this.#readMs += performance.now() - readFromMs;
      const words = new BigUint64Array(part.buffer, part.byteOffset, done * ROW_SLOTS);
      const starts = new Uint32Array(done);
      const lengths = new Uint32Array(done);
      const stored = new Uint32Array(done);
      let reads = 0;
      for (let i = 0; i < done; i++) {
        const at = i * ROW_SLOTS;
        if (part[at + ROW.status] !== 0) continue;
        if (!isAsExpected(part, words, at, job.extensions?.[from + i])) {
          part[at + ROW.status] = LEFT_TO_WALK;
          continue;
        }
        starts[reads] = part[at + ROW.start] ?? 0;
        lengths[reads] = part[at + ROW.length] ?? 0;
        hashed += lengths[reads] ?? 0;
        stored[reads++] = i;
      }
      const result = await lane.store({ data: arena, starts, lengths, count: reads }, job.compressor);
      known += result.knownBytes;
      packed += result.packedBytes;
      if (reads === done) hashes.set(result.hashes, from * lane.digestBytes);
      else
        for (let i = 0; i < reads; i++)
          hashes.set(result.hashes.subarray(i * lane.digestBytes, (i + 1) * lane.digestBytes), (from + (stored[i] ?? 0)) * lane.digestBytes);
      this.#encode(job, from, done, part, hashes, text);
      from += done;
    }
    return { rows, ...text.finish(), ...summaryOf(rows), counts: this.#counts({ hashed, known, packed }) };
  }

  async range(job: RangeJob, onChunks: (chunks: RangeChunks) => void): Promise<RangeResult> {
    this.#begin();
    const { lane, kernels, arena, pace } = this.#options;
    const cutter = new RangeCutter(lane, arena, {
      createSplitter: () => kernels.splitter(job.splitter),
      ...{ compressor: job.compressor, aligned: job.direct, from: job.from, lead: job.lead },
      onChunks: (chunks) => onChunks({ ...chunks, counts: this.#counts(chunks.counts) }),
    });
    const onWaited = (ms: number): void => {
      this.#readMs += ms;
    };
    const reader = new RangeReader({ job, cutter, ...this.#readingOf(job, cutter), pace, onWaited });
    try {
      let isWhole = true;
      for (let i = 0; i < job.holes.length && isWhole; i += 2) {
        const [offset = 0, length = 0] = job.holes.slice(i, i + 2);
        isWhole = await reader.readTo(offset);
        if (!isWhole) break;
        // A file that shrank ends in its hole.
        const rest = job.deviceBytes > 0 ? length : Math.max(0, Math.min(length, fstatSync(job.fd).size - reader.at));
        await cutter.skip(rest, pace);
        reader.pass(rest);
        isWhole = rest === length;
      }
      if (isWhole) await reader.readTo(job.to);
      await cutter.finish(job.isOpen);
      return { end: reader.at, digestBytes: lane.digestBytes };
    } finally {
      // The arena is for the next job, and the descriptor may be closed.
      reader.settle();
    }
  }

  #readingOf({ direct }: RangeJob, { maxChunkBytes }: RangeCutter): Pick<RangeReaderOptions, "pieceBytes" | "ahead"> {
    // The system reads a file ahead of us: small pieces fill the arena further, and are in the cache still when they are cut.
    if (!direct) return { pieceBytes: SMALL_PIECE_BYTES, ahead: undefined };
    const { kernels, arena } = this.#options;
    const count = Math.max(1, Math.floor(Math.min(READ_AHEAD_BYTES, arena.length * ARENA_SHARE_AHEAD) / SMALL_PIECE_BYTES));
    this.#reads ??= kernels.readsAhead?.(count);
    if (this.#reads !== undefined) return { pieceBytes: SMALL_PIECE_BYTES, ahead: { reads: this.#reads, count } };
    return { pieceBytes: arena.length >= maxChunkBytes + 2 * PIECE_BYTES ? PIECE_BYTES : SMALL_PIECE_BYTES, ahead: undefined };
  }

  /** Writes the entries of the files of one call that were stored. */
  #encode(job: FilesJob, from: number, count: number, rows: Float64Array, hashes: Uint8Array, text: EntryText): void {
    const { digestBytes } = this.#options.lane;
    // What was stored is what the entry says, also of a file that shrank.
    for (let i = 0; i < count; i++) if (rows[i * ROW_SLOTS + ROW.status] === 0) rows[i * ROW_SLOTS + ROW.size] = rows[i * ROW_SLOTS + ROW.length] ?? 0;
    const inOneCall = (out: Uint8Array, at: number, outEnds: Uint32Array): number =>
      this.#files.encodeStored(
        namesOf(job),
        { from, to: from + count },
        rows,
        { bytes: hashes.subarray(from * digestBytes, (from + count) * digestBytes), digestBytes },
        { out, at, outEnds },
      );
    if (job.extensions === undefined && text.fill(count, inOneCall)) return;
    const picks = indexesFrom(from, from + count);
    const bytes = job.names.length + count * ENTRY_BYTES_BESIDE_NAME;
    if (this.#prefixes.length < bytes) this.#prefixes = new Uint8Array(bytes);
    if (this.#prefixEnds.length < count) this.#prefixEnds = new Uint32Array(count);
    const prefixes = this.#prefixes;
    const ends = this.#prefixEnds;
    this.#files.encodeEntries(namesOf(job), picks, rows, prefixes, ends);
    for (let i = 0, start = 0; i < count; start = ends[i] ?? start, i++) {
      const at = i * ROW_SLOTS;
      if (rows[at + ROW.status] === 0) {
        const hash = hashes.subarray((from + i) * digestBytes, (from + i + 1) * digestBytes);
        const extension = job.extensions?.[from + i]?.extension;
        const end = ends[i] ?? start;
        text.beginEntry();
        if (end > start) text.put(prefixes, start, end, hash, extension === undefined ? undefined : encodeEntryExtension("", extension));
        else text.putText(entryTextOf(Buffer.from(nameBytes(namesOf(job), from + i)).toString("latin1"), rows, at, hash, extension));
      }
      text.endEntry();
    }
  }

  #begin(): void {
    this.#sinceMs = performance.now();
    this.#waitedMs = this.#options.waitedMs();
    this.#readMs = 0;
  }

  /** With the times since the last time. */
  #counts({ hashed, known, packed }: Pick<StoreCounts, "hashed" | "known" | "packed">): StoreCounts {
    const nowMs = performance.now();
    const waitMs = this.#options.waitedMs() - this.#waitedMs;
    const counts = { hashed, known, packed, readMs: this.#readMs, waitMs, workMs: Math.max(0, nowMs - this.#sinceMs - waitMs - this.#readMs) };
    this.#begin();
    return counts;
  }
}

function summaryOf(rows: Float64Array): Pick<FilesResult, "total" | "isPlain"> {
  let [files, bytes, seconds, nanoseconds] = [0, 0, Number.NEGATIVE_INFINITY, 0];
  let isPlain = true;
  for (let at = 0; at < rows.length; at += ROW_SLOTS) {
    const isStored = rows[at + ROW.status] === 0;
    isPlain &&= isStored && rows[at + ROW.grew] === 0;
    if (!isStored) continue;
    files++;
    bytes += rows[at + ROW.size] ?? 0;
    const second = rows[at + ROW.seconds] ?? 0;
    const rest = rows[at + ROW.nanoseconds] ?? 0;
    if (second < seconds || (second === seconds && rest <= nanoseconds)) continue;
    seconds = second;
    nanoseconds = rest;
  }
  return { total: { files, bytes, seconds, nanoseconds }, isPlain };
}

function namesOf({ names, ends }: FilesJob): DirectoryNames {
  return { names, ends, directories: 0 };
}

/** Whether a file has as many names, and attributes or none, as the walk saw when it made the job. */
function isAsExpected(rows: Float64Array, words: BigUint64Array, at: number, expected: FileExtension | undefined): boolean {
  const hasNames = (rows[at + ROW.links] ?? 1) > 1;
  const hasAttributes = rows[at + ROW.attributes] !== ATTRIBUTES.none;
  if (expected === undefined) return !hasNames && !hasAttributes;
  if (hasAttributes && expected.extension.xattrs === undefined) return false;
  return hasNames ? expected.inode === words[at + ROW.inode] : expected.inode === undefined;
}

/** What encodeEntries leaves to others. */
function entryTextOf(name: string, rows: Float64Array, at: number, hash: Uint8Array, extension: FileExtension["extension"] | undefined): string {
  const ns = BigInt(rows[at + ROW.seconds] ?? 0) * NS_PER_S + BigInt(rows[at + ROW.nanoseconds] ?? 0);
  return encodeDirectoryEntry({
    ...{ name, type: "file", mode: (rows[at + ROW.mode] ?? 0) & 0o7777, size: rows[at + ROW.size] ?? 0 },
    ...{ mtimeNs: ns < MIN_NS ? MIN_NS : ns > MAX_NS ? MAX_NS : ns, uid: rows[at + ROW.uid] ?? 0, gid: rows[at + ROW.gid] ?? 0 },
    objectId: Buffer.from(hash).toString("hex") as never,
    ...(extension === undefined ? {} : { extension }),
  });
}

const DIGITS = Buffer.from("0123456789abcdef");
const QUOTE = 0x22;
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;

/** Entries one behind the other, as bytes. */
class EntryText {
  #bytes: Buffer<ArrayBuffer>;
  readonly #ends: Uint32Array<ArrayBuffer>;
  #length = 0;
  #count = 0;

  constructor(bytes: number, count: number) {
    this.#bytes = Buffer.alloc(bytes);
    this.#ends = new Uint32Array(count);
  }

  /** Has the next `count` entries written from `at` on by somebody who says where they end, or -1 when that cannot be; whether it could. */
  fill(count: number, write: (bytes: Uint8Array, at: number, ends: Uint32Array) => number): boolean {
    const end = write(this.#bytes, this.#length, this.#ends);
    if (end < 0) return false;
    this.#length = end;
    this.#count += count;
    return true;
  }

  /** A comma before every entry but the first. */
  beginEntry(): void {
    if (this.#length === 0) return;
    this.#reserve(1);
    this.#bytes[this.#length++] = COMMA;
  }

  /** `text[from, to)` goes as far as the quote before the object id. */
  put(text: Uint8Array, from: number, to: number, hash: Uint8Array, extension: string | undefined): void {
    this.#reserve(to - from + 2 * hash.length + 2 + (extension?.length ?? 0) * 3 + MEMBER.length + 4);
    const bytes = this.#bytes;
    bytes.set(text.subarray(from, to), this.#length);
    let at = this.#length + to - from;
    for (const byte of hash) {
      bytes[at++] = DIGITS[byte >>> 4] ?? 0;
      bytes[at++] = DIGITS[byte & 15] ?? 0;
    }
    bytes[at++] = QUOTE;
    if (extension !== undefined) at += bytes.write(`,"${MEMBER}":${extension}`, at, "utf8");
    bytes[at++] = CLOSE_BRACE;
    this.#length = at;
  }

  putText(text: string): void {
    this.#reserve(text.length * 3);
    this.#length += this.#bytes.write(text, this.#length, "utf8");
  }

  endEntry(): void {
    this.#ends[this.#count++] = this.#length;
  }

  finish(): { readonly text: Uint8Array<ArrayBuffer>; readonly ends: Uint32Array<ArrayBuffer> } {
    // A copy of its own length: it is going to another thread.
    return { text: new Uint8Array(this.#bytes.subarray(0, this.#length)), ends: this.#ends };
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length + bytes));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}
