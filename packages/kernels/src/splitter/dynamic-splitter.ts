import type { Splitter } from "../types.ts";

/** Bytes of the rolling window of every Kopia splitter. */
export const WINDOW_BYTES = 64;

/** The sizes that a DYNAMIC splitter derives from the average in its name. */
export interface ChunkSizes {
  readonly minBytes: number;
  readonly maxBytes: number;
  /** A cut is due where hash & mask is 0. */
  readonly mask: number;
}

export function chunkSizes(averageBytes: number): ChunkSizes {
  return { minBytes: averageBytes / 2, maxBytes: averageBytes * 2, mask: averageBytes - 1 };
}

/**
 * What the content-defined splitters share: where a chunk is searched, and the last 64 bytes carried from one slice to the next.
 *
 * The hash at any tested position is a function of the 64 bytes before it alone, and no cut is legal before `minBytes`. So a chunk is skipped up to
 * minBytes − 64, the window is filled with the 64 bytes that follow, and only then is every position tested (kopia-format.md 4.1).
 *
 * Invariant: once `count` ≥ minBytes, `window` holds the 64 bytes before the position where the next call starts, oldest first.
 */
export abstract class DynamicSplitter implements Splitter {
  readonly maxChunkBytes: number;
  readonly minChunkBytes: number;
  protected readonly window: Uint8Array = new Uint8Array(WINDOW_BYTES);
  protected readonly mask: number;
  /** Bytes of the current chunk that were taken already. */
  #count = 0;

  constructor(sizes: ChunkSizes) {
    this.minChunkBytes = sizes.minBytes;
    this.maxChunkBytes = sizes.maxBytes;
    this.mask = sizes.mask;
  }

  next(data: Uint8Array, from: number, to: number): number {
    let at = from;
    const primeFrom = this.minChunkBytes - WINDOW_BYTES;
    if (this.#count < primeFrom) {
      const skipped = Math.min(primeFrom - this.#count, to - at);
      at += skipped;
      this.#count += skipped;
    }
    if (this.#count < this.minChunkBytes) {
      if (this.#count === primeFrom) this.clearHash();
      const taken = Math.min(this.minChunkBytes - this.#count, to - at);
      const filled = this.#count - primeFrom;
      for (let i = 0; i < taken; i++) {
        const byte = data[at + i] ?? 0;
        this.window[filled + i] = byte;
        this.enter(byte);
      }
      at += taken;
      this.#count += taken;
      if (this.#count < this.minChunkBytes) return -1;
      if (taken > 0 && this.atCut()) return this.#cut(at);
    }
    const limit = Math.min(to, at + this.maxChunkBytes - this.#count);
    const end = this.scan(data, at, limit);
    if (end !== -1) return this.#cut(end);
    this.#count += limit - at;
    if (this.#count >= this.maxChunkBytes) return this.#cut(limit);
    this.#keepWindow(data, at, limit);
    return -1;
  }

  reset(): void {
    this.#count = 0;
  }

  /** Starts over with a window of nothing. */
  protected abstract clearHash(): void;
  /** Takes a byte into a window that is not yet full. */
  protected abstract enter(byte: number): void;
  /** Whether the hash asks for a cut here. */
  protected abstract atCut(): boolean;
  /**
   * Rolls over `data[from, to)` and returns the offset just after the first byte that asks for a cut, or -1. The byte that leaves is `data[p - 64]`,
   * or, for the first 64 positions, the one that `window` keeps.
   */
  protected abstract scan(data: Uint8Array, from: number, to: number): number;

  #cut(end: number): number {
    this.#count = 0;
    return end;
  }

  #keepWindow(data: Uint8Array, from: number, to: number): void {
    const rolled = to - from;
    if (rolled >= WINDOW_BYTES) {
      this.window.set(data.subarray(to - WINDOW_BYTES, to));
    } else {
      this.window.copyWithin(0, rolled);
      this.window.set(data.subarray(from, to), WINDOW_BYTES - rolled);
    }
  }
}
