/**
 * Which contents of file data this session has stored, for all threads of the process: an open-addressing table in shared memory. Who claims a hash first stores the content;
 * everybody else finds it there.
 *
 *   table    header: slots taken · then a state word for each slot · then four key words for each slot
 *   state    0 free ─ compareExchange ─► 1 being written ─► 2 taken
 *
 * Invariants: a slot is published by its state, after its key. A table never grows; the owner adds another one, and the older ones are only read from then on. Once what they name is
 * committed, and so found in the index, the owner forgets them: memory follows from how often that is, not from how many contents there are.
 * A key is the first 16 bytes of a keyed hash: two contents that share them are as likely as a broken hash.
 */
import { invariant } from "@drayage/base";

const KEY_WORDS = 4;
const HEADER_WORDS = 4;
const FREE = 0;
const BUSY = 1;
const TAKEN = 2;
const FIRST_SLOTS = 1 << 16;
/** The owner adds a table when the newest is this full; until the others know of it there is room for what they claim meanwhile. */
const FULL_AT = 0.5;
/** While more tables are kept than that, since a thread is busy with one large file, each is twice as large as the one before. */
const EQUAL_TABLES_MAX = 8;
const TABLES_MAX = 32;

/** What `postMessage` hands to other threads. */
export interface SharedKnownContents {
  /** The number of the first of these tables, counted from when the session began. */
  readonly first: number;
  readonly tables: readonly SharedArrayBuffer[];
}

/** Bytes that tables take at most when those that name more than `contents` committed contents are forgotten. */
export function knownContentsBytes(contents: number): number {
  // As many tables as hold them, one that is forgotten only with the next, and one that is being filled while a flush is under way.
  return (Math.ceil(contents / (FIRST_SLOTS * FULL_AT)) + 2) * FIRST_SLOTS * 4 * (1 + KEY_WORDS);
}

interface Table {
  readonly words: Int32Array;
  readonly slots: number;
}

export class KnownContents {
  #tables: readonly Table[];
  #first: number;

  private constructor(first: number, tables: readonly Table[]) {
    this.#first = first;
    this.#tables = tables;
  }

  static create(slots: number = FIRST_SLOTS): KnownContents {
    return new KnownContents(0, [newTable(slots)]);
  }

  static attach(shared: SharedKnownContents): KnownContents {
    const { first, tables } = shared;
    invariant(tables.length > 0 && tables.length <= TABLES_MAX, `Cannot attach ${tables.length} tables of contents`);
    return new KnownContents(first, tables.map(tableOf));
  }

  get shared(): SharedKnownContents {
    return { first: this.#first, tables: this.#tables.map(({ words }) => words.buffer as SharedArrayBuffer) };
  }

  /** The number of the table that takes what is claimed now. */
  get newest(): number {
    return this.#first + this.#tables.length - 1;
  }

  /** Contents that were claimed in the tables that are kept. */
  get count(): number {
    return this.#tables.reduce((sum, { words }) => sum + Atomics.load(words, 0), 0);
  }

  get byteLength(): number {
    return this.#tables.reduce((sum, { words }) => sum + words.byteLength, 0);
  }

  /** Takes up tables that the owner added, and leaves those that it forgot. */
  update({ first, tables }: SharedKnownContents): void {
    const known = this.#tables;
    const moved = first - this.#first;
    this.#tables = tables.map((memory, i) => (known[i + moved]?.words.buffer === memory ? (known[i + moved] as Table) : tableOf(memory)));
    this.#first = first;
  }

  /** Whether the hash at this offset is there already. */
  has(hashes: Uint8Array, at: number): boolean {
    const key = keyAt(hashes, at);
    return this.#tables.some((table) => probe(table, key, false) === "there");
  }

  /** Whether the caller is the first to have this hash, and so has to store its content. */
  claim(hashes: Uint8Array, at: number): boolean {
    const key = keyAt(hashes, at);
    const newest = this.#tables.length - 1;
    for (let i = 0; i < newest; i++) if (probe(this.#tables[i] as Table, key, false) === "there") return false;
    return probe(this.#tables[newest] as Table, key, true) === "claimed";
  }

  /** For the owner, now and then: adds a table when the newest is filling up. True when the others must be told. */
  makeRoom(): boolean {
    const newest = this.#tables.at(-1) as Table;
    if (Atomics.load(newest.words, 0) < newest.slots * FULL_AT || this.#tables.length === TABLES_MAX) return false;
    this.#tables = [...this.#tables, newTable(this.#tables.length > EQUAL_TABLES_MAX ? newest.slots * 2 : newest.slots)];
    return true;
  }

  /** For the owner: forgets the tables before this one, whose contents are committed, and which nobody claims in any more. True when the others must be told. */
  forgetBefore(table: number): boolean {
    const count = Math.min(table, this.newest) - this.#first;
    if (count <= 0) return false;
    this.#tables = this.#tables.slice(count);
    this.#first += count;
    return true;
  }
}

function newTable(slots: number): Table {
  return tableOf(new SharedArrayBuffer(4 * (HEADER_WORDS + slots * (1 + KEY_WORDS))));
}

function tableOf(memory: SharedArrayBuffer): Table {
  const words = new Int32Array(memory);
  return { words, slots: (words.length - HEADER_WORDS) / (1 + KEY_WORDS) };
}

/** The words of the hash last asked for: one array, since this runs for every content. */
const key = new Int32Array(KEY_WORDS);

function keyAt(hashes: Uint8Array, at: number): Int32Array {
  for (let word = 0; word < KEY_WORDS; word++) {
    const from = at + 4 * word;
    key[word] = (hashes[from] ?? 0) | ((hashes[from + 1] ?? 0) << 8) | ((hashes[from + 2] ?? 0) << 16) | ((hashes[from + 3] ?? 0) << 24);
  }
  return key;
}

/** Looks for a key from its own slot on; where it is not, its place is taken when `claims` says so. A table that is full knows nothing more: contents are then stored twice. */
function probe({ words, slots }: Table, wanted: Int32Array, claims: boolean): "there" | "claimed" | "absent" {
  const first = ((wanted[0] ?? 0) >>> 0) % slots;
  for (let tried = 0; tried < slots; tried++) {
    const slot = (first + tried) % slots;
    const state = HEADER_WORDS + slot;
    const keyFrom = HEADER_WORDS + slots + slot * KEY_WORDS;
    if (Atomics.load(words, state) === FREE) {
      if (!claims) return "absent";
      if (Atomics.compareExchange(words, state, FREE, BUSY) === FREE) {
        words.set(wanted, keyFrom);
        Atomics.store(words, state, TAKEN);
        Atomics.add(words, 0, 1);
        return "claimed";
      }
    }
    // Four words are being written by somebody who is not going to wait.
    while (Atomics.load(words, state) === BUSY);
    if (isKey(words, keyFrom, wanted)) return "there";
  }
  return claims ? "claimed" : "absent";
}

function isKey(words: Int32Array, from: number, wanted: Int32Array): boolean {
  return words[from] === wanted[0] && words[from + 1] === wanted[1] && words[from + 2] === wanted[2] && words[from + 3] === wanted[3];
}
