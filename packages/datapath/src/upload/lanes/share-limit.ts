/** Keeps a thread to a share of the time: after work it rests as long as the share asks for. */
const REST_MS_MIN = 5;
const REST_MS_MAX = 200;

export class ShareLimit {
  readonly #share: number;
  readonly #sleep: (ms: number) => void;
  readonly #nowMs: () => number;
  #sinceMs: number;
  #owedMs = 0;

  constructor(share: number, sleep: (ms: number) => void, nowMs: () => number = () => performance.now()) {
    this.#share = share;
    this.#sleep = sleep;
    this.#nowMs = nowMs;
    this.#sinceMs = nowMs();
  }

  /** Called between pieces of work. */
  rest(): void {
    if (this.#share >= 1) return;
    const nowMs = this.#nowMs();
    this.#owedMs += (nowMs - this.#sinceMs) * (1 / this.#share - 1);
    this.#sinceMs = nowMs;
    // In steps that an abort is not kept waiting by.
    while (this.#owedMs >= REST_MS_MIN) {
      const ms = Math.min(this.#owedMs, REST_MS_MAX);
      this.#sleep(ms);
      this.#owedMs -= ms;
      if (ms === REST_MS_MAX) break;
    }
    this.#sinceMs = this.#nowMs();
  }
}
