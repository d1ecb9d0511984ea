import { csiError } from "@drayage/protocols/csi";

/**
 * One operation at a time for each volume and snapshot, as the CSI specification wants it: a second one is not queued but answered ABORTED, and its caller asks again.
 * What is only read (the source of a copy) may be shared by several readers.
 */
export class OperationLocks {
  /** How many read; -1 while one changes it. */
  readonly #held = new Map<string, number>();

  /** Runs `work` alone on this id. Throws ABORTED while anything else is under way on it. */
  run<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (this.#held.has(id)) throw pending(id);
    return this.#hold(id, -1, work);
  }

  /** Runs `work` beside other readers. Throws ABORTED while the id is being changed. */
  share<T>(id: string, work: () => Promise<T>): Promise<T> {
    const readers = this.#held.get(id) ?? 0;
    if (readers < 0) throw pending(id);
    return this.#hold(id, readers + 1, work);
  }

  async #hold<T>(id: string, held: number, work: () => Promise<T>): Promise<T> {
    this.#held.set(id, held);
    try {
      return await work();
    } finally {
      const left = (this.#held.get(id) ?? 0) - 1;
      if (held < 0 || left === 0) this.#held.delete(id);
      else this.#held.set(id, left);
    }
  }
}

function pending(id: string): Error {
  return csiError("ABORTED", `Cannot begin an operation on "${id}": another one is under way`);
}
