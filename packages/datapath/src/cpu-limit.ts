/**
 * Keeps a process to so many processors: between pieces of work each of its threads looks at what all of them have taken, and rests until that is no more than there was to be had in the
 * time. What a thread of it works at itself would not do: packs are written by threads of Node's pool, and the walk is done by the main one.
 */
const REST_MS_MIN = 5;
/** An abort is not kept waiting by more. */
const REST_MS_MAX = 200;
/** What was not used may be made up for by so much and no more: after a minute of waiting for the network nobody may take all processors for a minute. */
const CREDIT_MS = 100;

/** What is looked at; the process and its clock when left out. */
export interface CpuMeters {
  readonly usedMs: () => number;
  readonly nowMs: () => number;
}

const ofProcess: CpuMeters = {
  usedMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  nowMs: () => performance.now(),
};

export class CpuLimit {
  readonly #processors: number;
  readonly #meters: CpuMeters;
  /** What was to be had by now, in milliseconds of a processor, less what was used. */
  #leftMs = 0;
  #usedMs: number;
  #sinceMs: number;

  constructor(processors: number, meters: CpuMeters = ofProcess) {
    this.#processors = processors;
    this.#meters = meters;
    this.#usedMs = meters.usedMs();
    this.#sinceMs = meters.nowMs();
  }

  /** How long to rest before more work; 0 for not at all. What is owed beyond that is asked for the next time. */
  restMs(): number {
    if (this.#processors === Number.POSITIVE_INFINITY) return 0;
    const [usedMs, nowMs] = [this.#meters.usedMs(), this.#meters.nowMs()];
    const gainedMs = (nowMs - this.#sinceMs) * this.#processors - (usedMs - this.#usedMs);
    this.#leftMs = Math.min(this.#leftMs + gainedMs, CREDIT_MS);
    this.#usedMs = usedMs;
    this.#sinceMs = nowMs;
    const owedMs = -this.#leftMs / this.#processors;
    return owedMs < REST_MS_MIN ? 0 : Math.min(owedMs, REST_MS_MAX);
  }
}
