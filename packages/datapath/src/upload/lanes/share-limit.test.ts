import { describe, expect, it } from "vitest";
import { ShareLimit } from "./share-limit.ts";

/** Works for so long at a time and rests when it is told to; what it slept, and the whole time that passed. */
function run(share: number, pieces: readonly number[]): { readonly slept: number[]; readonly passedMs: number } {
  let nowMs = 1000;
  const slept: number[] = [];
  const sleep = (ms: number): void => {
    slept.push(ms);
    nowMs += ms;
  };
  const limit = new ShareLimit(share, sleep, () => nowMs);
  for (const ms of pieces) {
    nowMs += ms;
    limit.rest();
  }
  return { slept, passedMs: nowMs - 1000 };
}

describe("a share of a processor", () => {
  it.each([0.1, 0.25, 0.5, 0.9])("of %f is what work takes of the time that passes", (share) => {
    const pieces = Array.from({ length: 400 }, (_, i) => 1 + (i % 7));
    const workedMs = pieces.reduce((sum, ms) => sum + ms, 0);
    expect(workedMs / run(share, pieces).passedMs).toBeCloseTo(share, 1);
  });

  it("that is whole never rests", () => {
    expect(run(1, [5, 500, 5000]).slept).toEqual([]);
  });

  it("rests in steps that an abort is not kept waiting by, and makes up for the rest later", () => {
    const { slept, passedMs } = run(0.1, [100, ...Array.from({ length: 10 }, () => 0.001)]);
    expect(Math.max(...slept)).toBeLessThanOrEqual(200);
    expect(passedMs).toBeGreaterThan(990);
  });
});
