import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NativeLoops } from "../native/addon.ts";
import { systemCalls } from "../system/system-calls.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, xorshift } from "../testing/index.ts";
import { BUZHASH_TABLE } from "./buzhash-table.ts";
import { createSplitter, SPLITTERS } from "./splitters.ts";

interface Expected {
  readonly cuts: number;
  readonly head: readonly number[];
  readonly tail: number;
  readonly all: string;
}
const builds = await kernelBuilds();
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/fixtures/kopia-0.22.3/vectors.json"), "utf8")) as {
  readonly splitters: { readonly values: Readonly<Record<string, Readonly<Record<string, Expected>>>> };
};

const pattern = (): Uint8Array => {
  const piece = ctr(1000, utf8("d"));
  const out = new Uint8Array(21_000_000);
  for (let at = 0; at < out.length; at += 1000) out.set(piece, at);
  return out;
};
const DATA: Readonly<Record<string, () => Uint8Array>> = {
  A: () => ctr(33_554_432),
  zero20M: () => new Uint8Array(20_971_520),
  ff20M: () => new Uint8Array(20_971_520).fill(255),
  pattern,
};

/** Lengths of the chunks that a cut ended, fed in slices of the given size, and what remains. */
function cutLengths(name: string, data: Uint8Array, sliceBytes: (turn: number) => number, loops: NativeLoops | undefined): { lengths: number[]; tail: number } {
  const splitter = createSplitter(name, loops);
  const lengths: number[] = [];
  let start = 0;
  let at = 0;
  for (let turn = 0; at < data.length; turn++) {
    const to = Math.min(data.length, at + sliceBytes(turn));
    // A slice of its own, so that a splitter that looks behind its start would be caught.
    const slice = data.subarray(at, to);
    let from = 0;
    for (let end = splitter.next(slice, from, slice.length); end !== -1; end = splitter.next(slice, from, slice.length)) {
      lengths.push(at + end - start);
      start = at + end;
      from = end;
      if (from === slice.length) break;
    }
    at = to;
  }
  return { lengths, tail: data.length - start };
}

const allDigest = (lengths: readonly number[]): string => {
  const bytes = Buffer.alloc(lengths.length * 4);
  for (const [i, length] of lengths.entries()) bytes.writeUInt32BE(length, i * 4);
  return createHash("sha256").update(bytes).digest("hex");
};

describe("splitters", () => {
  it("have the substitution table of Kopia", () => {
    const bytes = Buffer.alloc(1024);
    for (const [i, word] of BUZHASH_TABLE.entries()) bytes.writeInt32BE(word, i * 4);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe("9f95254df5585a4957a754ceac4fba2a8af24ad015e84f56db59dfc1e218f6dd");
  });

  it("exist for every name that the vectors know", () => {
    expect([...SPLITTERS]).toEqual(Object.keys(vectors.splitters.values).sort());
  });
});

describe.for(builds)("splitters, $name build", ({ addon, name: build }) => {
  for (const [dataName, make] of Object.entries(DATA)) {
    it(`cut data set ${dataName} where Kopia cuts it, whatever the slices`, () => {
      const data = make();
      for (const [name, byData] of Object.entries(vectors.splitters.values)) {
        // The addon has a loop for one kind only.
        if (addon !== undefined && !name.endsWith("-BUZHASH") && name !== "DYNAMIC") continue;
        // What does not depend on the data is the same for all sizes in between; the full range runs on random data.
        if (dataName !== "A" && !/^(FIXED|DYNAMIC)(-128K|-4M|$)/.test(name)) continue;
        const expected = byData[dataName];
        if (expected === undefined) throw new Error(`no vector for ${name} ${dataName}`);
        // The odd slices on the two ends of the size range only: they cost a pass over the data each.
        const odd = name.includes("-128K-") || name.includes("-4M-") ? [(turn: number) => 1 + ((turn * 7919) % 1_000_003)] : [];
        for (const slices of [() => data.length, ...odd]) {
          const { lengths, tail } = cutLengths(name, data, slices, addon);
          expect({ name, cuts: lengths.length, tail, all: allDigest(lengths) }).toEqual({ name, cuts: expected.cuts, tail: expected.tail, all: expected.all });
        }
      }
    });
  }

  it("cut alike when fed a byte at a time", () => {
    const data = ctr(2_000_000);
    for (const name of ["DYNAMIC-128K-BUZHASH", "DYNAMIC-128K-RABINKARP", "FIXED-128K"]) {
      expect(cutLengths(name, data, () => 1, addon)).toEqual(cutLengths(name, data, () => data.length, undefined));
      expect(cutLengths(name, data, (turn) => 1 + (turn % 130), addon)).toEqual(cutLengths(name, data, () => data.length, undefined));
    }
  });

  it("give the chunk lengths of the performance study's generator", () => {
    const { lengths, tail } = cutLengths("DYNAMIC-4M-BUZHASH", xorshift(67_108_864), () => 4 << 20, addon);
    expect([...lengths, tail]).toEqual([2440006, 3891845, 8388608, 5032949, 3777950, 8388608, 4785971, 8388608, 4245057, 8388608, 8388608, 992046]);
  });

  it("start over after a reset", () => {
    const data = ctr(1_000_000);
    const splitter = createSplitter("DYNAMIC-128K-BUZHASH", addon);
    const first = splitter.next(data, 0, data.length);
    splitter.next(data, first, first + 100_000);
    splitter.reset();
    expect(splitter.next(data, 0, data.length)).toBe(first);
  });

  it("cut alike for any data, any slices and any position of a cut", () => {
    const property = fc.property(fc.infiniteStream(fc.integer({ min: 1, max: 5000 })), fc.integer(), (stream, seed) => {
      const slices = [...stream.take(50)];
      const next = (turn: number): number => slices[turn % slices.length] ?? 1;
      const data = ctr(600_000, new Uint8Array(Int32Array.of(seed).buffer));
      // A run of equal bytes, where every position asks for a cut.
      data.fill(7, 300_000, 300_000 + (Math.abs(seed) % 5000));
      expect(cutLengths("DYNAMIC-128K-BUZHASH", data, next, addon)).toEqual(cutLengths("DYNAMIC-128K-BUZHASH", data, () => data.length, undefined));
    });
    fc.assert(property, { numRuns: build === "portable" ? 3 : 20 });
  });
});

describe("splitters without the addon", () => {
  it("cut what lies in an arena where they cut the same bytes elsewhere, whatever the slices", () => {
    const data = ctr(1_500_000);
    data.fill(7, 500_000, 700_000);
    const arena = systemCalls.alignedBuffer(data.length + 13).subarray(13);
    arena.set(data);
    const wanted = cutLengths("DYNAMIC-128K-BUZHASH", data, () => data.length, undefined);
    expect(wanted.lengths.length).toBeGreaterThan(5);
    for (const slices of [() => data.length, (turn: number) => 1 + ((turn * 7919) % 100_003), (turn: number) => 1 + (turn % 130), () => 64]) {
      expect(cutLengths("DYNAMIC-128K-BUZHASH", arena, slices, undefined)).toEqual(wanted);
    }
  });
});

describe("splitters by name", () => {
  it("refuse a name that nobody knows", () => {
    expect(() => createSplitter("DYNAMIC-3M-BUZHASH")).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });

  it("take an empty name for FIXED", () => {
    expect(createSplitter("").maxChunkBytes).toBe(4 << 20);
  });
});
