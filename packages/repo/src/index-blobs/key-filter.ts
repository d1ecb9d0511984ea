/**
 * Says of a key where in a sorted index it may be, mostly "nowhere", without touching the index: two bytes of each key, in order, behind a table of where
 * each stretch of keys begins. It takes 2.25 to 2.5 bytes an entry, and lives in shared memory, so that the workers of a process use one together.
 *
 *   word 0  entries                         keys: prefix byte ‖ hash, so each prefix is a section of its own
 *   word 1  sections                        bucket = the first `bits` bits of the hash: 8 to 16 entries each
 *   words   per section: prefix, first      print  = the next 16 bits
 *           position, count, bits, where
 *           its buckets begin (word)        A key that is not there passes in about 12 of 65,536 cases.
 *   words   buckets: first position each,
 *           and the end of the section
 *   halves  prints, one an entry
 *
 * Hashes are keyed, so they spread evenly; when they do not, lookups become slower, never wrong. Numbers are in the byte order of the machine.
 */
import { invariant } from "@drayage/base";
import { KEY_PART, type KeyPart } from "@drayage/kernels";
import { BLOCK_BYTES_MAX, type BlockPlaces } from "./block-cache.ts";
import { corruptIndex, type IndexFormat, type PackIndex } from "./pack-index.ts";

const HEADER_WORDS = 2;
const SECTION_WORDS = 5;
const AT = { prefix: 0, first: 1, count: 2, bits: 3, buckets: 4 } as const;
/** Entries of a bucket, on average at least. */
const BUCKET_ENTRIES = 8;
const BITS_MAX = 24;
/** Up to here a bucket is walked; a longer one is halved. */
const WALK_MAX = 32;

export class KeyFilter {
  readonly memory: SharedArrayBuffer;
  readonly entryCount: number;
  /** Behind the last position of the stretch that `seek` found. */
  end = 0;
  readonly #words: Uint32Array;
  readonly #printsAt: number;
  readonly #prints: Uint16Array;
  /** Where the section of a prefix byte is described, 0 where there is none. */
  readonly #sections = new Uint32Array(256);

  /** Takes up a filter that was built. Throws REPO_CORRUPT when it is none. */
  constructor(memory: SharedArrayBuffer) {
    const words = new Uint32Array(memory, 0, memory.byteLength >>> 2);
    const [entryCount = 0, sectionCount = 0] = words;
    this.memory = memory;
    this.entryCount = entryCount;
    this.#words = words;
    const printsAt = this.#takeSections(sectionCount);
    if (memory.byteLength !== byteLengthOf(printsAt, entryCount)) throw corruptIndex("its filter has another length than its parts");
    this.#printsAt = printsAt;
    this.#prints = new Uint16Array(memory, printsAt * 4, entryCount);
  }

  /** The filter and the index behind it, in memory or in blocks, for looking up many keys at once. */
  partOf(
    { keyBytes, stride, deletedAt, entriesAt }: IndexFormat,
    entries: { readonly bytes: Uint8Array } | (BlockPlaces & { readonly blockEntries: number }),
  ): KeyPart {
    const shape = new Uint32Array(KEY_PART.words);
    const facts = { keyBytes, stride, deletedAt, printsAt: this.#printsAt };
    const filter = new Uint8Array(this.memory);
    if (!("blocks" in entries)) {
      putShape(shape, { ...facts, entriesAt });
      return { shape, filter, bytes: entries.bytes, owners: NONE, blocks: NONE };
    }
    const { bytes, owners, blocks, owner, firstSlot, blockEntries } = entries;
    putShape(shape, { ...facts, owner, firstSlot, blockEntries, blockBytes: BLOCK_BYTES_MAX });
    return { shape, filter, bytes, owners, blocks };
  }

  get byteLength(): number {
    return this.memory.byteLength;
  }

  /** Whether any key begins with this byte. */
  hasPrefix(firstByte: number): boolean {
    return this.#sections[firstByte] !== 0;
  }

  /** The first position that may hold the key that begins at `keyAt`, or -1; `end` then says how far they go. */
  seek(key: Uint8Array, keyAt = 0): number {
    const words = this.#words;
    const at = this.#sections[key[keyAt] ?? 0] ?? 0;
    if (at === 0) return -1;
    const bits = words[at + AT.bits] as number;
    const bucket = bucketOf(key, bits, keyAt);
    const print = printOf(key, bits, keyAt);
    const bucketAt = (words[at + AT.buckets] as number) + bucket;
    const prints = this.#prints;
    let low = words[bucketAt] as number;
    const to = words[bucketAt + 1] as number;
    if (to - low > WALK_MAX) low = lowerPrint(prints, print, low, to);
    else while (low < to && (prints[low] as number) < print) low++;
    if (low >= to || prints[low] !== print) return -1;
    let end = low + 1;
    while (end < to && prints[end] === print) end++;
    this.end = end;
    return low;
  }

  #takeSections(sectionCount: number): number {
    const words = this.#words;
    if (sectionCount > 256 || HEADER_WORDS + sectionCount * SECTION_WORDS > words.length) throw corruptIndex("its filter is cut off");
    let position = 0;
    let bucketsAt = HEADER_WORDS + sectionCount * SECTION_WORDS;
    for (let i = 0; i < sectionCount; i++) {
      const at = HEADER_WORDS + i * SECTION_WORDS;
      const [prefix = 0, first = 0, count = 0, bits = 0, buckets = 0] = words.subarray(at, at + SECTION_WORDS);
      if (prefix > 255 || first !== position || bits > BITS_MAX || buckets !== bucketsAt) throw corruptIndex("its filter has sections that do not fit");
      position += count;
      bucketsAt += 2 ** bits + 1;
      if (bucketsAt > words.length) throw corruptIndex("its filter is cut off");
      this.#sections[prefix] = at;
    }
    if (position !== this.entryCount) throw corruptIndex("its filter is for another number of entries");
    return bucketsAt;
  }
}

const NONE = new Uint32Array(0);

function putShape(shape: Uint32Array, facts: Partial<Record<keyof typeof KEY_PART, number>>): void {
  for (const [name, value] of Object.entries(facts)) shape[KEY_PART[name as keyof typeof KEY_PART]] = value;
}

/** Builds the filter of an index. Throws REPO_CORRUPT when its keys do not ascend: neither a search nor a merge would be right then. */
export function buildKeyFilter(index: PackIndex): KeyFilter {
  const builder = new KeyFilterBuilder(index, (position) => index.keyAt(position)[0] ?? 0);
  const scan = index.scan(0);
  while (scan.next()) builder.add(scan.bytes, scan.at);
  return builder.build();
}

/** Builds a filter from keys that come in order, out of whatever memory they lie in. */
export class KeyFilterBuilder {
  readonly #memory: SharedArrayBuffer;
  readonly #words: Uint32Array;
  readonly #prints: Uint16Array;
  readonly #keyBytes: number;
  readonly #sections: readonly Section[];
  readonly #previous: Uint8Array;
  #at = 0;
  #position = 0;
  #bucketsAt = 0;
  #filled = 0;

  /** @param prefixAt - the first byte of the key at a position */
  constructor({ entryCount, keyBytes }: { readonly entryCount: number; readonly keyBytes: number }, prefixAt: (position: number) => number) {
    const sections = sectionsOf(entryCount, prefixAt);
    const printsAt = sections.reduce((sum, { bits }) => sum + 2 ** bits + 1, HEADER_WORDS + sections.length * SECTION_WORDS);
    this.#memory = new SharedArrayBuffer(byteLengthOf(printsAt, entryCount));
    this.#words = new Uint32Array(this.#memory, 0, printsAt);
    this.#prints = new Uint16Array(this.#memory, printsAt * 4, entryCount);
    this.#keyBytes = keyBytes;
    this.#sections = sections;
    this.#previous = new Uint8Array(keyBytes);
    this.#words.set([entryCount, sections.length]);
    this.#bucketsAt = HEADER_WORDS + sections.length * SECTION_WORDS;
    this.#describe();
  }

  /** Takes the next key, which begins at `at`. Throws REPO_CORRUPT when it does not sort behind the last one. */
  add(bytes: Uint8Array, at: number): void {
    let section = this.#sections[this.#at];
    if (section !== undefined && this.#position === section.first + section.count) {
      this.#endSection(section);
      this.#at++;
      section = this.#sections[this.#at];
      this.#describe();
    }
    if (section === undefined || bytes[at] !== section.prefix || !this.#ascends(bytes, at)) throw corruptIndex("its keys do not ascend");
    const bucket = bucketOf(bytes, section.bits, at);
    while (this.#filled <= bucket) this.#words[this.#bucketsAt + this.#filled++] = this.#position;
    this.#prints[this.#position++] = printOf(bytes, section.bits, at);
  }

  build(): KeyFilter {
    const section = this.#sections[this.#at];
    if (section !== undefined) this.#endSection(section);
    invariant(this.#position === this.#prints.length, "Cannot build a filter: keys are missing");
    return new KeyFilter(this.#memory);
  }

  #describe(): void {
    const section = this.#sections[this.#at];
    if (section === undefined) return;
    const { prefix, first, count, bits } = section;
    this.#words.set([prefix, first, count, bits, this.#bucketsAt], HEADER_WORDS + this.#at * SECTION_WORDS);
  }

  #endSection({ first, count, bits }: Section): void {
    while (this.#filled <= 2 ** bits) this.#words[this.#bucketsAt + this.#filled++] = first + count;
    this.#bucketsAt += 2 ** bits + 1;
    this.#filled = 0;
  }

  /** Whether a key sorts behind the last one, which it then takes the place of. */
  #ascends(bytes: Uint8Array, at: number): boolean {
    const previous = this.#previous;
    const keyBytes = this.#keyBytes;
    let i = 0;
    while (i < keyBytes && bytes[at + i] === previous[i]) i++;
    const ascends = this.#position === 0 || (i < keyBytes && (bytes[at + i] as number) > (previous[i] as number));
    for (; i < keyBytes; i++) previous[i] = bytes[at + i] as number;
    return ascends;
  }
}

interface Section {
  readonly prefix: number;
  readonly first: number;
  readonly count: number;
  readonly bits: number;
}

function sectionsOf(entryCount: number, prefixAt: (position: number) => number): Section[] {
  const sections: Section[] = [];
  for (let first = 0; first < entryCount; ) {
    const prefix = prefixAt(first);
    let end = first + 1;
    for (let high = entryCount; end < high; ) {
      const middle = (end + high) >>> 1;
      if (prefixAt(middle) <= prefix) end = middle + 1;
      else high = middle;
    }
    const count = end - first;
    sections.push({ prefix, first, count, bits: Math.max(0, Math.min(BITS_MAX, Math.floor(Math.log2(count / BUCKET_ENTRIES)))) });
    if (sections.length > 256) throw corruptIndex("its keys do not ascend");
    first = end;
  }
  return sections;
}

function byteLengthOf(printsAt: number, entryCount: number): number {
  return Math.ceil((printsAt * 4 + entryCount * 2) / 4) * 4;
}

/** The first bits of the hash of the key at `at`; of a short key what is missing counts as zero. */
function bucketOf(bytes: Uint8Array, bits: number, at = 0): number {
  return bits === 0 ? 0 : wordOf(bytes, at + 1) >>> (32 - bits);
}

/** The 16 bits behind those. */
function printOf(bytes: Uint8Array, bits: number, at = 0): number {
  const high = wordOf(bytes, at + 1);
  return bits <= 16 ? (high << bits) >>> 16 : ((high << bits) | (wordOf(bytes, at + 5) >>> (32 - bits))) >>> 16;
}

function wordOf(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0;
}

function lowerPrint(prints: Uint16Array, print: number, from: number, to: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((prints[middle] as number) < print) low = middle + 1;
    else high = middle;
  }
  return low;
}
