/** An object layer over contents in memory, with a splitter small enough that short test data is cut. */
import { invariant } from "@drayage/base";
import type { Splitter } from "@drayage/kernels";
import { ObjectReader } from "../object/object-reader.ts";
import { BufferPool, DEFAULT_METADATA_COMPRESSOR, type ObjectWriterContext } from "../object/object-writer.ts";
import { MemoryContents } from "./memory-contents.ts";

/** Cuts after every `chunkBytes` bytes. */
export class FixedSplitter implements Splitter {
  readonly maxChunkBytes: number;
  readonly minChunkBytes: number;
  #count = 0;

  constructor(chunkBytes: number) {
    this.maxChunkBytes = chunkBytes;
    this.minChunkBytes = chunkBytes;
  }

  next(_data: Uint8Array, from: number, to: number): number {
    const cut = from + this.maxChunkBytes - this.#count;
    if (cut > to) {
      this.#count += to - from;
      return -1;
    }
    this.#count = 0;
    return cut;
  }

  reset(): void {
    this.#count = 0;
  }
}

/** Cuts after a byte of value 0xff or 0x00 when at least `minBytes` have passed, or after `maxChunkBytes`: content-defined, with early cuts in runs of zeros. */
export class MarkerSplitter implements Splitter {
  readonly maxChunkBytes: number;
  readonly minChunkBytes: number;
  #count = 0;

  constructor(minBytes: number, maxChunkBytes: number) {
    this.minChunkBytes = minBytes;
    this.maxChunkBytes = maxChunkBytes;
  }

  next(data: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at++) {
      this.#count++;
      const isMarker = data[at] === 0 || data[at] === 0xff;
      if ((isMarker && this.#count >= this.minChunkBytes) || this.#count >= this.maxChunkBytes) {
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

export interface MemoryObjects {
  readonly contents: MemoryContents;
  readonly context: ObjectWriterContext;
  readonly reader: ObjectReader;
}

/** The name under which object writers ask for the splitter under test. Lists are cut by the default one: if it were as small, a list of lists would never shrink to one. */
export const SMALL = "SMALL";
const LIST_CHUNK_BYTES = 400;

/** @param small - makes the splitter that is called SMALL */
export function memoryObjects(small: () => Splitter = () => new FixedSplitter(4 << 20)): MemoryObjects {
  const contents = new MemoryContents();
  return {
    contents,
    context: {
      contents,
      createSplitter: (name) => (name === SMALL ? small() : new FixedSplitter(LIST_CHUNK_BYTES)),
      minChunkBytes: LIST_CHUNK_BYTES,
      metadataCompressor: DEFAULT_METADATA_COMPRESSOR,
      buffers: new BufferPool(),
    },
    reader: new ObjectReader(contents, (headerId) => {
      invariant(false, `No compressor ${headerId} here`);
    }),
  };
}
