/** The entries of a stretch of a directory, in order: text that is taken over or was made beside the walk, and outcomes between. */
import { asBuffer } from "@drayage/base";
import type { DirectoryListingWriter } from "@drayage/repo";
import type { FilesTotal } from "./lanes/jobs.ts";
import type { Outcome } from "./upload-tree.ts";

const COMMA = 0x2c;
const NS_PER_S = 1_000_000_000n;
const FIRST_BYTES = 16 << 10;

/** Encoded entries of files, and what they add to a summary. */
export class EncodedRun {
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;
  #files = 0;
  #size = 0;
  #seconds = Number.NEGATIVE_INFINITY;
  #nanoseconds = 0;

  get isEmpty(): boolean {
    return this.#files === 0;
  }

  append(text: Uint8Array, from: number, to: number, size: number, seconds: number, nanoseconds: number): void {
    this.#reserve(to - from + 1);
    if (this.#files > 0) this.#bytes[this.#length++] = COMMA;
    this.#bytes.set(text.subarray(from, to), this.#length);
    this.#length += to - from;
    this.#files++;
    this.#size += size;
    this.#see(seconds, nanoseconds);
  }

  /** Entries with a comma between each two, all at once. The text belongs to the run from here on. */
  appendJoined(text: Uint8Array, { files, bytes, seconds, nanoseconds }: FilesTotal): void {
    if (files === 0) return;
    if (this.#files === 0) {
      this.#bytes = asBuffer(text);
      this.#length = text.length;
    } else {
      this.#reserve(text.length + 1);
      this.#bytes[this.#length++] = COMMA;
      this.#bytes.set(text, this.#length);
      this.#length += text.length;
    }
    this.#files += files;
    this.#size += bytes;
    this.#see(seconds, nanoseconds);
  }

  appendRun(run: EncodedRun): void {
    if (run.isEmpty) return;
    this.#reserve(run.#length + 1);
    if (this.#files > 0) this.#bytes[this.#length++] = COMMA;
    run.#bytes.copy(this.#bytes, this.#length, 0, run.#length);
    this.#length += run.#length;
    this.#files += run.#files;
    this.#size += run.#size;
    this.#see(run.#seconds, run.#nanoseconds);
  }

  async writeTo(listing: DirectoryListingWriter, signal: AbortSignal | undefined): Promise<void> {
    if (this.isEmpty) return;
    const maxTimeNs = timeNsOf(this.#seconds, this.#nanoseconds);
    await listing.addEncoded({ bytes: this.#bytes.subarray(0, this.#length), files: this.#files, size: this.#size, maxTimeNs }, signal);
  }

  #see(seconds: number, nanoseconds: number): void {
    if (seconds < this.#seconds || (seconds === this.#seconds && nanoseconds <= this.#nanoseconds)) return;
    this.#seconds = seconds;
    this.#nanoseconds = nanoseconds;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const grown = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length + bytes, FIRST_BYTES));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

/** As a listing has it. */
export function timeNsOf(seconds: number, nanoseconds: number): bigint {
  const ns = BigInt(seconds) * NS_PER_S + BigInt(nanoseconds);
  return BigInt.asIntN(64, ns) === ns ? ns : ns < 0n ? -(2n ** 63n) : 2n ** 63n - 1n;
}

export class StretchListing {
  readonly #parts: (EncodedRun | Outcome)[] = [];

  /** The run that takes what comes next. */
  get run(): EncodedRun {
    const last = this.#parts.at(-1);
    if (last instanceof EncodedRun) return last;
    const run = new EncodedRun();
    this.#parts.push(run);
    return run;
  }

  addRun(run: EncodedRun): void {
    if (this.#parts.at(-1) instanceof EncodedRun) this.run.appendRun(run);
    else this.#parts.push(run);
  }

  addOutcome(outcome: Outcome): void {
    if (outcome !== undefined) this.#parts.push(outcome);
  }

  async writeTo(listing: DirectoryListingWriter, take: (outcome: Outcome) => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    for (const part of this.#parts) {
      if (part instanceof EncodedRun) await part.writeTo(listing, signal);
      else await take(part);
    }
  }
}
