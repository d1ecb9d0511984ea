/** How far a transfer is. Told at most every half second, and once more at the end. */
import type { Clock } from "@drayage/base";

export type DataPathPhase = "preparing" | "transferring" | "finishing" | "verifying" | "done";

export interface DataPathProgress {
  readonly phase: DataPathPhase;
  /** Bytes of all files, as far as is known: exact once `totalIsExact`, an estimate or a count under way before. */
  readonly bytesTotal: number;
  readonly filesTotal: number;
  readonly totalIsExact: boolean;
  /** Bytes of files dealt with, whether they were read, taken from a parent, or skipped as holes. */
  readonly bytesDone: number;
  readonly filesDone: number;
  /** Bytes read from the volume and hashed. */
  readonly bytesHashed: number;
  /** Of these, bytes that the repository had already. */
  readonly bytesDeduplicated: number;
  /** Bytes that go to the store, after compression and encryption; on a restore, bytes that came from it. */
  readonly bytesUploaded: number;
  /** Entries that could not be transferred. */
  readonly errors: number;
  /** What most of the time went into lately, where the threads that do the work say so. */
  readonly limitedBy?: TransferLimit;
}

/** `reading` the volume, the `processor`, or the `storage`, on which packs wait. */
export type TransferLimit = "reading" | "processor" | "storage";

export type OnProgress = (progress: DataPathProgress) => void;

const EVERY_MS = 500;

type Counts = { -readonly [K in keyof Omit<DataPathProgress, "limitedBy">]: DataPathProgress[K] };

/** Of what was spent before the last telling, so much still counts: a limit that changes shows within seconds. */
const MEMORY = 0.7;

const LIMITS = ["reading", "processor", "storage"] as const;

/** The counters of one transfer; whoever moves bytes adds to them. */
export class ProgressMeter {
  readonly counts: Counts = {
    phase: "preparing",
    bytesTotal: 0,
    filesTotal: 0,
    totalIsExact: false,
    bytesDone: 0,
    filesDone: 0,
    bytesHashed: 0,
    bytesDeduplicated: 0,
    bytesUploaded: 0,
    errors: 0,
  };
  readonly #spent = { reading: 0, processor: 0, storage: 0 };
  readonly #onProgress: OnProgress | undefined;
  readonly #clock: Clock;
  #cancelTimer: () => void = () => undefined;

  constructor(clock: Clock, onProgress: OnProgress | undefined) {
    this.#clock = clock;
    this.#onProgress = onProgress;
    if (onProgress !== undefined) this.#arm();
  }

  /** Notes where time went, in milliseconds. */
  spend(spent: { readonly reading: number; readonly processor: number; readonly storage: number }): void {
    for (const limit of LIMITS) this.#spent[limit] += spent[limit];
  }

  get #limitedBy(): TransferLimit | undefined {
    const [first] = LIMITS.toSorted((a, b) => this.#spent[b] - this.#spent[a]);
    return first === undefined || this.#spent[first] === 0 ? undefined : first;
  }

  get progress(): DataPathProgress {
    const { bytesTotal, bytesDone, filesTotal, filesDone } = this.counts;
    // What is done was there: an estimate never shows more than 100 %.
    const limitedBy = this.#limitedBy;
    return {
      ...this.counts,
      ...{ bytesTotal: Math.max(bytesTotal, bytesDone), filesTotal: Math.max(filesTotal, filesDone) },
      ...(limitedBy === undefined ? {} : { limitedBy }),
    };
  }

  enter(phase: DataPathPhase): void {
    this.counts.phase = phase;
    this.#onProgress?.(this.progress);
  }

  /** Stops the telling, after a last time when the transfer ended well. */
  close(endedWell: boolean): void {
    this.#cancelTimer();
    if (!endedWell) return;
    this.counts.bytesTotal = this.counts.bytesDone;
    this.counts.filesTotal = this.counts.filesDone;
    this.counts.totalIsExact = true;
    this.enter("done");
  }

  #arm(): void {
    this.#cancelTimer = this.#clock.after(EVERY_MS, () => {
      this.#onProgress?.(this.progress);
      for (const limit of LIMITS) this.#spent[limit] *= MEMORY;
      this.#arm();
    });
  }
}

/** A rate over the last seconds and the time that is left. */
export class RateMeter {
  readonly #windowMs: number;
  readonly #points: { readonly atMs: number; readonly done: number }[] = [];

  constructor(windowMs = 10_000) {
    this.#windowMs = windowMs;
  }

  /** Notes how much is done by now. */
  note(atMs: number, done: number): void {
    this.#points.push({ atMs, done });
    while (this.#points.length > 2 && (this.#points[1]?.atMs ?? 0) <= atMs - this.#windowMs) this.#points.shift();
  }

  /** Units a second; undefined before there are two points. */
  get perSecond(): number | undefined {
    const first = this.#points[0];
    const last = this.#points.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
    return ((last.done - first.done) * 1000) / (last.atMs - first.atMs);
  }

  /** Milliseconds until `total` is done at this rate; undefined when nothing moves. */
  etaMs(total: number): number | undefined {
    const rate = this.perSecond;
    const last = this.#points.at(-1);
    if (rate === undefined || rate <= 0 || last === undefined) return undefined;
    return (Math.max(total - last.done, 0) / rate) * 1000;
  }
}
