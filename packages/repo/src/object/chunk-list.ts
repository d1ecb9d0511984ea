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
  /** The first chunk is kept by itself: most files have no other, and there are many of them. */
  #first: Chunk | undefined;
  #ids = Buffer.alloc(0);
  /** Room for one id; the longest seen so far. */
  #width = 0;
  #idLengths = new Uint8Array(0);
  #ends = new Float64Array(0);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Bytes of the object so far. */
  get totalLength(): number {
    if (this.#count <= 1) return this.#first?.length ?? 0;
    return this.#ends[this.#count - 1] ?? 0;
  }

  append(objectId: ObjectId, length: number): void {
    if (this.#first === undefined) {
      this.#first = { offset: 0, length, objectId };
      this.#count = 1;
      return;
    }
    if (this.#count === 1) {
      this.#grow(this.#first.objectId.length);
      this.#put(0, this.#first.objectId, this.#first.length);
    }
    const end = this.totalLength + length;
    if (this.#count === this.#ends.length || objectId.length > this.#width) this.#grow(objectId.length);
    this.#put(this.#count, objectId, end);
    this.#count++;
  }

  at(index: number): Chunk {
    invariant(index >= 0 && index < this.#count, `Cannot read chunk ${index}: there are ${this.#count}`);
    if (index === 0 && this.#first !== undefined) return this.#first;
    const offset = this.#ends[index - 1] ?? 0;
    const start = index * this.#width;
    const objectId = this.#ids.toString("latin1", start, start + (this.#idLengths[index] ?? 0)) as ObjectId;
    return { offset, length: (this.#ends[index] ?? 0) - offset, objectId };
  }

  *[Symbol.iterator](): IterableIterator<Chunk> {
    for (let index = 0; index < this.#count; index++) yield this.at(index);
  }

  /** The index of the first chunk that ends after `offset`; `count` when there is none. */
  indexAt(offset: number): number {
    if (this.#count <= 1) return offset < this.totalLength ? 0 : this.#count;
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] ?? 0) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #put(index: number, objectId: ObjectId, end: number): void {
    this.#ids.write(objectId, index * this.#width, "latin1");
    this.#idLengths[index] = objectId.length;
    this.#ends[index] = end;
  }

  #grow(idLength: number): void {
    const capacity = this.#count >= this.#ends.length ? Math.max(FIRST_CAPACITY, this.#ends.length * 2) : this.#ends.length;
    const width = Math.max(this.#width, idLength);
    const ids = Buffer.alloc(capacity * width);
    for (let index = 0; index * this.#width < this.#ids.length; index++) this.#ids.copy(ids, index * width, index * this.#width, (index + 1) * this.#width);
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
