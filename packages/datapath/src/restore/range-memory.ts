/**
 * Memory for ranges, taken from one piece that is used again and again: of memory that is new each time every page is found, cleared and mapped before the first byte comes in, and at 2 GiB
 * that is a good part of a restore.
 *
 * Whoever finds no gap waits for one: those who hold memory want no more of it, so that one comes. Gaps are taken from the front, so that little of the memory is ever touched where
 * little is under way.
 */

interface Held {
  readonly offset: number;
  readonly end: number;
}

export class RangeMemory {
  readonly #bytes: number;
  #memory: SharedArrayBuffer | undefined;
  /** By offset. */
  readonly #held: Held[] = [];
  readonly #waiting: (() => void)[] = [];

  /** @param bytes - of all ranges together; pages that were never used take none */
  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  /** Memory of this length, and what gives it back. A range that is longer than all of the memory has its own. */
  async take(length: number): Promise<{ readonly bytes: Uint8Array; readonly giveBack: () => void }> {
    if (length > this.#bytes) return { bytes: new Uint8Array(length), giveBack: () => undefined };
    for (;;) {
      const held = this.#hold(length);
      if (held !== undefined) {
        this.#memory ??= new SharedArrayBuffer(this.#bytes);
        return { bytes: new Uint8Array(this.#memory, held.offset, length), giveBack: () => this.#giveBack(held) };
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #hold(length: number): Held | undefined {
    let offset = 0;
    for (let i = 0; i <= this.#held.length; i++) {
      const next = this.#held[i];
      if ((next?.offset ?? this.#bytes) - offset >= length) {
        const held = { offset, end: offset + length };
        this.#held.splice(i, 0, held);
        return held;
      }
      offset = next?.end ?? offset;
    }
    return undefined;
  }

  #giveBack(held: Held): void {
    const at = this.#held.indexOf(held);
    if (at >= 0) this.#held.splice(at, 1);
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
