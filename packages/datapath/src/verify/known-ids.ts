/**
 * A set of ids of objects or contents, 16 bytes each in a few arrays: a million strings would take a hundred bytes each.
 *
 * What is kept of an id is its last 32 hexadecimal digits (of a hash, so they tell ids apart as well as any 128 bits) with its prefix mixed in. Ids that are shorter are not kept.
 */
const WORDS = 4;
const DIGITS = 32;
/** They grow one by one, so that no more than one of them is ever there twice. */
const TABLES = 64;
const FIRST_SLOTS = 64;
/** Of four slots three are used at most, and half of them when a table has grown. */
const FULL = 0.75;
const GROWTH = 1.5;
const TWO_32 = 2 ** 32;
const MIX = 0x9e3779b1;

export class KnownIds {
  readonly #max: number;
  readonly #key = new Uint32Array(WORDS);
  readonly #tables = Array.from({ length: TABLES }, () => ({ slots: new Uint32Array(FIRST_SLOTS * WORDS), used: 0 }));
  #size = 0;

  /** Beyond `max` ids nothing more is kept. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  has(id: string): boolean {
    if (!this.#read(id)) return false;
    const { slots } = this.#table();
    return slots[this.#find(slots)] !== 0;
  }

  add(id: string): void {
    if (this.#size >= this.#max || !this.#read(id)) return;
    const table = this.#table();
    const at = this.#find(table.slots);
    if (table.slots[at] !== 0) return;
    table.slots.set(this.#key, at);
    table.used++;
    this.#size++;
    if (table.used > (table.slots.length / WORDS) * FULL) table.slots = this.#grown(table.slots);
  }

  /** The id as a key, with its lowest bit set: nothing but zeros is an empty slot. */
  #read(id: string): boolean {
    const start = id.length - DIGITS;
    if (start < 0) return false;
    for (let word = 0; word < WORDS; word++) {
      let value = 0;
      for (let i = start + word * 8; i < start + word * 8 + 8; i++) {
        const code = id.charCodeAt(i);
        value = (value << 4) | (code > 57 ? code - 87 : code - 48);
      }
      this.#key[word] = value;
    }
    let head = 0;
    for (let i = 0; i < start; i++) head = Math.imul(head + id.charCodeAt(i), MIX);
    this.#key[1] = (this.#key[1] ?? 0) ^ head;
    this.#key[0] = (this.#key[0] ?? 0) | 1;
    return true;
  }

  #table(): { slots: Uint32Array; used: number } {
    return this.#tables[(this.#key[2] ?? 0) % TABLES] as { slots: Uint32Array; used: number };
  }

  /** Where the key is, or the empty slot where it belongs. */
  #find(slots: Uint32Array): number {
    const key = this.#key;
    const count = slots.length / WORDS;
    for (let slot = Math.floor(((key[3] ?? 0) / TWO_32) * count); ; slot = slot + 1 === count ? 0 : slot + 1) {
      const at = slot * WORDS;
      if (slots[at] === 0) return at;
      if (slots[at] === key[0] && slots[at + 1] === key[1] && slots[at + 2] === key[2] && slots[at + 3] === key[3]) return at;
    }
  }

  #grown(before: Uint32Array): Uint32Array {
    const larger = new Uint32Array(Math.ceil((before.length / WORDS) * GROWTH) * WORDS);
    for (let at = 0; at < before.length; at += WORDS) {
      if (before[at] === 0) continue;
      this.#key.set(before.subarray(at, at + WORDS));
      larger.set(this.#key, this.#find(larger));
    }
    return larger;
  }
}
