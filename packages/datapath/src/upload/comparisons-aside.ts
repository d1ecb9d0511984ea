/**
 * Comparisons of directories that other threads make beside the walk. Whoever comes first to one makes it: the walk does not wait for one that nobody has begun, and while it would have
 * to wait it makes those behind it.
 */
import { ASIDE, type BatchFiles, type ComparedDirectory, type DirectoryCall, FOUND } from "@drayage/kernels";

export class ComparisonsAside {
  readonly #files: BatchFiles;
  readonly #calls: readonly DirectoryCall[];
  readonly #states: Int32Array;
  readonly #ended: Promise<unknown>;

  /** @param threads - how many share them */
  constructor(files: BatchFiles, calls: readonly DirectoryCall[], threads: number) {
    this.#files = files;
    this.#calls = calls;
    this.#states = new Int32Array(calls.length);
    this.#ended = Promise.all(Array.from({ length: Math.min(threads, calls.length) }, () => files.compareDirectoriesAside(calls, this.#states)));
    // Whoever waits sees it.
    this.#ended.catch(() => undefined);
  }

  /** Whether the i-th could be told; its memory is the caller's from here on. */
  async isTold(i: number): Promise<boolean> {
    if (!this.#make(i)) {
      for (let other = this.#calls.length - 1; other > i && this.#isUnderWay(i); other--) this.#make(other);
      // Nothing is left to begin: a thread that ends one ends.
      if (this.#isUnderWay(i)) await this.#ended;
    }
    return Atomics.load(this.#states, i) === ASIDE.told;
  }

  /** Ends the i-th, whose outcome nobody wants: not begun, or as it is. Returns the descriptor that is left of it, or -1. */
  async drop(i: number): Promise<number> {
    if (Atomics.compareExchange(this.#states, i, ASIDE.waits, ASIDE.notTold) === ASIDE.waits) return -1;
    if (this.#isUnderWay(i)) await this.#ended;
    return Atomics.load(this.#states, i) === ASIDE.told ? (this.#memory(i)?.found[FOUND.fd] ?? -1) : -1;
  }

  #isUnderWay(i: number): boolean {
    return Atomics.load(this.#states, i) === ASIDE.begun;
  }

  /** Makes one in this thread; false where somebody has begun it. */
  #make(i: number): boolean {
    const call = this.#calls[i];
    if (call === undefined || Atomics.compareExchange(this.#states, i, ASIDE.waits, ASIDE.begun) !== ASIDE.waits) return false;
    Atomics.store(this.#states, i, this.#files.compareDirectory(...call) ? ASIDE.told : ASIDE.notTold);
    return true;
  }

  #memory(i: number): ComparedDirectory | undefined {
    return this.#calls[i]?.[5];
  }
}
