/** Counts the data paths of this node against its limit. What runs is read from the cluster; only a start that is being written is remembered here. */
export class Slots {
  readonly #limit: number;
  readonly #running: () => ReadonlySet<string>;
  readonly #starting = new Set<string>();

  /** @param running - the keys of what the cluster says is running on this node, of every kind */
  constructor(limit: number, running: () => ReadonlySet<string>) {
    this.#limit = Math.max(1, limit);
    this.#running = running;
  }

  isFree(key: string): boolean {
    return this.#others(key).size < this.#limit;
  }

  /** Runs `start`, which makes `key` running in the cluster, if there is room; false when there is none. */
  async take(key: string, start: () => Promise<void>): Promise<boolean> {
    if (!this.isFree(key)) return false;
    this.#starting.add(key);
    try {
      await start();
    } catch (error) {
      this.#starting.delete(key);
      throw error;
    }
    return true;
  }

  /** The cluster shows the start, or the end, of `key`: it needs no remembering any more. */
  seen(key: string): void {
    this.#starting.delete(key);
  }

  #others(key: string): Set<string> {
    const keys = new Set([...this.#running(), ...this.#starting]);
    keys.delete(key);
    return keys;
  }
}
