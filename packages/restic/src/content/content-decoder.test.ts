/** Contents decoded many at once come out as those decoded one by one; what is wrong with one is that one's alone. */
import { createHash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import { concat } from "@drayage/base";
import { createKernels, prepareNative, SEALED_CONTENT, type SealedContents } from "@drayage/kernels";
import { describe, expect, it } from "vitest";
import { seal } from "../testing/seal.ts";
import { ResticContentDecoder } from "./content-decoder.ts";

const KEY = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
/** More than there are lanes of a vector, around the ends of blocks, and one that is much longer than the others. */
const LENGTHS = [0, 1, 55, 56, 64, 119, 1000, 70_000, 5, 6, 7, 200_000, 3];

interface Sample {
  readonly plain: Uint8Array;
  readonly stored: Uint8Array;
  readonly id: Buffer;
  readonly isCompressed: boolean;
}

const samples: readonly Sample[] = LENGTHS.map((length, index) => {
  const plain = Uint8Array.from({ length }, (_, at) => (at * at + index) >> (at % 7));
  const isCompressed = index % 2 === 0;
  const iv = new Uint8Array(16).fill(index + 1);
  return { plain, stored: seal(isCompressed ? zstdCompressSync(plain) : plain, KEY, iv), id: createHash("sha256").update(plain).digest(), isCompressed };
});

/** All samples one behind the other, in memory that threads share, as ranges of packs are. */
function batchOf(all: readonly Sample[]): SealedContents {
  const bytes = concat(all.map(({ stored }) => stored));
  const data = new Uint8Array(new SharedArrayBuffer(bytes.length));
  data.set(bytes);
  const rows = new Float64Array(all.length * SEALED_CONTENT.columns);
  let start = 0;
  let plainStart = 0;
  for (const [index, { plain, stored, isCompressed }] of all.entries()) {
    rows.set([start, stored.length, plainStart, plain.length, isCompressed ? 1 : 0], index * SEALED_CONTENT.columns);
    start += stored.length;
    plainStart += plain.length;
  }
  return { data, rows, count: all.length, ids: concat(all.map(({ id }) => id)), out: new Uint8Array(plainStart), done: new Uint8Array(all.length).fill(7) };
}

// Where there is no compiler there is no addon.
const hasAddon = (await prepareNative()).state !== "unavailable";
const decoder = await ResticContentDecoder.create({ key: KEY }, await createKernels());

it("one by one, every content is what was sealed", () => {
  for (const { plain, stored, id, isCompressed } of samples)
    expect(Uint8Array.from(decoder.decode(stored, { id: id.toString("hex"), plainLength: plain.length, isCompressed, pack: "p" }))).toEqual(plain);
});

it("many at once are there wherever the addon is", () => {
  expect(decoder.decodeMany !== undefined).toBe(hasAddon);
});

describe.runIf(hasAddon)("many at once", () => {
  const decoded = (all: readonly Sample[]): { readonly done: number[]; readonly batch: SealedContents } => {
    const batch = batchOf(all);
    decoder.decodeMany?.(batch);
    return { done: [...batch.done], batch };
  };

  it("are what was sealed, each in its place", () => {
    const { done, batch } = decoded(samples);
    expect(done).toEqual(samples.map(() => 1));
    expect(batch.out).toEqual(concat(samples.map(({ plain }) => plain)));
    expect(decoded([]).done).toEqual([]);
  });

  it("mark what is damaged, misnamed or has another length, and give the others", () => {
    const wrong: readonly ((sample: Sample) => Sample)[] = [
      (sample) => ({ ...sample, stored: sample.stored.with(sample.stored.length - 1, (sample.stored.at(-1) ?? 0) ^ 1) }),
      (sample) => ({ ...sample, stored: sample.stored.with(20, (sample.stored[20] ?? 0) ^ 1) }),
      (sample) => ({ ...sample, stored: sample.stored.slice(0, 20) }),
      (sample) => ({ ...sample, stored: seal(new Uint8Array(0), KEY) }),
      (sample) => ({ ...sample, stored: seal(sample.plain, KEY, new Uint8Array(16)) }),
      (sample) => ({ ...sample, id: createHash("sha256").update("something else").digest() }),
      (sample) => ({ ...sample, plain: sample.plain.slice(1) }),
      (sample) => ({ ...sample, plain: concat([sample.plain, sample.plain]) }),
      (sample) => ({ ...sample, isCompressed: !sample.isCompressed }),
    ];
    for (const damage of wrong) {
      for (const which of [6, 7, 11]) {
        const { done, batch } = decoded(samples.map((sample, index) => (index === which ? damage(sample) : sample)));
        expect(done).toEqual(samples.map((_, index) => (index === which ? 0 : 1)));
        expect(batch.out.subarray(0, 120)).toEqual(concat(samples.map(({ plain }) => plain)).subarray(0, 120));
        // Whoever opens it by itself finds it as it was stored, and so hears what is the matter.
        const row = which * SEALED_CONTENT.columns;
        const start = batch.rows[row + SEALED_CONTENT.start] ?? 0;
        const all = samples.map((sample, index) => (index === which ? damage(sample) : sample));
        expect(Uint8Array.from(batch.data.subarray(start, start + (all[which]?.stored.length ?? 0)))).toEqual(Uint8Array.from(all[which]?.stored ?? []));
      }
    }
  });
});
