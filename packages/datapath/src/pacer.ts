/**
 * Lets synchronous work share its thread: after so much of it the event loop gets a turn, and cancellation is looked at. Work that only ever awaits what is ready would starve
 * timers, uploads and Ctrl-C.
 */
import type { Clock } from "@drayage/base";
import type { CpuLimit } from "./cpu-limit.ts";

const TURN_MS = 20;
/** How much may be done between two looks at the clock. */
const COST_PER_LOOK = 32;

export class Pacer {
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  readonly #limit: CpuLimit | undefined;
  #cost = 0;
  #lookedMs: number;

  /** @param limit - has each turn take as long as its processors ask for */
  constructor(clock: Clock, signal: AbortSignal | undefined, limit?: CpuLimit) {
    this.#clock = clock;
    this.#limit = limit;
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
    const restMs = this.#limit?.restMs() ?? 0;
    if (restMs > 0) await this.#clock.sleep(restMs, this.#signal);
    this.#lookedMs = this.#clock.monotonicMs();
    this.#signal?.throwIfAborted();
  }

  /** `isDue` and `turn` in one. */
  async pace(cost = 1): Promise<void> {
    if (this.isDue(cost)) await this.turn();
  }
}
