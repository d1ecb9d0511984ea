/**
 * Error correction around what encryption gives (kopia-format.md 3.5): stored bytes of which some are damaged still give back every byte.
 *
 *   encoded   u32 BE length of the data · data · zeros up to whole blocks, cut into d data shards of s bytes a block
 *   stored    parity shards of all blocks, then data shards of all blocks; each shard is CRC-32 u32 BE · bytes
 *
 *   small    up to 8 · (d + p) bytes encoded: one block of 6 + 2 shards
 *   medium   up to d · S: one block of d + p shards as long as needed
 *   large    more: blocks of d + p shards of S bytes; zeros at the end are not stored, but the CRC of the last shard covers its own
 *
 * Up to p damaged shards a block are repaired; the checksums say which they are. Decoding what is whole costs the checksums of the data shards alone.
 */
import { crc32 } from "node:zlib";
import { DrayError, invariant } from "@drayage/base";
import { type ShardCombiner, shardCombiner } from "./reed-solomon.ts";

export const REED_SOLOMON = "REED-SOLOMON-CRC32";
/** Names of all error corrections. */
export const ERROR_CORRECTIONS: readonly string[] = [REED_SOLOMON];
export const ECC_OVERHEAD_PERCENT_MAX = 100;

const CRC_BYTES = 4;
const LENGTH_BYTES = 4;
const SMALL_DATA = 6;
const SMALL_PARITY = 2;
const SMALL_SHARD_BYTES = 8;

export interface ErrorCorrection {
  readonly name: string;
  readonly overheadPercent: number;
  /** Bytes that data of this length takes when encoded. */
  storedLength(length: number): number;
  /** Writes data with its parity into `out` at `at`; returns the bytes written. */
  encode(data: Uint8Array, out: Uint8Array, at: number): number;
  /** The data, repaired where it has to be. Throws REPO_CORRUPT when more is damaged than parity makes good. */
  decode(stored: Uint8Array): DecodedData;
}

export interface DecodedData {
  readonly data: Uint8Array;
  /** Data shards whose checksum was wrong, and that were computed from the others. */
  readonly repairedShards: number;
}

/** Throws REPO_UNSUPPORTED for a name that is not known, USAGE for an overhead outside 1 to 100 %. */
export function createErrorCorrection(name: string, overheadPercent: number): ErrorCorrection {
  if (name !== REED_SOLOMON) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot correct errors with "${name}": no such error correction is known`, {
      hint: `Known: ${ERROR_CORRECTIONS.join(", ")}.`,
    });
  }
  if (!Number.isInteger(overheadPercent) || overheadPercent < 1 || overheadPercent > ECC_OVERHEAD_PERCENT_MAX) {
    throw new DrayError("USAGE", `Cannot correct errors with an overhead of ${overheadPercent} %: 1 to ${ECC_OVERHEAD_PERCENT_MAX} are allowed`);
  }
  return new ReedSolomonCrc32(overheadPercent);
}

/** How many shards a block has, and how long they are. */
interface Layout {
  readonly data: number;
  readonly parity: number;
  readonly shardBytes: number;
  readonly blocks: number;
  /** Whether zeros behind the data are stored. */
  readonly isPadded: boolean;
}

class ReedSolomonCrc32 implements ErrorCorrection {
  readonly name = REED_SOLOMON;
  readonly overheadPercent: number;
  readonly #shape: { readonly data: number; readonly parity: number; readonly shardBytesMax: number };
  readonly #smallMax: number;
  /** Coefficients of the parity shards, made when first needed: by number of data shards. */
  readonly #encoders = new Map<number, ShardCombiner>();

  constructor(overheadPercent: number) {
    this.overheadPercent = overheadPercent;
    this.#shape = shapeOf(overheadPercent);
    this.#smallMax = SMALL_SHARD_BYTES * (this.#shape.data + this.#shape.parity);
  }

  storedLength(length: number): number {
    const { data, parity, shardBytes, blocks, isPadded } = this.#layout(length);
    const protectedShard = CRC_BYTES + shardBytes;
    if (isPadded) return (data + parity) * protectedShard;
    const encoded = length + LENGTH_BYTES;
    return blocks * parity * protectedShard + Math.ceil(encoded / shardBytes) * CRC_BYTES + encoded;
  }

  encode(data: Uint8Array, out: Uint8Array, at: number): number {
    const layout = this.#layout(data.length);
    const { shardBytes, blocks, parity } = layout;
    const end = at + this.storedLength(data.length);
    invariant(end <= out.length, `Cannot add error correction: ${end} bytes are needed, the buffer has ${out.length}`);
    const blockBytes = layout.data * shardBytes;
    const encoded = new Uint8Array(blocks * blockBytes);
    new DataView(encoded.buffer).setUint32(0, data.length);
    encoded.set(data, LENGTH_BYTES);

    const view = new DataView(out.buffer, out.byteOffset, out.length);
    const encoder = this.#encoder(layout);
    const parityShards = new Uint8Array(parity * shardBytes);
    let next = at;
    for (let block = 0; block < blocks; block++) {
      encoder.combine(encoded, block * blockBytes, shardBytes, parityShards);
      for (let from = 0; from < parityShards.length; from += shardBytes) next = putShard(view, out, next, parityShards.subarray(from, from + shardBytes), end);
    }
    for (let from = 0; next < end; from += shardBytes) next = putShard(view, out, next, encoded.subarray(from, from + shardBytes), end);
    return end - at;
  }

  decode(stored: Uint8Array): DecodedData {
    const layout = this.#layoutOfStored(stored.length);
    const { shardBytes, blocks } = layout;
    const blockBytes = layout.data * shardBytes;
    const encoded = new Uint8Array(blocks * blockBytes);
    const damaged: number[][] = Array.from({ length: blocks }, () => []);
    const shards = new StoredShards(stored, layout);
    for (let block = 0; block < blocks; block++) {
      for (let shard = 0; shard < layout.data; shard++) {
        const into = encoded.subarray(block * blockBytes + shard * shardBytes, block * blockBytes + (shard + 1) * shardBytes);
        if (!shards.readData(block, shard, into)) damaged[block]?.push(shard);
      }
    }
    for (const [block, missing] of damaged.entries()) {
      if (missing.length > 0) repairBlock(shards, layout, block, missing, encoded.subarray(block * blockBytes, (block + 1) * blockBytes));
    }
    const length = new DataView(encoded.buffer).getUint32(0);
    if (length > encoded.length - LENGTH_BYTES || this.storedLength(length) !== stored.length) {
      throw new DrayError("REPO_CORRUPT", `Cannot correct errors: ${length} bytes were encoded, which does not fit the ${stored.length} that are there`);
    }
    const repairedShards = damaged.reduce((sum, { length: count }) => sum + count, 0);
    return { data: encoded.subarray(LENGTH_BYTES, LENGTH_BYTES + length), repairedShards };
  }

  #layout(length: number): Layout {
    const { data, parity, shardBytesMax } = this.#shape;
    const encoded = length + LENGTH_BYTES;
    if (encoded <= this.#smallMax) {
      return { data: SMALL_DATA, parity: SMALL_PARITY, shardBytes: Math.ceil(encoded / SMALL_DATA), blocks: 1, isPadded: true };
    }
    if (encoded <= data * shardBytesMax) return { data, parity, shardBytes: Math.ceil(encoded / data), blocks: 1, isPadded: true };
    return { data, parity, shardBytes: shardBytesMax, blocks: Math.ceil(encoded / (data * shardBytesMax)), isPadded: false };
  }

  /** Throws REPO_CORRUPT for a length that no data gives. */
  #layoutOfStored(stored: number): Layout {
    const { data, parity, shardBytesMax } = this.#shape;
    const smallStoredMax = (SMALL_DATA + SMALL_PARITY) * (CRC_BYTES + Math.ceil(this.#smallMax / SMALL_DATA));
    const block = (data + parity) * (CRC_BYTES + shardBytesMax);
    if (stored > block) return { data, parity, shardBytes: shardBytesMax, blocks: Math.ceil(stored / block), isPadded: false };
    const [d, p] = stored <= smallStoredMax ? [SMALL_DATA, SMALL_PARITY] : [data, parity];
    const shardBytes = stored / (d + p) - CRC_BYTES;
    if (!Number.isInteger(shardBytes) || shardBytes < 1) throw new DrayError("REPO_CORRUPT", `Cannot correct errors: ${stored} bytes are no whole shards`);
    return { data: d, parity: p, shardBytes, blocks: 1, isPadded: true };
  }

  #encoder({ data, parity }: Layout): ShardCombiner {
    const known = this.#encoders.get(data);
    if (known !== undefined) return known;
    const encoder = shardCombiner(range(0, data), range(data, data + parity));
    this.#encoders.set(data, encoder);
    return encoder;
  }
}

/** Shards and their checksums, where they stand. */
class StoredShards {
  readonly #stored: Uint8Array;
  readonly #view: DataView;
  readonly #layout: Layout;

  constructor(stored: Uint8Array, layout: Layout) {
    this.#stored = stored;
    this.#view = new DataView(stored.buffer, stored.byteOffset, stored.length);
    this.#layout = layout;
  }

  /** Copies a data shard and says whether it is whole. Shards behind the end are zeros that were not stored. */
  readData(block: number, shard: number, into: Uint8Array): boolean {
    const { blocks, data, parity } = this.#layout;
    const at = (blocks * parity + block * data + shard) * this.#stride;
    return at >= this.#stored.length || this.#read(at, into);
  }

  readParity(block: number, shard: number, into: Uint8Array): boolean {
    return this.#read((block * this.#layout.parity + shard) * this.#stride, into);
  }

  get #stride(): number {
    return CRC_BYTES + this.#layout.shardBytes;
  }

  #read(at: number, into: Uint8Array): boolean {
    if (at + CRC_BYTES > this.#stored.length) return false;
    into.set(this.#stored.subarray(at + CRC_BYTES, at + this.#stride));
    return this.#view.getUint32(at) === crc32(into);
  }
}

/** Computes the damaged data shards of a block from the others and as many whole parity shards. Throws REPO_CORRUPT when those are too few. */
function repairBlock(shards: StoredShards, layout: Layout, block: number, missing: readonly number[], data: Uint8Array): void {
  const { shardBytes, parity } = layout;
  const known: number[] = range(0, layout.data).filter((shard) => !missing.includes(shard));
  const inputs = new Uint8Array(layout.data * shardBytes);
  for (const [i, shard] of known.entries()) inputs.set(data.subarray(shard * shardBytes, (shard + 1) * shardBytes), i * shardBytes);
  for (let shard = 0; shard < parity && known.length < layout.data; shard++) {
    const into = inputs.subarray(known.length * shardBytes, (known.length + 1) * shardBytes);
    if (shards.readParity(block, shard, into)) known.push(layout.data + shard);
  }
  if (known.length < layout.data) {
    throw new DrayError(
      "REPO_CORRUPT",
      `Cannot correct errors: ${missing.length} of ${layout.data} data shards of block ${block} are damaged, ${layout.parity - (layout.data - known.length)} parity shards are left`,
    );
  }
  const repaired = new Uint8Array(missing.length * shardBytes);
  shardCombiner(known, missing).combine(inputs, 0, shardBytes, repaired);
  for (const [i, shard] of missing.entries()) data.set(repaired.subarray(i * shardBytes, (i + 1) * shardBytes), shard * shardBytes);
}

/** Puts a shard behind its checksum, as far as there is room: the last one may be cut. */
function putShard(view: DataView, out: Uint8Array, at: number, shard: Uint8Array, end: number): number {
  view.setUint32(at, crc32(shard));
  const next = Math.min(at + CRC_BYTES + shard.length, end);
  out.set(shard.subarray(0, next - at - CRC_BYTES), at + CRC_BYTES);
  return next;
}

/** Shards of a block by overhead. Kopia reckons in single precision, which decides some of them. */
function shapeOf(overheadPercent: number): { readonly data: number; readonly parity: number; readonly shardBytesMax: number } {
  const shardBytesMax = [1024, 512, 256, 128, 128, 128][overheadPercent - 1] ?? 64;
  // What the checksums take is part of the overhead.
  const free = Math.fround(Math.max(Math.fround(overheadPercent - Math.fround((100 * CRC_BYTES) / shardBytesMax)), Math.fround(0.01)));
  const parity = clamp(Math.floor(Math.fround(Math.fround(128 * free) / 100)), 1, 128);
  if (parity > 1) return { data: 128, parity, shardBytesMax };
  // One parity shard would not do for two neighbours that one damaged sector hits.
  return { data: clamp(Math.floor(Math.fround(200 / free)), 128, 254), parity: 2, shardBytesMax };
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
