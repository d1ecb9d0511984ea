/**
 * Looks up entries of a parent snapshot's listing while the same directory is walked: both are in one order, so the listing is streamed once beside the walk and never held whole.
 * An entry that is to be what it was is compared and taken over as text (RawListing); only others are decoded.
 */
import { hasCode } from "@drayage/base";
import { compareEntries, type DirectoryEntry, type ObjectId, type ObjectReader, RawListing, type RawMatch } from "@drayage/repo";
import { ParentCursor } from "./parent-cursor.ts";

/** An invalid byte of a name that Kopia wrote: its true bytes are not known, and it is out of order. */
const REPLACED = Buffer.from("\ufffd", "utf8").toString("latin1");

export class ParentLookup {
  readonly #raw: RawListing;
  readonly #decoded: () => ParentCursor;
  /** Where the listing is not in the usual form. */
  #cursor: ParentCursor | undefined;
  #opened = false;
  #ended = false;

  constructor(reader: ObjectReader, directory: ObjectId, signal?: AbortSignal) {
    this.#raw = new RawListing(reader, directory, signal);
    this.#decoded = () => new ParentCursor(reader, directory, signal);
  }

  /** The entry of this name and kind, or undefined. Keys must be asked for in ascending order. A parent that cannot be read has no entries: the upload is then a full one. */
  async find(key: Pick<DirectoryEntry, "name" | "type">): Promise<DirectoryEntry | undefined> {
    await this.#open();
    if (this.#cursor !== undefined) return await this.#cursor.find(key);
    return await this.#reading(async () => {
      for (;;) {
        const next = await this.#raw.peek();
        if (next === undefined) return undefined;
        const order = next.entry.name.includes(REPLACED) ? -1 : compareEntries(next.entry, key);
        if (order === 0) return next.entry;
        if (order > 0) return undefined;
        await this.#raw.pass(next);
      }
    });
  }

  /** Makes `match` able to answer for a text of this length; false where it never can. Cheap when it can already. */
  canMatch(length: number): boolean | Promise<boolean> {
    if (this.#ended || this.#cursor !== undefined) return false;
    return this.#opened && this.#raw.hasFor(length) ? true : this.#readFor(length);
  }

  /** See RawListing.match. */
  match(text: Uint8Array, from: number, to: number): RawMatch | undefined {
    return this.#raw.match(text, from, to);
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#raw.close();
    await this.#cursor?.close();
  }

  async #readFor(length: number): Promise<boolean> {
    await this.#open();
    if (this.#cursor !== undefined || this.#ended) return false;
    await this.#reading(async () => {
      while (!this.#raw.hasFor(length)) await this.#raw.more();
    });
    return !this.#ended;
  }

  async #open(): Promise<void> {
    if (this.#opened) return;
    this.#opened = true;
    const isUsual = (await this.#reading(() => this.#raw.open())) ?? true;
    if (isUsual) return;
    await this.#raw.close();
    this.#cursor = this.#decoded();
  }

  async #reading<T>(read: () => Promise<T>): Promise<T | undefined> {
    if (this.#ended) return undefined;
    try {
      return await read();
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "BLOB_NOT_FOUND")) throw error;
      this.#ended = true;
      return undefined;
    }
  }
}
