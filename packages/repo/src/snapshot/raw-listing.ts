/**
 * Reads a listing as text, entry by entry, for whoever writes most of it again: an entry that is to be what it was is compared and copied as bytes, without being decoded.
 *
 * Only the usual form is read so: `{"stream":"kopia:directory","entries":[{…},{…}],…`, as Kopia and this program write it. `open` says whether it is that form.
 */
import { asBuffer, DrayError } from "@drayage/base";
import { endOfObject } from "@drayage/kernels";
import { type ObjectId, objectIdOf } from "../object/object-id.ts";
import type { ObjectReader } from "../object/object-reader.ts";
import { type DirectoryEntry, decodeDirectoryEntry, ENTRY_TYPES } from "./directory-entry.ts";
import { MEMBER } from "./extended-metadata.ts";

const HEAD = Buffer.from('{"stream":"kopia:directory","entries":[');
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACKET = 0x5d;
/** A limit on memory, far above what anything writes. */
const ENTRY_BYTES_MAX = 32 << 20;

/** What an entry is found by, and its object. */
export type EntryKey = Pick<DirectoryEntry, "name" | "type" | "objectId">;

export interface PeekedEntry {
  readonly key: EntryKey;
  /** All of it. Throws REPO_CORRUPT. */
  readonly decode: () => DirectoryEntry;
  readonly end: number;
}

/** The beginning of an entry with a name of plain text, as Kopia and this program write it. */
const USUAL_KEY =
  /^\{"name":"([ !#-[\]-~]+)","type":"([fds])",(?:"mode":"\d+",)?(?:"size":\d+,)?(?:"mtime":"[^"\\]*",)?(?:"uid":\d+,)?(?:"gid":\d+,)?"obj":"([^"\\]+)"/;
/** What is added to an entry may give it another name. */
const ADDED = `"${MEMBER}":`;

export class RawListing {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #what: string;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #noMore = false;
  #ended = false;
  #isOpen = false;
  #peeked: { readonly at: number; readonly bytes: Buffer; readonly found: PeekedEntry } | undefined;

  constructor(reader: ObjectReader, id: ObjectId, signal?: AbortSignal) {
    this.#what = `directory "${id}"`;
    this.#pieces = reader.pieces(id, { signal });
  }

  /** Reads the beginning. False for a listing in another form, which is then to be read by `DirectoryListing`. Throws REPO_CORRUPT and what reading contents throws. */
  async open(): Promise<boolean> {
    if (this.#isOpen) return true;
    while (this.#bytes.length <= HEAD.length && !this.#noMore) await this.#fill();
    if (this.#bytes.compare(HEAD, 0, HEAD.length, 0, Math.min(HEAD.length, this.#bytes.length)) !== 0) return false;
    this.#at = HEAD.length;
    this.#isOpen = true;
    return true;
  }

  /** The text that is there from the next entry on, for whoever compares many at once; undefined after the last. Valid until the next call of anything. */
  get text(): { readonly bytes: Uint8Array; readonly at: number } | undefined {
    return this.#ended || !this.#isOpen ? undefined : { bytes: this.#bytes, at: this.#at };
  }

  /** Reads on, so that `text` has more; false when there is no more. Throws what reading contents throws. */
  async more(): Promise<boolean> {
    if (!this.#noMore) await this.#fill();
    return !this.#noMore;
  }

  /** Moves to where another entry of `text` begins, or, with `isEnd`, to where the list is closed. */
  moveTo(at: number, isEnd: boolean): void {
    this.#at = at;
    this.#ended ||= isEnd;
  }

  /** The next entry, without moving past it; undefined after the last. Throws REPO_CORRUPT. */
  async peek(): Promise<PeekedEntry | undefined> {
    for (;;) {
      if (this.#ended) return undefined;
      // Every entry that is new in a directory asks for the same one.
      if (this.#peeked?.at === this.#at && this.#peeked.bytes === this.#bytes) return this.#peeked.found;
      const first = this.#bytes[this.#at];
      if (first === CLOSE_BRACKET) {
        this.#ended = true;
        return undefined;
      }
      if (first !== undefined && first !== OPEN_BRACE) throw corrupt(this.#what, "an entry does not begin with a brace");
      const end = endOfObject(this.#bytes, this.#at, 0);
      if (end > 0) {
        const found = peeked(this.#bytes.subarray(this.#at, end), end, this.#what);
        this.#peeked = { at: this.#at, bytes: this.#bytes, found };
        return found;
      }
      if (this.#noMore) throw corrupt(this.#what, "it ends too early");
      if (this.#bytes.length - this.#at > ENTRY_BYTES_MAX) throw corrupt(this.#what, `one entry has more than ${ENTRY_BYTES_MAX} bytes`);
      await this.#fill();
    }
  }

  /** Moves past the entry that `peek` gave. */
  async pass({ end }: PeekedEntry): Promise<void> {
    if (end >= this.#bytes.length && !this.#noMore) {
      const length = end - this.#at;
      await this.#fill();
      if (!this.#pass(this.#at + length)) throw corrupt(this.#what, "an entry is followed by something else");
      return;
    }
    if (!this.#pass(end)) throw corrupt(this.#what, "an entry is followed by something else");
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#bytes = Buffer.alloc(0);
    await this.#pieces.return?.();
  }

  /** Moves to what follows an entry: a comma and the next one, or the end of the list. */
  #pass(end: number): boolean {
    const next = this.#bytes[end];
    if (next === COMMA) this.#at = end + 1;
    else if (next === CLOSE_BRACKET) {
      this.#at = end;
      this.#ended = true;
    } else return false;
    return true;
  }

  async #fill(): Promise<void> {
    const next = await this.#pieces.next();
    if (next.done === true) {
      this.#noMore = true;
      return;
    }
    const rest = this.#bytes.subarray(this.#at);
    this.#bytes = rest.length === 0 ? asBuffer(next.value) : Buffer.concat([rest, next.value]);
    this.#at = 0;
  }
}

function peeked(text: Buffer, end: number, what: string): PeekedEntry {
  const latin1 = text.toString("latin1");
  const match = latin1.includes(ADDED) ? null : USUAL_KEY.exec(latin1);
  const type = match === null ? undefined : ENTRY_TYPES[match[2] ?? ""];
  let entry: DirectoryEntry | undefined;
  const decode = (): DirectoryEntry => {
    entry ??= decodeRawEntry(text, what);
    return entry;
  };
  if (match === null || type === undefined) return { key: decode(), decode, end };
  return { key: { name: match[1] ?? "", type, objectId: objectIdOf(match[3] ?? "") }, decode, end };
}

/** The entry of this text. Throws REPO_CORRUPT, naming `what` it is part of. */
export function decodeRawEntry(text: Buffer, what: string): DirectoryEntry {
  return decodeDirectoryEntry(parse(text, what), what);
}

function parse(text: Buffer, what: string): unknown {
  try {
    return JSON.parse(text.toString("utf8"));
  } catch (cause) {
    throw corrupt(what, "an entry is not JSON", cause);
  }
}

function corrupt(what: string, why: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${why}`, { cause });
}
