/** Data for tests of the data path. */
import { createCipheriv, hash } from "node:crypto";
import type { ByteRanges, Splitter } from "@drayage/kernels";
import type { SealingLane } from "@drayage/repo/sealing-lane";

/** Repeatable bytes that neither compress nor deduplicate, fast: the key stream of AES-128-CTR under a key made from the seed. */
export function patternBytes(length: number, seed = 1): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed >>> 0);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Cuts after a byte below `cutBelow` once `minChunkBytes` have passed, or after `maxChunkBytes`: as content-defined cutting does, in small. */
export class SmallSplitter implements Splitter {
  readonly minChunkBytes: number;
  readonly maxChunkBytes: number;
  readonly #cutBelow: number;
  #count = 0;

  constructor(options: { readonly minChunkBytes: number; readonly maxChunkBytes: number; readonly cutBelow: number }) {
    this.minChunkBytes = options.minChunkBytes;
    this.maxChunkBytes = options.maxChunkBytes;
    this.#cutBelow = options.cutBelow;
  }

  next(data: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at++) {
      this.#count++;
      if (((data[at] ?? 0) < this.#cutBelow && this.#count >= this.minChunkBytes) || this.#count >= this.maxChunkBytes) {
        this.#count = 0;
        return at + 1;
      }
    }
    return -1;
  }

  reset(): void {
    this.#count = 0;
  }
}

/** A lane that stores nothing: of each range it tells the first half of its SHA-256. */
export function digestLane(onStore: () => void = () => undefined): SealingLane {
  const store = async ({ data, starts, lengths, count }: ByteRanges): ReturnType<SealingLane["store"]> => {
    onStore();
    const digestOf = (_: unknown, i: number): Buffer =>
      hash("sha256", data.subarray(starts[i], (starts[i] ?? 0) + (lengths[i] ?? 0)), "buffer").subarray(0, 16);
    return { hashes: Buffer.concat(Array.from({ length: count }, digestOf)), newContents: count, knownBytes: 0, packedBytes: 0 };
  };
  return { digestBytes: 16, store } as unknown as SealingLane;
}
