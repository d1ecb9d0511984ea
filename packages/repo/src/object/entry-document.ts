/**
 * Documents of the form `{"stream":"…","entries":[…],…}`: directory listings and indirect lists. A list of millions of entries is read entry by entry, never whole.
 *
 * Invariants: what comes out equals what JSON.parse would give for the whole text; memory is one piece of the stream, one entry, and the members beside `entries`.
 */
import { asBuffer, concat, DrayError, fromUtf8, messageOf } from "@drayage/base";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** One entry, or everything beside the entries, may not be longer: a limit on memory, far above what anything writes. */
const PART_BYTES_MAX = 32 << 20;
const BATCH_ENTRIES = 256;

export type Members = Readonly<Record<string, unknown>>;

/** Reads one document. `what` names it in errors. */
export class EntryDocument {
  readonly #pieces: AsyncIterable<Uint8Array>;
  readonly #what: string;
  readonly #streamType: string;
  #members: Members | undefined;

  constructor(pieces: AsyncIterable<Uint8Array>, streamType: string, what: string) {
    this.#pieces = pieces;
    this.#streamType = streamType;
    this.#what = what;
  }

  /** The members beside `entries`, once `batches` has ended. */
  get members(): Members {
    if (this.#members === undefined) throw new DrayError("INVARIANT", `Cannot read the members of ${this.#what}: its entries have not been read to the end`);
    return this.#members;
  }

  /** The entries in order, some at a time. Throws REPO_CORRUPT. */
  async *batches(): AsyncGenerator<unknown[], void, undefined> {
    const iterator = this.#pieces[Symbol.asyncIterator]();
    try {
      const first = await iterator.next();
      const second = first.done === true ? first : await iterator.next();
      if (second.done === true) {
        yield* this.#whole(first.done === true ? new Uint8Array(0) : first.value);
        return;
      }
      const scanner = new Scanner(this.#what);
      for (const piece of [first.value as Uint8Array, second.value]) yield* scanner.feed(piece);
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) break;
        yield* scanner.feed(next.value);
      }
      this.#finish(scanner.end());
    } finally {
      await iterator.return?.();
    }
  }

  /** The usual case: everything is in one content. */
  *#whole(bytes: Uint8Array): Generator<unknown[]> {
    const document = parse(bytes, this.#what);
    if (!isMembers(document)) throw corrupt(this.#what, "it is not a JSON object");
    const { entries, ...members } = document;
    this.#finish(members);
    if (entries === null || entries === undefined) return;
    if (!Array.isArray(entries)) throw corrupt(this.#what, `"entries" is not a list`);
    yield entries;
  }

  #finish(members: Members): void {
    if (members["stream"] !== this.#streamType) {
      throw corrupt(this.#what, `its stream type is ${JSON.stringify(members["stream"])}, ${JSON.stringify(this.#streamType)} was wanted`);
    }
    this.#members = members;
  }
}

/** Splits the text at the commas of the outer `entries` list. */
class Scanner {
  readonly #what: string;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #inEntries = false;
  #sawEntries = false;
  /** Bytes of the entry, or of the text beside the entries, that began in earlier pieces. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  readonly #beside: Uint8Array[] = [];
  #besideBytes = 0;

  constructor(what: string) {
    this.#what = what;
  }

  *feed(piece: Uint8Array): Generator<unknown[]> {
    let batch: unknown[] = [];
    let start = 0;
    for (let at = 0; at < piece.length; at++) {
      const byte = piece[at] ?? 0;
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
        continue;
      }
      if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (byte === OPEN_BRACKET && this.#depth === 1 && !this.#sawEntries && this.#endsWithEntriesKey(piece.subarray(start, at))) {
          this.#keepBeside(piece.subarray(start, at));
          this.#keepBeside(asBuffer(NULL));
          this.#inEntries = true;
          this.#sawEntries = true;
          start = at + 1;
        }
        this.#depth++;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth--;
        if (this.#inEntries && this.#depth === 1) {
          const last = this.#take(piece.subarray(start, at));
          if (last !== undefined) batch.push(last);
          this.#inEntries = false;
          start = at + 1;
        }
      } else if (byte === COMMA && this.#inEntries && this.#depth === 2) {
        const entry = this.#take(piece.subarray(start, at));
        if (entry === undefined) throw corrupt(this.#what, "an entry is empty");
        batch.push(entry);
        start = at + 1;
        if (batch.length >= BATCH_ENTRIES) {
          yield batch;
          batch = [];
        }
      }
    }
    if (this.#inEntries) this.#hold(piece.subarray(start));
    else this.#keepBeside(piece.subarray(start));
    if (batch.length > 0) yield batch;
  }

  end(): Members {
    if (this.#inEntries || this.#inString || this.#depth !== 0) throw corrupt(this.#what, "it ends too early");
    const members = parse(concat(this.#beside), this.#what);
    if (!isMembers(members)) throw corrupt(this.#what, "it is not a JSON object");
    return members;
  }

  #endsWithEntriesKey(tail: Uint8Array): boolean {
    return /"entries"\s*:\s*$/.test(fromUtf8(concat([...this.#beside, tail])).slice(-64));
  }

  #hold(part: Uint8Array): void {
    this.#heldBytes += part.length;
    if (this.#heldBytes > PART_BYTES_MAX) throw corrupt(this.#what, `one entry has more than ${PART_BYTES_MAX} bytes`);
    // A copy: the piece belongs to the reader.
    this.#held.push(part.slice());
  }

  #keepBeside(part: Uint8Array): void {
    this.#besideBytes += part.length;
    if (this.#besideBytes > PART_BYTES_MAX) throw corrupt(this.#what, `there are more than ${PART_BYTES_MAX} bytes beside the entries`);
    this.#beside.push(part.slice());
  }

  /** The entry that ends with `tail`, or undefined when there is only space. */
  #take(tail: Uint8Array): unknown {
    const text = this.#held.length === 0 ? tail : concat([...this.#held, tail]);
    this.#held = [];
    this.#heldBytes = 0;
    return fromUtf8(text).trim() === "" ? undefined : parse(text, this.#what);
  }
}

const NULL = Buffer.from("null");

function parse(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (error) {
    throw corrupt(what, messageOf(error), error);
  }
}

export function isMembers(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function corrupt(what: string, why: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${why}`, { cause });
}
