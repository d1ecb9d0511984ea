import { describe, expect, it } from "vitest";
import { CpuLimit } from "./cpu-limit.ts";

interface Run {
  readonly rests: readonly number[];
  readonly usedMs: number;
  readonly passedMs: number;
}

/** Works in pieces that take so long, and so many processors while they do, and rests when it is told to. */
function run(processors: number, pieces: readonly (readonly [ms: number, busy: number])[]): Run {
  let [nowMs, usedMs] = [1000, 50];
  const limit = new CpuLimit(processors, { usedMs: () => usedMs, nowMs: () => nowMs });
  const rests: number[] = [];
  for (const [ms, busy] of pieces) {
    nowMs += ms;
    usedMs += ms * busy;
    const restMs = limit.restMs();
    if (restMs > 0) rests.push(restMs);
    nowMs += restMs;
  }
  return { rests, usedMs: usedMs - 50, passedMs: nowMs - 1000 };
}

describe("so many processors", () => {
  it.each([
    [0.1, 1],
    [0.5, 1],
    [0.9, 1],
    [0.5, 3],
    [1, 2],
    [1.5, 4],
  ])("of %f are what work takes that would take %i", (processors, busy) => {
    const { usedMs, passedMs } = run(
      processors,
      Array.from({ length: 1000 }, (_, i) => [1 + (i % 7), busy] as const),
    );
    expect(usedMs / passedMs).toBeGreaterThan(processors * 0.97);
    expect(usedMs / passedMs).toBeLessThan(processors * 1.03);
  });

  it("never rest where there are as many as work takes, or where nobody said how many", () => {
    expect(
      run(2, [
        [5, 2],
        [500, 1.9],
      ]).rests,
    ).toEqual([]);
    expect(run(Number.POSITIVE_INFINITY, [[5000, 64]]).rests).toEqual([]);
  });

  it("are not saved for later: who waited for a minute has to rest as soon as anybody", () => {
    expect(run(0.5, [[60_000, 0], ...Array.from({ length: 10 }, () => [100, 1] as const)]).rests.length).toBeGreaterThanOrEqual(7);
  });

  it("rest in steps that an abort is not kept waiting by, and make up for the rest later", () => {
    const { rests, passedMs } = run(0.1, [[100, 1], ...Array.from({ length: 10 }, () => [0.001, 1] as const)]);
    expect(Math.max(...rests)).toBeLessThanOrEqual(200);
    expect(passedMs).toBeGreaterThan(990);
  });
});
