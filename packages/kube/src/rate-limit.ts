import type { Clock } from "@drayage/base";

/** A token bucket: `burst` calls at once, then `qps` a second. Callers are served in the order in which they came. */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #burst: number;
  /** The time at which the bucket would be full again; lies in the past when it is. */
  #fullAtMs: number;

  constructor(clock: Clock, options: { readonly qps: number; readonly burst: number }) {
    this.#clock = clock;
    this.#intervalMs = options.qps > 0 ? 1000 / options.qps : 0;
    this.#burst = Math.max(1, options.burst);
    this.#fullAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Waits for a turn. An aborted wait gives its turn up without giving it back, which only makes the next caller a little later. */
  async take(signal?: AbortSignal): Promise<void> {
    if (this.#intervalMs === 0) return;
    const nowMs = this.#clock.monotonicMs();
    this.#fullAtMs = Math.max(this.#fullAtMs, nowMs) + this.#intervalMs;
    const waitMs = this.#fullAtMs - nowMs - this.#burst * this.#intervalMs;
    if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
  }
}
