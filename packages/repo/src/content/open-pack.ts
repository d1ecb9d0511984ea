import { invariant, type RandomSource, randomHex } from "@drayage/base";
import type { ContentId } from "../content-port.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import { PREAMBLE_BYTES, paddingLength } from "./pack-layout.ts";

/** Letters of pack blobs: file data, and contents that have a prefix. */
export type PackLetter = "p" | "q";

const NAME_BYTES = 16;

/**
 * A pack in memory, from its first content until its upload is over. Contents are sealed straight into its buffer; the entries of those that it holds
 * are kept here until the pack is closed, and in the form of its local index from then on.
 */
export class OpenPack {
  readonly blobId: string;
  readonly letter: PackLetter;
  /** What the index will say, by content. */
  readonly entries = new Map<ContentId, IndexEntry>();
  #buffer: Uint8Array;
  #length = 0;

  /**
   * @param buffer - memory for the pack, fully overwritten as far as it is used
   * @param head - a copy of the format blob, where packs carry one
   */
  constructor(letter: PackLetter, sessionId: string, buffer: Uint8Array, head: Uint8Array, random: RandomSource) {
    this.letter = letter;
    this.blobId = `${letter}${randomHex(random, NAME_BYTES)}-${sessionId}`;
    this.#buffer = buffer;
    this.#append(head);
    this.#append(random.bytes(PREAMBLE_BYTES));
  }

  get length(): number {
    return this.#length;
  }

  /** The memory, to be used again once the pack is gone. */
  get buffer(): Uint8Array {
    return this.#buffer;
  }

  /** What is written so far. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Lets `seal` write up to `lengthMax` bytes at the end of the pack; it returns how many it wrote. The offset comes back. */
  append(lengthMax: number, seal: (out: Uint8Array, at: number) => number): { readonly offset: number; readonly length: number } {
    this.#reserve(lengthMax);
    const offset = this.#length;
    const length = seal(this.#buffer, offset);
    invariant(length <= lengthMax, `Cannot append to a pack: ${length} bytes were written, ${lengthMax} were announced`);
    this.#length += length;
    return { offset, length };
  }

  /** Takes what is in the buffer already, behind the head, up to `length`. */
  extendTo(length: number): void {
    invariant(length >= this.#length && length <= this.#buffer.length, `Cannot take over a pack: ${length} bytes do not fit behind its ${this.#length}`);
    this.#length = length;
  }

  /** Takes back what was appended last. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** Fills up to where the local index begins. */
  pad(random: RandomSource): void {
    this.#append(random.bytes(paddingLength(this.#length)));
  }

  /** The stored bytes of a content in this pack. */
  stored(offset: number, length: number): Uint8Array {
    invariant(offset + length <= this.#length, `Cannot read from pack "${this.blobId}": it has ${this.#length} bytes, ${offset + length} are needed`);
    return this.#buffer.subarray(offset, offset + length);
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(this.#buffer.length * 1.25, this.#length + length) | 0);
    grown.set(this.bytes);
    this.#buffer = grown;
  }
}

/** Keeps the memory of a few packs, so that each new one need not fault in 20 MiB of fresh pages. It is shared memory, which makes no work for the collector. */
export class PackBuffers {
  readonly #capacityBytes: number;
  readonly #keptMax: number;
  readonly #free: Uint8Array[] = [];

  constructor(capacityBytes: number, keptMax: number) {
    this.#capacityBytes = capacityBytes;
    this.#keptMax = keptMax;
  }

  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.#capacityBytes));
  }

  giveBack(buffer: Uint8Array): void {
    if (this.#free.length < this.#keptMax) this.#free.push(buffer);
  }
}
