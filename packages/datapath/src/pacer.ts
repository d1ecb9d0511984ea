/**
 * Lets synchronous work share its thread: after so much of it the event loop gets a turn, and cancellation is looked at. Work that only ever awaits what is ready would starve
 * timers, uploads and Ctrl-C.
 */
import type { Clock } from "@drayage/base";

const TURN_MS = 20;
/** How much may be done between two looks at the clock. */
const COST_PER_LOOK = 32;

export class Pacer {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  #cost = 0;
  #lookedMs: number;

  constructor(clock: Clock, signal: AbortSignal | undefined) {
    this.#clock = clock;
    this.#signal = signal;
    this.#lookedMs = clock.monotonicMs();
  }

  /** Whether a turn is due after work of this cost; one unit is about one small system call. Throws the signal's reason when it is aborted. */
  isDue(cost = 1): boolean {
    this.#cost += cost;
    if (this.#cost < COST_PER_LOOK) return false;
    this.#cost = 0;
    this.#signal?.throwIfAborted();
    return this.#clock.monotonicMs() - this.#lookedMs >= TURN_MS;
  }

  /** Gives the event loop a turn. */
  async turn(): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#lookedMs = this.#clock.monotonicMs();
    this.#signal?.throwIfAborted();
  }

  /** `isDue` and `turn` in one. */
  async pace(cost = 1): Promise<void> {
    if (this.isDue(cost)) await this.turn();
  }
}
