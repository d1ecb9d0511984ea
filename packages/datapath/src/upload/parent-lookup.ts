/**
 * Looks up entries of a parent snapshot's listing while the same directory is walked: both are in one order, so the listing is streamed once beside the walk and never held whole.
 * An entry that is to be what it was is compared and taken over as text (RawListing); only others are decoded.
 */
import { hasCode } from "@drayage/base";
import type { ParentText } from "@drayage/kernels";
import { compareEntries, type DirectoryEntry, type ObjectId, type ObjectReader, type PeekedEntry, RawListing } from "@drayage/repo";
import { ParentCursor } from "./parent-cursor.ts";

/** An invalid byte of a name that Kopia wrote: its true bytes are not known, and it is out of order. */
const REPLACED = Buffer.from("\ufffd", "utf8").toString("latin1");

export class ParentLookup {
  readonly directory: ObjectId;
  readonly #raw: RawListing;
  readonly #decoded: () => ParentCursor;
  /** Where the listing is not in the usual form. */
  #cursor: ParentCursor | undefined;
  /** What was found last: it is passed, so that the text after it can be matched. */
  #found: PeekedEntry | undefined;
  #opened = false;
  #ended = false;

  constructor(reader: ObjectReader, directory: ObjectId, signal?: AbortSignal) {
    this.directory = directory;
    this.#raw = new RawListing(reader, directory, signal);
    this.#decoded = () => new ParentCursor(reader, directory, signal);
  }

  /** The entry of this name and kind, or undefined. Keys must be asked for in ascending order. A parent that cannot be read has no entries: the upload is then a full one. */
  async find(key: Pick<DirectoryEntry, "name" | "type">): Promise<DirectoryEntry | undefined> {
    await this.#open();
    if (this.#cursor !== undefined) return await this.#cursor.find(key);
    return await this.#reading(async () => (await this.#seek(key))?.decode());
  }

  /** The object of the directory of this name, in the same way: the rest of its entry is not decoded for it. */
  async directoryObject(name: string): Promise<ObjectId | undefined> {
    await this.#open();
    const key = { name, type: "directory" } as const;
    if (this.#cursor !== undefined) return (await this.#cursor.find(key))?.objectId;
    return (await this.#reading(() => this.#seek(key)))?.key.objectId;
  }

  async #seek(key: Pick<DirectoryEntry, "name" | "type">): Promise<PeekedEntry | undefined> {
    if (this.#found !== undefined && compareEntries(this.#found.key, key) === 0) return this.#found;
    for (;;) {
      const next = await this.#raw.peek();
      if (next === undefined) return undefined;
      const order = next.key.name.includes(REPLACED) ? -1 : compareEntries(next.key, key);
      if (order > 0) return undefined;
      await this.#raw.pass(next);
      if (order < 0) continue;
      this.#found = next;
      return next;
    }
  }

  /** See RawListing.text; undefined also where the listing is in another form, and `find` is to be asked. Throws what reading contents throws. */
  async text(): Promise<ParentText | undefined> {
    await this.#open();
    return this.isAsText ? this.#raw.text : undefined;
  }

  /** Whether the listing is one to compare as text. It is known after the first call of `text`. */
  get isAsText(): boolean {
    return this.#cursor === undefined;
  }

  /** Reads on, so that `text` has more; false where there is no more. */
  async more(): Promise<boolean> {
    return this.isAsText && (await this.#reading(() => this.#raw.more())) === true;
  }

  /** See RawListing.moveTo. */
  moveTo(at: number, isEnd: boolean): void {
    this.#raw.moveTo(at, isEnd);
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#raw.close();
    await this.#cursor?.close();
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
