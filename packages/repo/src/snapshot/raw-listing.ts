/**
 * Reads a listing as text, entry by entry, for whoever writes most of it again: an entry that is to be what it was is compared and copied as bytes, without being decoded.
 *
 * Only the usual form is read so: `{"stream":"kopia:directory","entries":[{…},{…}],…`, as Kopia and this program write it. `open` says whether it is that form.
 */
import { asBuffer, DrayError } from "@drayage/base";
import type { ObjectId } from "../object/object-id.ts";
import type { ObjectReader } from "../object/object-reader.ts";
import { type DirectoryEntry, decodeDirectoryEntry } from "./directory-entry.ts";

const HEAD = Buffer.from('{"stream":"kopia:directory","entries":[');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;
/** `I`s, a prefix letter, 64 hex digits, and what ends the entry: what must be there behind a text for `match` to answer. */
const ID_BYTES_MAX = 96;
/** A limit on memory, far above what anything writes. */
const ENTRY_BYTES_MAX = 32 << 20;

/** What `match` found; valid until the next call of anything. */
export interface RawMatch {
  /** The whole entry in `bytes`, from `start` to `end`, and in it the object id. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly idStart: number;
  readonly idEnd: number;
}

export interface PeekedEntry {
  readonly entry: DirectoryEntry;
  readonly end: number;
}

export class RawListing {
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #what: string;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #noMore = false;
  #ended = false;
  #isOpen = false;
  #peeked: { readonly at: number; readonly bytes: Buffer; readonly found: PeekedEntry } | undefined;
  readonly #match = { bytes: this.#bytes, start: 0, end: 0, idStart: 0, idEnd: 0 };

  constructor(reader: ObjectReader, id: ObjectId, signal?: AbortSignal) {
    this.#what = `directory "${id}"`;
    this.#pieces = reader.pieces(id, signal === undefined ? {} : { signal });
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

  /** Whether `match` has enough before it to answer about a text of this length. When it has not, `more` reads on. */
  hasFor(length: number): boolean {
    return this.#noMore || this.#bytes.length - this.#at >= length + ID_BYTES_MAX;
  }

  async more(): Promise<void> {
    await this.#fill();
  }

  /**
   * Whether the next entry is `text[from, to)`, which goes as far as the quote before the object id, an id, and nothing more. Then the reader moves past it.
   * Undefined says that it is something else.
   */
  match(text: Uint8Array, from: number, to: number): RawMatch | undefined {
    const bytes = this.#bytes;
    const start = this.#at;
    const idStart = start + to - from;
    if (this.#ended || idStart >= bytes.length || bytes.compare(text, from, to, start, idStart) !== 0) return undefined;
    const idEnd = bytes.indexOf(QUOTE, idStart);
    if (idEnd === -1 || bytes[idEnd + 1] !== CLOSE_BRACE) return undefined;
    const end = idEnd + 2;
    if (!this.#pass(end)) return undefined;
    const found = this.#match as { bytes: Buffer; start: number; end: number; idStart: number; idEnd: number };
    found.bytes = bytes;
    found.start = start;
    found.end = end;
    found.idStart = idStart;
    found.idEnd = idEnd;
    return found;
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
      const end = endOfEntry(this.#bytes, this.#at);
      if (end > 0) {
        const found = { entry: decodeDirectoryEntry(parse(this.#bytes.subarray(this.#at, end), this.#what), this.#what), end };
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

/** Where the object that begins at `at` ends, or -1 when it goes on. */
function endOfEntry(bytes: Uint8Array, at: number): number {
  let depth = 0;
  let inString = false;
  for (let i = at; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_BRACE) depth++;
    else if (byte === CLOSE_BRACE && --depth === 0) return i + 1;
  }
  return -1;
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
