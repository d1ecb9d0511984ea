/** Doubles of the ports of base, for tests: a clock that is moved by hand, randomness from a seed, a log that is kept. */
import type { Clock, Logger, LogRecord, RandomSource } from "../index.ts";
import { loggerTo } from "../index.ts";
import { TimerQueue } from "./timer-queue.ts";

/** A clock that stands still until it is advanced; sleepers and timers fire in order of time. */
export class VirtualClock implements Clock {
  #nowMs: number;
  readonly #timers = new TimerQueue();
  #seq = 0;

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  nowNs(): bigint {
    return BigInt(this.#nowMs) * 1_000_000n;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason);
        return;
      }
      const cancel = this.after(ms, () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(ms, 0), seq: this.#seq++, fire: callback };
    this.#timers.add(timer);
    return () => this.#timers.cancel(timer);
  }

  /** How many sleepers and timers wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves the clock, firing what falls due in order; between two firings pending promises get to run. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      await settle();
      const due = this.#timers.takeDue(untilMs);
      if (due === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.fire();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** Moves the wall clock without firing anything, as a step of NTP does. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }
}

/** Lets every pending promise and immediate run. */
export async function settle(turns = 3): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Repeatable randomness (mulberry32): the same seed gives the same run. */
export function seededRandom(seed: number): RandomSource {
  let state = seed >>> 0;
  const word = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  return {
    bytes: (length) => Uint8Array.from({ length }, () => word() & 0xff),
    fraction: () => word() / 2 ** 32,
  };
}

/** A logger that keeps its records. */
export function memoryLogger(): Logger & { readonly records: LogRecord[] } {
  const records: LogRecord[] = [];
  return Object.assign(
    loggerTo((record) => void records.push(record)),
    { records },
  );
}
