/** Timers in order of their time, and of their making where that is the same. A binary heap: thousands of controllers' delays wait in one clock. */
export interface Timer {
  readonly atMs: number;
  readonly seq: number;
  readonly fire: () => void;
}

const isBefore = (a: Timer, b: Timer): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.seq < b.seq);

export class TimerQueue {
  readonly #heap: Timer[] = [];
  /** What was canceled stays in the heap until it comes to its top. */
  readonly #live = new Set<Timer>();

  /** Those that wait. */
  get size(): number {
    return this.#live.size;
  }

  add(timer: Timer): void {
    this.#live.add(timer);
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(timer, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = timer;
  }

  cancel(timer: Timer): void {
    this.#live.delete(timer);
  }

  /** Takes out the first that is due by then. */
  takeDue(untilMs: number): Timer | undefined {
    for (;;) {
      const [first] = this.#heap;
      if (first === undefined) return undefined;
      const isLive = this.#live.has(first);
      if (isLive && first.atMs > untilMs) return undefined;
      this.#removeFirst();
      if (!this.#live.delete(first)) continue;
      return first;
    }
  }

  #removeFirst(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}
