/**
 * Reads listings from packs. A listing is a few KiB, and those of one snapshot lie side by side in few packs: pages of them are kept, so that a walk fetches each page about once
 * instead of asking for every directory.
 *
 * Memory: PAGES_MAX × PAGE_BYTES.
 */
const PAGE_BYTES = 512 << 10;
const PAGES_MAX = 48;

/** `length` bytes of a pack from `offset`; throws what the storage throws. */
export type ReadPack = (pack: string, offset: number, length: number, signal?: AbortSignal) => Promise<Uint8Array>;

export class PackPages {
  readonly #read: ReadPack;
  /** By pack and number, the least recently used first. */
  readonly #pages = new Map<string, Promise<Uint8Array>>();

  constructor(read: ReadPack) {
    this.#read = read;
  }

  /** A stretch of a pack that is known to have at least `packEnd` bytes. */
  async read(pack: string, offset: number, length: number, packEnd: number, signal?: AbortSignal): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const number = Math.floor((offset + done) / PAGE_BYTES);
      const page = await this.#page(pack, number, packEnd, signal);
      const from = offset + done - number * PAGE_BYTES;
      const part = page.subarray(from, from + length - done);
      if (part.length === 0) return await this.#read(pack, offset, length, signal);
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  async #page(pack: string, number: number, packEnd: number, signal?: AbortSignal): Promise<Uint8Array> {
    const key = `${pack}/${number}`;
    const at = number * PAGE_BYTES;
    // Not bound to the signal of who asks first: others may wait for the same page.
    const page = this.#pages.get(key) ?? this.#read(pack, at, Math.max(1, Math.min(PAGE_BYTES, packEnd - at)));
    this.#pages.delete(key);
    this.#pages.set(key, page);
    if (this.#pages.size > PAGES_MAX) {
      const [oldest] = this.#pages.keys();
      if (oldest !== undefined) this.#pages.delete(oldest);
    }
    try {
      const bytes = await page;
      signal?.throwIfAborted();
      return bytes;
    } catch (error) {
      this.#pages.delete(key);
      throw error;
    }
  }
}
