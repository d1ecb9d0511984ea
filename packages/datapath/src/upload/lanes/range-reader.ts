/**
 * Reads a range into the arena of its cutter, a piece at a time. Nobody reads ahead of a direct read, so several of them are begun ahead where that can be had: they are on their way while
 * what came before them is cut, hashed and sealed.
 *
 *   arena   [ chunks that are cut | the chunk under way | pieces under way, in order │ room ]
 *
 * Invariants: memory that pieces are under way to is not moved, and has no other use, before all of them have ended; none is under way when `readTo` has read what it should, nor after `settle`.
 * Whatever does not come whole by a read ahead is read again when its turn has come: what fails fails there, as without it.
 */
import { readSync } from "node:fs";
import { invariant } from "@drayage/base";
import type { ReadsAhead } from "@drayage/kernels";
import type { RangeJob } from "./jobs.ts";
import type { RangeCutter } from "./range-cutter.ts";

/** Of direct I/O. */
const BLOCK_BYTES = 4096;

export interface RangeReaderOptions {
  readonly job: Pick<RangeJob, "fd" | "from" | "direct" | "deviceBytes">;
  readonly cutter: RangeCutter;
  readonly pieceBytes: number;
  /** With slots for so many reads. */
  readonly ahead: { readonly reads: ReadsAhead; readonly count: number } | undefined;
  readonly pace: () => Promise<void> | void;
  /** Told how long the thread waited for a read. */
  readonly onWaited: (ms: number) => void;
}

/** What is read at once: whole blocks of a direct read, of which some bytes may lie before and behind what is wanted. */
interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly before: number;
  readonly behind: number;
  /** Where what is wanted ends. */
  readonly end: number;
}

interface PieceUnderWay extends Piece {
  /** Where it was begun, until it has ended. */
  slot: number | undefined;
  /** That came. */
  bytes: number;
}

export class RangeReader {
  readonly #options: RangeReaderOptions;
  readonly #underWay: PieceUnderWay[] = [];
  readonly #countMax: number;
  #nextSlot = 0;
  /** Where the next piece begins. */
  #next: number;
  #at: number;

  constructor(options: RangeReaderOptions) {
    this.#options = options;
    this.#countMax = options.ahead?.count ?? 1;
    this.#at = options.job.from;
    this.#next = this.#at;
  }

  /** Where what was read, or passed, ends. */
  get at(): number {
    return this.#at;
  }

  /** What is not read. */
  pass(bytes: number): void {
    this.#at += bytes;
    this.#next = this.#at;
  }

  /** Reads as far as `to`; false when the file ended before. Throws what reading throws. */
  async readTo(to: number): Promise<boolean> {
    const { cutter, pace } = this.#options;
    while (this.#at < to) {
      await pace();
      await this.#beginAhead(to);
      const piece = this.#underWay.shift();
      invariant(piece !== undefined, "a piece is there when one was wanted");
      const { before, behind, length, end } = piece;
      const count = this.#read(piece);
      const isShort = count < length;
      cutter.take(Math.max(count, before), { before, behind: isShort ? 0 : behind });
      if (isShort) {
        this.#at = Math.min(end, this.#at + Math.max(0, count - before));
        return false;
      }
      this.#at = end;
    }
    return true;
  }

  /** Waits for everything that is under way. */
  settle(): void {
    for (const piece of this.#underWay) this.#end(piece);
  }

  /** Begins as many pieces as may be under way and have room. One is there then, if only to be read when its turn has come. */
  async #beginAhead(to: number): Promise<void> {
    const { cutter } = this.#options;
    while (this.#underWay.length < this.#countMax && this.#next < to) {
      const piece = this.#pieceAt(this.#next, to);
      const place = this.#underWay.length === 0 ? await cutter.reserve(piece.length) : cutter.place(piece.length);
      if (place !== undefined) {
        this.#underWay.push({ ...piece, slot: this.#begin(piece, place), bytes: 0 });
        this.#next = piece.end;
      } else if (cutter.hasChunks) {
        // Meanwhile those that are under way are read.
        await cutter.makeRoom(() => this.settle());
      } else {
        return;
      }
    }
  }

  #pieceAt(at: number, to: number): Piece {
    const { job, pieceBytes } = this.#options;
    // Where only whole blocks are read, the range may begin and end within one.
    const before = job.direct ? at % BLOCK_BYTES : 0;
    const end = Math.min(to, at - before + pieceBytes);
    const behind = job.direct ? Math.min(Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES, Math.max(job.deviceBytes, end)) - end : 0;
    return { offset: at - before, length: before + (end - at) + behind, before, behind, end };
  }

  #begin({ offset, length }: Piece, at: number): number | undefined {
    const { ahead, cutter, job } = this.#options;
    if (ahead === undefined) return undefined;
    const slot = this.#nextSlot;
    if (!ahead.reads.begin(slot, { fd: job.fd, memory: cutter.arena, at, length, offset })) return undefined;
    this.#nextSlot = (slot + 1) % ahead.count;
    return slot;
  }

  #end(piece: PieceUnderWay): void {
    const { ahead, onWaited } = this.#options;
    if (piece.slot === undefined || ahead === undefined) return;
    const startedMs = performance.now();
    piece.bytes = ahead.reads.end(piece.slot);
    piece.slot = undefined;
    onWaited(performance.now() - startedMs);
  }

  /** The bytes of the next piece; fewer than it should have only at the end of the file. */
  #read(piece: PieceUnderWay): number {
    const { job, cutter, onWaited } = this.#options;
    this.#end(piece);
    const startedMs = performance.now();
    let done = piece.bytes;
    while (done < piece.length) {
      const count = readSync(job.fd, cutter.arena, cutter.end + done, piece.length - done, piece.offset + done);
      if (count === 0) break;
      done += count;
    }
    onWaited(performance.now() - startedMs);
    return done;
  }
}
