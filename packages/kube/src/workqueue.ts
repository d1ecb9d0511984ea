import { type Clock, DrayError, type RandomSource } from "@drayage/base";

export interface WorkqueueOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Delay after the first failure of an item; it doubles from there. */
  readonly backoffFirstMs?: number;
  readonly backoffMaxMs?: number;
  /** Distinct items that may be known at once; more is a defect of who adds them. */
  readonly itemsMax?: number;
}

/**
 * A queue of keys for reconcilers.
 *
 * - A key waits at most once, however often it is added, and is never worked on twice at the same time: what is added meanwhile waits until `done`.
 * - A key that is to come later (`addAfter`) keeps its earliest time.
 * - Failures of a key are counted until `forget`; `addFailed` puts it off exponentially, with jitter.
 */
export class Workqueue {
  readonly #options: WorkqueueOptions;
  readonly #backoffFirstMs: number;
  readonly #backoffMaxMs: number;
  readonly #itemsMax: number;
  /** In the order in which they are to be taken. */
  readonly #ready = new Set<string>();
  readonly #working = new Set<string>();
  /** Added while being worked on. */
  readonly #again = new Set<string>();
  readonly #later = new Map<string, { readonly atMs: number; readonly cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(options: WorkqueueOptions) {
    this.#options = options;
    this.#backoffFirstMs = options.backoffFirstMs ?? 100;
    this.#backoffMaxMs = options.backoffMaxMs ?? 30_000;
    this.#itemsMax = options.itemsMax ?? 1_000_000;
  }

  /** Items that wait to be taken. */
  get length(): number {
    return this.#ready.size;
  }

  /** Items that are being worked on. */
  get working(): number {
    return this.#working.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    const waiting = this.#later.get(key);
    if (waiting !== undefined) {
      waiting.cancel();
      this.#later.delete(key);
    }
    if (this.#working.has(key)) {
      this.#again.add(key);
      return;
    }
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#working.add(key);
      taker(key);
      return;
    }
    this.#bound();
    this.#ready.add(key);
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return;
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    const atMs = this.#options.clock.monotonicMs() + delayMs;
    const waiting = this.#later.get(key);
    if (waiting !== undefined && waiting.atMs <= atMs) return;
    waiting?.cancel();
    this.#bound();
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#later.delete(key);
      this.add(key);
    });
    this.#later.set(key, { atMs, cancel });
  }

  /** Puts a key that failed off; returns by how much. `floorMs` is the least. */
  addFailed(key: string, floorMs = 0): number {
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const fullMs = Math.min(this.#backoffFirstMs * 2 ** Math.min(failures - 1, 30), this.#backoffMaxMs);
    const delayMs = Math.max(fullMs * (0.5 + this.#options.random.fraction() / 2), floorMs);
    this.addAfter(key, delayMs);
    return delayMs;
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, when there is one; undefined once the queue is closed. Each key taken must be given to `done`. */
  async take(): Promise<string | undefined> {
    if (this.#closed) return undefined;
    const [key] = this.#ready;
    if (key === undefined) return new Promise((resolve) => this.#takers.push(resolve));
    this.#ready.delete(key);
    this.#working.add(key);
    return key;
  }

  done(key: string): void {
    this.#working.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Ends all waits. Keys that wait are dropped; those being worked on go on. */
  close(): void {
    this.#closed = true;
    for (const { cancel } of this.#later.values()) cancel();
    this.#later.clear();
    this.#ready.clear();
    this.#again.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }

  #bound(): void {
    if (this.#ready.size + this.#later.size >= this.#itemsMax) {
      throw new DrayError("INVARIANT", `Cannot queue more work: ${this.#itemsMax} items wait already`);
    }
  }
}
