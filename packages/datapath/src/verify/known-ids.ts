/**
 * A set of ids of objects or contents, 16 bytes each in one array: a million strings would take a hundred bytes each.
 *
 * What is kept of an id is its last 32 hexadecimal digits (of a hash, so they tell ids apart as well as any 128 bits) with its prefix mixed in. Ids that are shorter are not kept.
 */
const WORDS = 4;
const DIGITS = 32;
const FIRST_SLOTS = 1 << 12;
/** Of four slots three are used at most. */
const FULL = 0.75;
const MIX = 0x9e3779b1;

export class KnownIds {
  readonly #max: number;
  readonly #key = new Uint32Array(WORDS);
  #table = new Uint32Array(FIRST_SLOTS * WORDS);
  #size = 0;

  /** Beyond `max` ids nothing more is kept. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  has(id: string): boolean {
    return this.#read(id) && this.#isAt(this.#slotOf(this.#table));
  }

  add(id: string): void {
    if (this.#size >= this.#max || !this.#read(id)) return;
    const slot = this.#slotOf(this.#table);
    if (this.#isAt(slot)) return;
    this.#table.set(this.#key, slot);
    this.#size++;
    if (this.#size > (this.#table.length / WORDS) * FULL) this.#grow();
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

  /** Where the key is, or the empty slot where it belongs. */
  #slotOf(table: Uint32Array): number {
    const key = this.#key;
    const slots = table.length / WORDS;
    for (let slot = (key[3] ?? 0) & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
      const at = slot * WORDS;
      if (table[at] === 0) return at;
      if (table[at] === key[0] && table[at + 1] === key[1] && table[at + 2] === key[2] && table[at + 3] === key[3]) return at;
    }
  }

  #isAt(slot: number): boolean {
    return this.#table[slot] !== 0;
  }

  #grow(): void {
    const before = this.#table;
    const larger = new Uint32Array(before.length * 2);
    for (let at = 0; at < before.length; at += WORDS) {
      if (before[at] === 0) continue;
      this.#key.set(before.subarray(at, at + WORDS));
      larger.set(this.#key, this.#slotOf(larger));
    }
    this.#table = larger;
  }
}
