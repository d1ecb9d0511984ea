/**
 * Where every content lies: all index files of a repository as one table in memory.
 *
 * Invariants: 32 bytes a content and some 6 to 11 of the hash table, whatever the number of files; nothing is an object. Ids are kept to half their length (128 bits tell
 * contents apart; reading one checks the whole id by its hash). A content may lie in several packs, and all of these places are given, those of index files in force first.
 *
 *   entry, 8 × u32:   id (first 16 bytes)  │ pack, and kind in the top bit │ offset │ stored length │ plain length, 0 = not compressed
 */
import { DrayError } from "@drayage/base";
import { ID_BYTES } from "../format/json.ts";
import type { ContentKind, PackedContent } from "../format/pack-header.ts";
import { SEALED_OVERHEAD_BYTES } from "../format/sealed.ts";

const ENTRY_WORDS = 8;
const ID_WORDS = 4;
const AT = { pack: 4, offset: 5, length: 6, plainLength: 7 } as const;
const SEGMENT_BITS = 14;
const SEGMENT_ENTRIES = 1 << SEGMENT_BITS;
const TREE = 0x8000_0000;
const PACK_MASK = 0x7fff_ffff;
const TABLE_SLOTS_MIN = 1 << 10;
/** Entries for each slot at most. */
const TABLE_LOAD = 0.75;

/** One place of a content. */
export interface ContentPlace {
  /** 64 hexadecimal digits. */
  readonly pack: string;
  readonly offset: number;
  /** Bytes as stored. */
  readonly length: number;
  /** Bytes of the content itself. */
  readonly plainLength: number;
  readonly isCompressed: boolean;
}

interface Pack {
  readonly id: string;
  /** Where its last known content ends. */
  end: number;
  contents: number;
  /** Named by an index file that no other one replaces. */
  inForce: boolean;
}

export class ContentIndex {
  readonly #segments: Uint32Array[] = [];
  #count = 0;
  /** Entry + 1; 0 where a slot is empty. */
  #table = new Uint32Array(TABLE_SLOTS_MIN);
  readonly #packs: Pack[] = [];
  readonly #packNumbers = new Map<string, number>();

  /** Contents, one that lies in two packs counted twice. */
  get size(): number {
    return this.#count;
  }

  get packCount(): number {
    return this.#packs.length;
  }

  /** Adds the contents of one pack; those that are there already, from another index file, are passed over. */
  addPack(id: string, contents: readonly PackedContent[], inForce: boolean): void {
    const number = this.#packNumber(id);
    const pack = this.#packs[number] as Pack;
    pack.inForce ||= inForce;
    for (const content of contents) this.#add(number, pack, content);
  }

  /** Marks packs of an index file that turned out to be in force. */
  setInForce(id: string): void {
    const number = this.#packNumbers.get(id);
    if (number !== undefined) (this.#packs[number] as Pack).inForce = true;
  }

  /** Every place of a content, the best first; empty when no index names it. `id` has 32 bytes from `at` on. */
  places(kind: ContentKind, id: Uint8Array, at = 0): ContentPlace[] {
    const found: { readonly place: ContentPlace; readonly inForce: boolean }[] = [];
    this.#probe(kind, id, at, (entry) => {
      const pack = this.#packs[this.#word(entry, AT.pack) & PACK_MASK] as Pack;
      found.push({ place: this.#place(entry, pack), inForce: pack.inForce });
      return false;
    });
    return (found.length > 1 ? found.toSorted((a, b) => Number(b.inForce) - Number(a.inForce)) : found).map(({ place }) => place);
  }

  /** The first place of a content, which is in nearly all cases the only one. */
  place(kind: ContentKind, id: Uint8Array, at = 0): ContentPlace | undefined {
    let best: number | undefined;
    this.#probe(kind, id, at, (entry) => {
      const { inForce } = this.#packs[this.#word(entry, AT.pack) & PACK_MASK] as Pack;
      if (inForce || best === undefined) best = entry;
      return inForce;
    });
    return best === undefined ? undefined : this.#place(best, this.#packs[this.#word(best, AT.pack) & PACK_MASK] as Pack);
  }

  /** Bytes of a pack up to the end of its last content; 0 for one that is not known. */
  packEnd(id: string): number {
    const number = this.#packNumbers.get(id);
    return number === undefined ? 0 : (this.#packs[number] as Pack).end;
  }

  hasPack(id: string): boolean {
    return this.#packNumbers.has(id);
  }

  /** Packs with the end of their last content and the number of their contents. */
  *packs(): Generator<{ readonly id: string; readonly end: number; readonly contents: number }> {
    for (const { id, end, contents } of this.#packs) yield { id, end, contents };
  }

  /** Sums over all contents, in bytes. */
  totals(): { readonly stored: number; readonly plain: number; readonly trees: number } {
    const totals = { stored: 0, plain: 0, trees: 0 };
    for (let entry = 0; entry < this.#count; entry++) {
      const length = this.#word(entry, AT.length);
      totals.stored += length;
      totals.plain += this.#word(entry, AT.plainLength) || length - SEALED_OVERHEAD_BYTES;
      if (this.#word(entry, AT.pack) >= TREE) totals.trees++;
    }
    return totals;
  }

  #add(number: number, pack: Pack, { kind, id, offset, length, plainLength }: PackedContent): void {
    let isKnown = false;
    this.#probe(kind, id, 0, (entry) => {
      isKnown ||= (this.#word(entry, AT.pack) & PACK_MASK) === number && this.#word(entry, AT.offset) === offset;
      return isKnown;
    });
    if (isKnown) return;
    if ((this.#count + 1) / this.#table.length > TABLE_LOAD) this.#grow();
    const entry = this.#count++;
    if (entry >> SEGMENT_BITS >= this.#segments.length) this.#segments.push(new Uint32Array(SEGMENT_ENTRIES * ENTRY_WORDS));
    const segment = this.#segments[entry >> SEGMENT_BITS] as Uint32Array;
    const base = (entry & (SEGMENT_ENTRIES - 1)) * ENTRY_WORDS;
    for (let word = 0; word < ID_WORDS; word++) segment[base + word] = wordOf(id, word * 4);
    segment[base + AT.pack] = kind === "tree" ? (number | TREE) >>> 0 : number;
    segment[base + AT.offset] = offset;
    segment[base + AT.length] = length;
    segment[base + AT.plainLength] = plainLength;
    pack.end = Math.max(pack.end, offset + length);
    pack.contents++;
    this.#insert(entry);
  }

  /** Calls `visit` for each entry of a content until it says that it has seen enough. */
  #probe(kind: ContentKind, id: Uint8Array, at: number, visit: (entry: number) => boolean): void {
    if (id.length - at < ID_BYTES) throw new DrayError("INVARIANT", `Cannot look a content up: its id has ${id.length - at} bytes`);
    const mask = this.#table.length - 1;
    const first = wordOf(id, at);
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#table[slot] ?? 0) - 1;
      if (entry < 0) return;
      const segment = this.#segments[entry >> SEGMENT_BITS] as Uint32Array;
      const base = (entry & (SEGMENT_ENTRIES - 1)) * ENTRY_WORDS;
      const isIt =
        segment[base] === first &&
        segment[base + 1] === wordOf(id, at + 4) &&
        segment[base + 2] === wordOf(id, at + 8) &&
        segment[base + 3] === wordOf(id, at + 12) &&
        (segment[base + AT.pack] ?? 0) >= TREE === (kind === "tree");
      if (isIt && visit(entry)) return;
    }
  }

  #insert(entry: number): void {
    const mask = this.#table.length - 1;
    let slot = this.#word(entry, 0) & mask;
    while (this.#table[slot] !== 0) slot = (slot + 1) & mask;
    this.#table[slot] = entry + 1;
  }

  #grow(): void {
    this.#table = new Uint32Array(this.#table.length * 2);
    for (let entry = 0; entry < this.#count; entry++) this.#insert(entry);
  }

  #word(entry: number, word: number): number {
    return (this.#segments[entry >> SEGMENT_BITS] as Uint32Array)[(entry & (SEGMENT_ENTRIES - 1)) * ENTRY_WORDS + word] ?? 0;
  }

  #place(entry: number, pack: Pack): ContentPlace {
    const plainLength = this.#word(entry, AT.plainLength);
    const length = this.#word(entry, AT.length);
    return {
      pack: pack.id,
      offset: this.#word(entry, AT.offset),
      length,
      plainLength: plainLength || length - SEALED_OVERHEAD_BYTES,
      isCompressed: plainLength !== 0,
    };
  }

  #packNumber(id: string): number {
    const known = this.#packNumbers.get(id);
    if (known !== undefined) return known;
    const number = this.#packs.length;
    this.#packs.push({ id, end: 0, contents: 0, inForce: false });
    this.#packNumbers.set(id, number);
    return number;
  }
}

/** Ids are hashes: any four bytes of one are as good a hash as any. */
function wordOf(id: Uint8Array, at: number): number {
  return (((id[at] ?? 0) << 24) | ((id[at + 1] ?? 0) << 16) | ((id[at + 2] ?? 0) << 8) | (id[at + 3] ?? 0)) >>> 0;
}
