import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { equalBytes, isDrayError, toHex } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ctr } from "../testing/index.ts";
import { createErrorCorrection, ECC_OVERHEAD_PERCENT_MAX, type ErrorCorrection, REED_SOLOMON } from "./error-correction.ts";

interface Vectors {
  readonly values: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly example: Readonly<Record<string, unknown>>;
}
const vectors = (
  JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/fixtures/kopia-0.22.3/vectors.json"), "utf8")) as { readonly ecc: Vectors }
).ecc;
const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });

function encoded(correction: ErrorCorrection, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(correction.storedLength(data.length));
  expect(correction.encode(data, out, 0)).toBe(out.length);
  return out;
}
function flip(stored: Uint8Array, at: number, mask = 0x41): void {
  stored[at] = (stored[at] ?? 0) ^ mask;
}

describe("error correction", () => {
  it("stores the bytes that Kopia stores, at every overhead and length of the golden vectors, and reads them", () => {
    let seen = 0;
    for (const [overhead, lengths] of Object.entries(vectors.values)) {
      const correction = createErrorCorrection(REED_SOLOMON, Number(overhead));
      for (const [length, expected] of Object.entries(lengths)) {
        const data = ctr(Number(length));
        const stored = encoded(correction, data);
        expect([overhead, length, `${stored.length} ${hash("sha256", stored)}`]).toEqual([overhead, length, expected]);
        expect(equalBytes(correction.decode(stored).data, data)).toBe(true);
        seen++;
      }
    }
    expect(seen).toBe(247);
  });

  it("writes where it is told to, and nothing else", () => {
    const correction = createErrorCorrection(REED_SOLOMON, 10);
    const out = new Uint8Array(60).fill(0xee);
    expect(correction.encode(ctr(10), out, 3)).toBe(56);
    expect(toHex(out.subarray(3, 59))).toBe("5f002f649a7fdd456528ce18403dff41d9120000004210a8290adf3f08a1bc0e6198042af58ccca92fdb7a219f41405700ff41d912000000");
    expect([...out.subarray(0, 3), out[59]]).toEqual([0xee, 0xee, 0xee, 0xee]);
    expect(() => correction.encode(ctr(10), new Uint8Array(55), 0)).toThrow(expect.objectContaining({ code: "INVARIANT" }));
  });

  it("knows every overhead from 1 to 100 %, and no other", () => {
    for (let overhead = 1; overhead <= ECC_OVERHEAD_PERCENT_MAX; overhead++) {
      const correction = createErrorCorrection(REED_SOLOMON, overhead);
      for (const length of [0, 1500, 70_000]) {
        const data = ctr(length);
        const stored = encoded(correction, data);
        flip(stored, stored.length - 1);
        const decoded = correction.decode(stored);
        expect([overhead, length, equalBytes(decoded.data, data), decoded.repairedShards]).toEqual([overhead, length, true, 1]);
      }
    }
    for (const overhead of [0, 101, 1.5, Number.NaN]) {
      expect(() => createErrorCorrection(REED_SOLOMON, overhead)).toThrow(expect.objectContaining({ code: "USAGE" }));
    }
    expect(() => createErrorCorrection("RAPTOR", 5)).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });

  it.each([
    ["small: 6 + 2 shards", 10, 300, 2],
    ["medium: 128 + 4 shards", 10, 6_000, 4],
    ["large: blocks of 128 + 4 shards", 10, 30_000, 4],
    ["large, cut in its last shard", 2, 300_001, 2],
    ["large, as much parity as data", 100, 20_000, 120],
  ])("repairs as many damaged shards a block as there is parity, and refuses one more: %s", (_what, overhead, length, parity) => {
    const correction = createErrorCorrection(REED_SOLOMON, overhead);
    const data = ctr(length);
    const whole = encoded(correction, data);
    // Data shards of the first block follow all parity.
    const { parityBytes, stride } = layoutFor(whole.length, overhead, length);
    const damaged = whole.slice();
    for (let shard = 0; shard < parity; shard++) flip(damaged, parityBytes + shard * stride + 4 + (shard % 5));
    expect(correction.decode(damaged)).toMatchObject({ repairedShards: parity });
    expect(equalBytes(correction.decode(damaged).data, data)).toBe(true);
    flip(damaged, parityBytes + parity * stride);
    expect(() => correction.decode(damaged)).toThrow(/data shards of block 0 are damaged/);
    // Damaged parity takes away from what can be repaired, and is otherwise not looked at.
    const both = whole.slice();
    flip(both, 5);
    expect(correction.decode(both)).toMatchObject({ repairedShards: 0 });
    for (let shard = 0; shard < parity; shard++) flip(both, parityBytes + shard * stride + 4);
    expect(() => correction.decode(both)).toThrow(corrupt);
  });

  it("repairs every single flipped byte", () => {
    const correction = createErrorCorrection(REED_SOLOMON, 7);
    for (const length of [0, 40, 2500]) {
      const data = ctr(length);
      const stored = encoded(correction, data);
      for (let at = 0; at < stored.length; at++) {
        flip(stored, at);
        expect(equalBytes(correction.decode(stored).data, data)).toBe(true);
        flip(stored, at);
      }
    }
  });

  it("answers every prefix with REPO_CORRUPT", () => {
    const correction = createErrorCorrection(REED_SOLOMON, 10);
    for (const length of [0, 40, 2500, 9000]) {
      const stored = encoded(correction, ctr(length));
      for (let end = 0; end < stored.length; end++) expect(() => correction.decode(stored.subarray(0, end))).toThrow(corrupt);
    }
  });

  it("gives the data or REPO_CORRUPT for any bytes", () => {
    const random = seededRandom(5);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.uint8Array({ maxLength: 12_000 }), fc.nat(400), (overhead, data, flips) => {
        const correction = createErrorCorrection(REED_SOLOMON, overhead);
        const stored = encoded(correction, data);
        for (let i = 0; i < flips; i++) flip(stored, Math.floor(random.fraction() * stored.length), 1 + Math.floor(random.fraction() * 255));
        try {
          expect(equalBytes(correction.decode(stored).data, data)).toBe(true);
        } catch (error) {
          if (!isDrayError(error)) throw error;
          expect(error.code).toBe("REPO_CORRUPT");
        }
        try {
          correction.decode(data);
        } catch (error) {
          if (!isDrayError(error)) throw error;
          expect(error.code).toBe("REPO_CORRUPT");
        }
      }),
      { seed: 42, numRuns: 150 },
    );
  });
});

/** Where the data shards begin, and how far they are apart: reckoned from the lengths, not from the code under test. */
function layoutFor(stored: number, overhead: number, length: number): { readonly parityBytes: number; readonly stride: number } {
  if (length < 1000) return { parityBytes: (stored / 8) * 2, stride: stored / 8 };
  const [data, parity, shard] = overhead === 2 ? [164, 2, 512] : overhead === 100 ? [128, 120, 64] : [128, 4, 64];
  if (length + 4 <= data * shard) return { parityBytes: (stored / (data + parity)) * parity, stride: stored / (data + parity) };
  return { parityBytes: Math.ceil((length + 4) / (data * shard)) * parity * (shard + 4), stride: shard + 4 };
}
