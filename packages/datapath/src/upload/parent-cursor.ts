/**
 * Looks up entries of a parent snapshot's listing while the same directory is walked: both are in one order, so the listing is streamed once beside the walk and never held whole.
 */
import { hasCode } from "@drayage/base";
import { compareEntries, type DirectoryEntry, DirectoryListing, type ObjectId, type ObjectReader } from "@drayage/repo";

/** An invalid byte of a name that Kopia wrote: its true bytes are not known, and it is out of order. */
const REPLACED = Buffer.from("\ufffd", "utf8").toString("latin1");

type Key = Pick<DirectoryEntry, "name" | "type">;

export class ParentCursor {
  readonly #batches: AsyncGenerator<DirectoryEntry[], void, undefined>;
  #batch: readonly DirectoryEntry[] = [];
  #at = 0;
  #ended = false;

  constructor(reader: ObjectReader, directory: ObjectId, signal?: AbortSignal) {
    this.#batches = new DirectoryListing(reader, directory, signal).batches();
  }

  /** The entry of this name and kind, or undefined. Keys must be asked for in ascending order. A parent that cannot be read has no entries: the upload is then a full one. */
  async find(key: Key): Promise<DirectoryEntry | undefined> {
    for (;;) {
      for (; this.#at < this.#batch.length; this.#at++) {
        const entry = this.#batch[this.#at];
        if (entry === undefined || entry.name.includes(REPLACED)) continue;
        const order = compareEntries(entry, key);
        if (order === 0) return entry;
        if (order > 0) return undefined;
      }
      if (this.#ended) return undefined;
      await this.#fill();
    }
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#batch = [];
    await this.#batches.return();
  }

  async #fill(): Promise<void> {
    try {
      const next = await this.#batches.next();
      this.#ended = next.done === true;
      this.#batch = next.done === true ? [] : next.value;
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "BLOB_NOT_FOUND")) throw error;
      this.#ended = true;
      this.#batch = [];
    }
    this.#at = 0;
  }
}
