/**
 * Small files wait here until there are enough of them to be made with one call. Their bytes lie one behind the other in memory that is reused.
 *
 * Only files that need nothing but bytes, owner, mode and times come here; one that could not be made is given back, to be made by ordinary calls, which say why.
 */
import { type CreateFiles, NEW_FILE } from "@drayage/kernels";
import { TARGET, type WriteJob } from "./write-job.ts";

/** Larger ones gain nothing. */
export const SMALL_FILE_BYTES_MAX = 128 << 10;
const ARENA_BYTES = 1 << 20;
/** A cancellation waits for one call. */
const FILES_MAX = 256;
const NAME_BYTES_MAX = 1023;
/** So many calls in a row that make nothing, and the target is one that does not take files this way. */
const FRUITLESS_CALLS_MAX = 4;

export class SmallFiles {
  readonly #create: CreateFiles;
  readonly #replace: boolean;
  readonly arena: Uint8Array = new Uint8Array(ARENA_BYTES);
  readonly #names = Buffer.alloc(FILES_MAX * NAME_BYTES_MAX);
  readonly #ends = new Uint32Array(FILES_MAX);
  readonly #rows = new Float64Array(FILES_MAX * NEW_FILE.columns);
  readonly #done = new Uint8Array(FILES_MAX);
  readonly #targets = new Uint32Array(FILES_MAX);
  #count = 0;
  #used = 0;
  #fruitless = 0;

  constructor(create: CreateFiles, replace: boolean) {
    this.#create = create;
    this.#replace = replace;
  }

  get isUseful(): boolean {
    return this.#fruitless < FRUITLESS_CALLS_MAX;
  }

  get isFull(): boolean {
    return this.#count === FILES_MAX;
  }

  /** Where the bytes of the next content go. Undefined when there is no room. */
  room(length: number): Uint8Array | undefined {
    return this.#used + length <= ARENA_BYTES ? this.arena.subarray(this.#used) : undefined;
  }

  /** Keeps a content that was written to where `room` said, for the files that are added next. Where it begins. */
  keep(length: number): number {
    this.#used += length;
    return this.#used - length;
  }

  /** After a flush in the middle of a content: its bytes are kept again, for the files that still want it. They begin the arena now. */
  keepAgain(start: number, length: number): Uint8Array {
    this.arena.copyWithin(0, start, start + length);
    this.#used = length;
    return this.arena.subarray(0, length);
  }

  /** False for a name that does not fit: such a file is made by itself. */
  add(job: WriteJob, target: number, start: number, length: number): boolean {
    const name = job.names[target] ?? "";
    const row = target * TARGET.columns;
    const from = this.#count === 0 ? 0 : (this.#ends[this.#count - 1] ?? 0);
    if (name.length > NAME_BYTES_MAX) return false;
    const at = this.#count * NEW_FILE.columns;
    const { targets } = job;
    this.#ends[this.#count] = from + this.#names.write(name, from, "latin1");
    this.#rows[at + NEW_FILE.directory] = job.directories[targets[row + TARGET.place] ?? 0]?.fd ?? -1;
    this.#rows[at + NEW_FILE.start] = start;
    this.#rows[at + NEW_FILE.length] = length;
    // From mode to nanoseconds the columns are the same.
    for (let column = TARGET.mode; column < TARGET.columns; column++) this.#rows[at + column] = targets[row + column] ?? 0;
    this.#targets[this.#count] = target;
    this.#count++;
    return true;
  }

  /** Makes what waits. `onLeft` is called for each file that could not be made, with its bytes. */
  flush(onLeft: (target: number, plain: Uint8Array) => void): void {
    const count = this.#count;
    if (count > 0) {
      const files = {
        names: this.#names,
        ends: this.#ends.subarray(0, count),
        rows: this.#rows,
        count,
        data: this.arena,
        replace: this.#replace,
        done: this.#done,
      };
      this.#create(files);
      let made = 0;
      for (let index = 0; index < count; index++) {
        if (this.#done[index] === 1) {
          made++;
          continue;
        }
        const at = index * NEW_FILE.columns;
        const start = this.#rows[at + NEW_FILE.start] ?? 0;
        onLeft(this.#targets[index] ?? 0, this.arena.subarray(start, start + (this.#rows[at + NEW_FILE.length] ?? 0)));
      }
      this.#fruitless = made === 0 ? this.#fruitless + 1 : 0;
    }
    this.forget();
  }

  /** Lets go of what waits. */
  forget(): void {
    this.#count = 0;
    this.#used = 0;
  }
}
