/**
 * Directory listings (kopia-format.md 7.5): objects with prefix `k`.
 *
 *   {"stream":"kopia:directory","entries":[…],"summary":{…},"drayage":{…}}\n
 *
 * Directories first, then everything else, each by the bytes of names. The entries of an empty directory are `null`, not `[]`: object ids depend on it.
 * Writer and reader stream: a listing of millions of entries is never whole in memory.
 */
import { concat, DrayError, utf8 } from "@drayage/base";
import type { ReadContentOptions, WrittenContent } from "../content-port.ts";
import { EntryDocument } from "../object/entry-document.ts";
import { directObjectId, type ObjectId } from "../object/object-id.ts";
import type { ObjectReader } from "../object/object-reader.ts";
import { ObjectWriter, type ObjectWriterContext, type ObjectWriterOptions } from "../object/object-writer.ts";
import { type DirectoryEntry, decodeDirectoryEntry, encodeDirectoryEntry } from "./directory-entry.ts";
import { type DirectorySummary, decodeSummary, encodeSummary, type FailedEntry, SummaryBuilder } from "./directory-summary.ts";
import { decodeListingExtension, encodeListingExtension, type ListingExtension, MEMBER, noListingExtension } from "./extended-metadata.ts";

const STREAM_TYPE = "kopia:directory";
/** Of the contents of listings. */
export const LISTING_PREFIX = "k";
const HEAD = `{"stream":"${STREAM_TYPE}","entries":`;
/** Text is handed to the object in pieces of about this size. */
const PIECE_BYTES = 32 << 10;
const FIRST_PENDING_BYTES = 1 << 10;
const EMPTY = Buffer.alloc(0);

export interface WrittenDirectory {
  readonly objectId: ObjectId;
  readonly summary: DirectorySummary;
}

export interface ListingEnd {
  /** The directory's own time, which counts in the summary of an empty one. */
  readonly mtimeNs: bigint;
  readonly extension?: ListingExtension;
}

/** The order of entries in a listing: directories first, then by the bytes of names. */
export function compareEntries(a: Pick<DirectoryEntry, "name" | "type">, b: Pick<DirectoryEntry, "name" | "type">): number {
  const first = Number(a.type !== "directory") - Number(b.type !== "directory");
  if (first !== 0) return first;
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** Entries in the form of a listing, written by others, and what they add to its summary. All of them are files. */
export interface EncodedFiles {
  /** Entries with a comma between each two. */
  readonly bytes: Uint8Array;
  readonly files: number;
  /** Bytes of the files. */
  readonly size: number;
  readonly maxTimeNs: bigint;
}

export class DirectoryListingWriter {
  readonly #context: ObjectWriterContext;
  readonly #options: ObjectWriterOptions;
  readonly #summary = new SummaryBuilder();
  /** Made when there is more text than is kept here: nothing is ever written of a listing that turns out to be the parent's, and a short one is one content. */
  #object: ObjectWriter | undefined;
  /** What was not yet handed to the object: a few pieces long at most. */
  #pending = EMPTY;
  #length = 0;
  #isEmpty = true;

  constructor(context: ObjectWriterContext, onContent?: (written: WrittenContent, length: number) => void) {
    this.#context = context;
    this.#options = {
      prefix: LISTING_PREFIX,
      ...(context.metadataCompressor === undefined ? {} : { compressor: context.metadataCompressor }),
      ...(onContent === undefined ? {} : { onContent }),
    };
  }

  /** Appends an entry; they must come in the order of `compareEntries`. */
  async add(entry: DirectoryEntry, signal?: AbortSignal): Promise<void> {
    this.#putText(`${this.#isEmpty ? "[" : ","}${encodeDirectoryEntry(entry)}`);
    this.#isEmpty = false;
    count(this.#summary, entry);
    if (this.#length >= PIECE_BYTES) await this.#flush(signal);
  }

  /** Appends entries that are encoded already; the same order holds. */
  async addEncoded({ bytes, files, size, maxTimeNs }: EncodedFiles, signal?: AbortSignal): Promise<void> {
    if (files === 0) return;
    this.#putText(this.#isEmpty ? "[" : ",");
    this.#isEmpty = false;
    this.#summary.addFiles(files, size, maxTimeNs);
    if (bytes.length > PIECE_BYTES) {
      await (await this.#flush(signal)).write(bytes, signal);
      return;
    }
    this.#reserve(bytes.length);
    this.#pending.set(bytes, this.#length);
    this.#length += bytes.length;
    if (this.#length >= PIECE_BYTES) await this.#flush(signal);
  }

  /** Notes that an entry could not be read; it is counted in the summary and not listed. @param ignored - a policy does not count it as an error */
  addFailure(failure: FailedEntry, ignored = false): void {
    this.#summary.addFailure(failure, ignored);
  }

  async finish(end: ListingEnd, signal?: AbortSignal): Promise<WrittenDirectory> {
    const summary = this.#summary.build(end.mtimeNs);
    this.#putText((this.#isEmpty ? "null" : "]") + tail(summary, end.extension ?? noListingExtension));
    if (this.#object === undefined && this.#length < this.#context.minChunkBytes) return { objectId: await this.#storeShort(signal), summary };
    const object = await this.#flush(signal);
    return { objectId: (await object.finish(signal)).objectId, summary };
  }

  /** Stores what is there as the one content that a writer would make of it. */
  async #storeShort(signal: AbortSignal | undefined): Promise<ObjectId> {
    const text = this.#pending.subarray(0, this.#length);
    const written = await this.#context.contents.write(text, this.#options, signal);
    this.#options.onContent?.(written, text.length);
    return directObjectId(written.id);
  }

  /** A listing of what was added so far and `more`, marked incomplete; the writer goes on as before. */
  async checkpoint(more: readonly DirectoryEntry[], end: ListingEnd, why: string, signal?: AbortSignal): Promise<WrittenDirectory> {
    const builder = this.#summary.clone();
    builder.markIncomplete(why);
    let text = "";
    let isEmpty = this.#isEmpty;
    for (const entry of more) {
      text += `${isEmpty ? "[" : ","}${encodeDirectoryEntry(entry)}`;
      isEmpty = false;
      count(builder, entry);
    }
    const summary = builder.build(end.mtimeNs);
    text += (isEmpty ? "null" : "]") + tail(summary, end.extension ?? noListingExtension);
    this.#begin();
    const rest = concat([this.#pending.subarray(0, this.#length), utf8(text)]);
    return { objectId: (await this.#opened().checkpoint(rest, signal)).objectId, summary };
  }

  /** Gives memory back when the directory is not finished. */
  abandon(): void {
    this.#object?.abandon();
  }

  #opened(): ObjectWriter {
    this.#object ??= new ObjectWriter(this.#context, this.#options);
    return this.#object;
  }

  /** Puts the head where nothing is yet. */
  #begin(): void {
    if (this.#pending !== EMPTY) return;
    this.#pending = Buffer.alloc(FIRST_PENDING_BYTES);
    this.#length = this.#pending.write(HEAD, 0, "latin1");
  }

  #putText(text: string): void {
    this.#begin();
    // UTF-8 takes three bytes for a character of a JavaScript string at most.
    this.#reserve(text.length * 3);
    this.#length += this.#pending.write(text, this.#length, "utf8");
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#pending.length) return;
    const grown = Buffer.alloc(Math.max(this.#pending.length * 2, this.#length + bytes));
    this.#pending.copy(grown, 0, 0, this.#length);
    this.#pending = grown;
  }

  async #flush(signal: AbortSignal | undefined): Promise<ObjectWriter> {
    const object = this.#opened();
    const length = this.#length;
    this.#length = 0;
    await object.write(this.#pending.subarray(0, length), signal);
    return object;
  }
}

function tail(summary: DirectorySummary, extension: ListingExtension): string {
  const added = encodeListingExtension(extension);
  return `,"summary":${encodeSummary(summary)}${added === undefined ? "" : `,"${MEMBER}":${added}`}}\n`;
}

function count(summary: SummaryBuilder, entry: DirectoryEntry): void {
  if (entry.type === "file") summary.addFile(entry.size, entry.mtimeNs);
  else if (entry.type === "symlink") summary.addSymlink(entry.mtimeNs);
  else if (entry.summary !== undefined) summary.addDirectory(entry.mtimeNs, entry.summary);
}

/** Reads a listing once, front to back. */
export class DirectoryListing {
  readonly #what: string;
  readonly #document: EntryDocument;

  constructor(reader: ObjectReader, id: ObjectId, signal?: AbortSignal, options: ReadContentOptions = {}) {
    this.#what = `directory "${id}"`;
    this.#document = new EntryDocument(reader.pieces(id, { ...options, signal }), STREAM_TYPE, this.#what);
  }

  /** The entries in order, some at a time. Throws REPO_CORRUPT. */
  async *batches(): AsyncGenerator<DirectoryEntry[], void, undefined> {
    for await (const batch of this.#document.batches()) yield batch.map((entry) => decodeDirectoryEntry(entry, this.#what));
  }

  async *entries(): AsyncGenerator<DirectoryEntry, void, undefined> {
    for await (const batch of this.batches()) yield* batch;
  }

  /** Once the entries were read. Undefined where the writer left it out, as Velero's block uploader does. */
  get summary(): DirectorySummary | undefined {
    const { summary } = this.#document.members;
    return summary === null || summary === undefined ? undefined : decodeSummary(summary, this.#what);
  }

  /** Once the entries were read. */
  get extension(): ListingExtension {
    return decodeListingExtension(this.#document.members[MEMBER], this.#what);
  }
}

/** The entry of that name, or undefined. Reads as much of the listing as it must, and nothing around it: of the directories beside it none is gone into. */
export async function findEntry(reader: ObjectReader, directory: ObjectId, name: string, signal?: AbortSignal): Promise<DirectoryEntry | undefined> {
  const listing = new DirectoryListing(reader, directory, signal, { aroundBytes: 0 });
  for await (const entry of listing.entries()) if (entry.name === name) return entry;
  return undefined;
}

/** A listing whole in memory, for directories that are known to be small. Throws REPO_CORRUPT when it has more than `entriesMax` entries. */
export async function loadDirectory(reader: ObjectReader, id: ObjectId, entriesMax: number, signal?: AbortSignal): Promise<DirectoryEntry[]> {
  const entries: DirectoryEntry[] = [];
  for await (const batch of new DirectoryListing(reader, id, signal).batches()) {
    entries.push(...batch);
    if (entries.length > entriesMax) throw new DrayError("REPO_CORRUPT", `Cannot load directory "${id}" whole: it has more than ${entriesMax} entries`);
  }
  return entries;
}
