import { createHash } from "node:crypto";
import { concat } from "@drayage/base";
import type { ByteRanges, Splitter } from "@drayage/kernels";
import type { SealingLane } from "@drayage/repo/sealing-lane";
import fc from "fast-check";
import { expect, it } from "vitest";
import { RangeCutter } from "./range-cutter.ts";

/** Cuts after a zero or 0xff once `min` bytes have passed, or after `max`. */
class MarkerSplitter implements Splitter {
  readonly minChunkBytes = 8;
  readonly maxChunkBytes = 32;
  #count = 0;

  next(data: Uint8Array, from: number, to: number): number {
    for (let at = from; at < to; at++) {
      this.#count++;
      if (((data[at] === 0 || data[at] === 0xff) && this.#count >= this.minChunkBytes) || this.#count >= this.maxChunkBytes) {
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

const digest = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest().subarray(0, 16);

/** What a lane does, without packs. */
function lane(stored: Uint8Array[]): SealingLane {
  return {
    digestBytes: 16,
    store: async ({ data, starts, lengths, count }: ByteRanges) => {
      const chunks = Array.from({ length: count }, (_, i) => new Uint8Array(data.subarray(starts[i], (starts[i] ?? 0) + (lengths[i] ?? 0))));
      stored.push(...chunks);
      return { hashes: Buffer.concat(chunks.map(digest)), newContents: count, knownBytes: 0, packedBytes: 0 };
    },
  } as unknown as SealingLane;
}

async function cut(parts: readonly (Uint8Array | number)[], pieces: readonly number[], aligned = false) {
  const stored: Uint8Array[] = [];
  const chunks: [string, number][] = [];
  const cutter = new RangeCutter(lane(stored), new Uint8Array(3 << 20), {
    ...{ createSplitter: () => new MarkerSplitter(), compressor: undefined, aligned, from: 0, lead: 0 },
    onChunks: ({ hashes, lengths }) => {
      for (const [i, length] of lengths.entries()) chunks.push([Buffer.from(hashes.subarray(16 * i, 16 * i + 16)).toString("hex"), length]);
    },
  });
  let turn = 0;
  for (const part of parts) {
    if (typeof part === "number") {
      await cutter.skip(part, () => undefined);
      continue;
    }
    for (let at = 0; at < part.length; ) {
      const length = Math.min(pieces[turn++ % pieces.length] ?? 1, part.length - at);
      const to = await cutter.reserve(4096);
      cutter.arena.set(part.subarray(at, at + length), to);
      cutter.take(length);
      at += length;
    }
  }
  await cutter.finish(false);
  return { chunks, stored };
}

function expected(data: Uint8Array): [string, number][] {
  const splitter = new MarkerSplitter();
  const chunks: [string, number][] = [];
  for (let from = 0; from < data.length || chunks.length === 0; ) {
    const end = splitter.next(data, from, data.length);
    const to = end < 0 ? data.length : end;
    chunks.push([digest(data.subarray(from, to)).toString("hex"), to - from]);
    from = to;
  }
  return chunks;
}

it("cuts as a stream is cut byte by byte, however it arrives, and whether zeros were read or skipped", async () => {
  const part = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.integer({ min: 0, max: 300 }));
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 10 }), fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 4 }), async (parts, pieces) => {
      const data = concat(parts.map((p) => (typeof p === "number" ? new Uint8Array(p) : p)));
      expect((await cut(parts, pieces)).chunks).toEqual(expected(data));
    }),
    { numRuns: 200 },
  );
});

it("stores the zeros of a hole once", async () => {
  const { chunks, stored } = await cut([100_000], [10]);
  expect(chunks.reduce((sum, [, length]) => sum + length, 0)).toBe(100_000);
  expect(stored.length).toBeLessThan(3);
});

it("keeps memory for direct reads on blocks while chunks end anywhere", async () => {
  const data = new Uint8Array(3 << 20).map((_, i) => (i * 7 + (i >> 9)) & 0xff);
  const places: number[] = [];
  const stored: Uint8Array[] = [];
  let bytes = 0;
  const cutter = new RangeCutter(lane(stored), new Uint8Array(1 << 20), {
    ...{ createSplitter: () => new MarkerSplitter(), compressor: undefined, aligned: true, from: 0, lead: 0 },
    onChunks: ({ lengths }) => {
      bytes += lengths.reduce((sum, length) => sum + length, 0);
    },
  });
  for (let at = 0; at < data.length; at += 8192) {
    const to = await cutter.reserve(8192);
    places.push(to % 4096);
    cutter.arena.set(data.subarray(at, at + 8192), to);
    cutter.take(8192);
  }
  await cutter.finish(false);
  expect(new Set(places)).toEqual(new Set([0]));
  expect(bytes).toBe(data.length);
  expect(Buffer.concat(stored).equals(data)).toBe(true);
});

it("stores as many chunks at a time as are hashed side by side, where the arena does not hold as many again", async () => {
  // Chunks of 32 bytes, of which the arena holds fourteen; then of 8, of which it holds fifty-six.
  for (const [filling, turn, length] of [
    [1, 8, 32],
    [0xff, 48, 8],
  ] as const) {
    const turns: number[] = [];
    const stored: Uint8Array[] = [];
    const cutter = new RangeCutter(lane(stored), new Uint8Array(28 * 16), {
      ...{ createSplitter: () => new MarkerSplitter(), compressor: undefined, aligned: false, from: 0, lead: 0 },
      onChunks: ({ lengths }) => void turns.push(lengths.length),
    });
    for (let at = 0; at < 96 * length; at += 16) {
      const to = await cutter.reserve(16);
      cutter.arena.fill(filling, to, to + 16);
      cutter.take(16);
    }
    await cutter.finish(false);
    expect(new Set(turns)).toEqual(new Set([turn]));
    expect(Buffer.concat(stored).length).toBe(96 * length);
  }
});
