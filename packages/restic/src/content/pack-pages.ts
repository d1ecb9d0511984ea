/**
 * Reads listings from packs. A listing is a few KiB, and those of one snapshot lie side by side in few packs: pages of them are kept, so that a walk fetches each page about once
 * instead of asking for every directory. Whoever wants a few listings fetches little; who goes on is taken for a walk through all of them.
 *
 * Memory: PAGES_MAX × PAGE_BYTES.
 */
const PAGE_BYTES = 64 << 10;
const PAGES_MAX = 384;
/** So many pages are fetched one by one, later ones so many at once. */
const SINGLE_FETCHES = 12;
const PAGES_AT_ONCE = 8;

/** `length` bytes of a pack from `offset`; throws what the storage throws. */
export type ReadPack = (pack: string, offset: number, length: number, signal?: AbortSignal) => Promise<Uint8Array>;

export class PackPages {
  readonly #read: ReadPack;
  /** By pack and number, the least recently used first. */
  readonly #pages = new Map<string, Promise<Uint8Array>>();
  #fetches = 0;

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
    const page = this.#pages.get(key) ?? this.#fetch(pack, number, packEnd);
    this.#pages.delete(key);
    this.#pages.set(key, page);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= PAGES_MAX) break;
      this.#pages.delete(oldest);
    }
    const bytes = await page;
    signal?.throwIfAborted();
    return bytes;
  }

  /** Asks for a page, and for those around it, which are kept as well. Not bound to the signal of who asks first: others may wait for the same page. */
  #fetch(pack: string, number: number, packEnd: number): Promise<Uint8Array> {
    const count = this.#fetches++ < SINGLE_FETCHES ? 1 : PAGES_AT_ONCE;
    const first = number - (number % count);
    const at = first * PAGE_BYTES;
    const block = this.#read(pack, at, Math.max(1, Math.min(count * PAGE_BYTES, packEnd - at)));
    const partOf = (index: number): Promise<Uint8Array> => {
      const key = `${pack}/${first + index}`;
      // A copy: a page that is kept must not keep those around it.
      const part = block.then((bytes) => bytes.slice(index * PAGE_BYTES, (index + 1) * PAGE_BYTES));
      // Who waits for it is told; a page that could not be had is asked for again.
      part.catch(() => {
        if (this.#pages.get(key) === part) this.#pages.delete(key);
      });
      return part;
    };
    for (let i = 0; i < count; i++) if (first + i !== number && !this.#pages.has(`${pack}/${first + i}`)) this.#pages.set(`${pack}/${first + i}`, partOf(i));
    return partOf(number - first);
  }
}
