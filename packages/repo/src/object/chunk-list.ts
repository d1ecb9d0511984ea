/**
 * Which objects follow each other in an object, and at which offsets. Ids are kept as text in one growing byte table and lengths beside them, so that the list of a 10 TiB device
 * takes tens of bytes an entry and no objects.
 */
import { invariant } from "@drayage/base";
import type { ObjectId } from "./object-id.ts";

export interface Chunk {
  readonly offset: number;
  readonly length: number;
  readonly objectId: ObjectId;
}

const FIRST_CAPACITY = 16;

export class ChunkList {
  #ids = Buffer.alloc(0);
  /** Room for one id; the longest seen so far. */
  #width = 0;
  #idLengths = new Uint8Array(FIRST_CAPACITY);
  #ends = new Float64Array(FIRST_CAPACITY);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Bytes of the object so far. */
  get totalLength(): number {
    return this.#count === 0 ? 0 : (this.#ends[this.#count - 1] ?? 0);
  }

  append(objectId: ObjectId, length: number): void {
    if (this.#count === this.#ends.length || objectId.length > this.#width) this.#grow(objectId.length);
    this.#ids.write(objectId, this.#count * this.#width, "latin1");
    this.#idLengths[this.#count] = objectId.length;
    this.#ends[this.#count] = this.totalLength + length;
    this.#count++;
  }

  at(index: number): Chunk {
    invariant(index >= 0 && index < this.#count, `Cannot read chunk ${index}: there are ${this.#count}`);
    const offset = index === 0 ? 0 : (this.#ends[index - 1] ?? 0);
    const start = index * this.#width;
    const objectId = this.#ids.toString("latin1", start, start + (this.#idLengths[index] ?? 0)) as ObjectId;
    return { offset, length: (this.#ends[index] ?? 0) - offset, objectId };
  }

  *[Symbol.iterator](): IterableIterator<Chunk> {
    for (let index = 0; index < this.#count; index++) yield this.at(index);
  }

  /** The index of the first chunk that ends after `offset`; `count` when there is none. */
  indexAt(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #grow(idLength: number): void {
    const capacity = this.#count === this.#ends.length ? this.#ends.length * 2 : this.#ends.length;
    const width = Math.max(this.#width, idLength);
    const ids = Buffer.alloc(capacity * width);
    for (let index = 0; index < this.#count; index++) this.#ids.copy(ids, index * width, index * this.#width, (index + 1) * this.#width);
    const ends = new Float64Array(capacity);
    ends.set(this.#ends);
    const idLengths = new Uint8Array(capacity);
    idLengths.set(this.#idLengths);
    this.#ids = ids;
    this.#width = width;
    this.#ends = ends;
    this.#idLengths = idLengths;
  }
}
