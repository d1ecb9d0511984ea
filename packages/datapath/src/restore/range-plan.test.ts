import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PlannedRange, type RangeLimits, RangePlan } from "./range-plan.ts";
import type { ContentRef } from "./restore-source.ts";

const limits: RangeLimits = { gapBytesMax: 10, rangeBytesMax: 1000, targetsMax: 100 };

function content(id: string, pack: string | undefined, offset: number, length: number): ContentRef {
  return { id, pack, offset, length, originalLength: length - 1, form: 0 };
}

/** A range as text: `p1@5+20 c:target c:target`. */
const shown = ({ pack, offset, length, contents }: PlannedRange<string>): string =>
  [`${pack}@${offset}+${length}`, ...contents.map(({ content: { id }, targets }) => `${id}:${targets.join(",")}`)].join(" ");

function planned(wanted: readonly (readonly [ContentRef, string])[], over: Partial<RangeLimits> = {}): string[] {
  const plan = new RangePlan<string>();
  for (const [ref, target] of wanted) plan.want(ref, target);
  return plan.ranges({ ...limits, ...over }).map(shown);
}

describe("RangePlan", () => {
  const a = content("a", "p1", 100, 50);
  const b = content("b", "p1", 150, 50);
  const c = content("c", "p1", 205, 50);
  const far = content("far", "p1", 800, 50);
  const other = content("other", "p2", 0, 50);

  it("takes packs in the order in which they are wanted, and contents by their place", () => {
    expect(
      planned([
        [other, "1"],
        [b, "2"],
        [a, "3"],
      ]),
    ).toEqual(["p2@0+50 other:1", "p1@100+100 a:3 b:2"]);
  });

  it("reads over a small gap and goes around a large one", () => {
    expect(
      planned(
        [
          [a, "1"],
          [c, "2"],
          [far, "3"],
        ],
        { gapBytesMax: 55 },
      ),
    ).toEqual(["p1@100+155 a:1 c:2", "p1@800+50 far:3"]);
    expect(
      planned(
        [
          [a, "1"],
          [c, "2"],
        ],
        { gapBytesMax: 54 },
      ),
    ).toEqual(["p1@100+50 a:1", "p1@205+50 c:2"]);
  });

  it("counts what was needed apart from what lies between", () => {
    const plan = new RangePlan<string>();
    plan.want(a, "1");
    plan.want(c, "2");
    plan.want(c, "3");
    expect(plan).toMatchObject({ targets: 3, bytes: 98 });
    expect(plan.ranges({ ...limits, gapBytesMax: 55 })).toMatchObject([{ length: 155, bytesNeeded: 100 }]);
  });

  it("fetches a content once for all who want it, unless they are more than one range takes", () => {
    const wanted = ["1", "2", "3", "4", "5"].map((target) => [a, target] as const);
    expect(planned(wanted)).toEqual(["p1@100+50 a:1,2,3,4,5"]);
    expect(planned(wanted, { targetsMax: 2 })).toEqual(["p1@100+50 a:1,2", "p1@100+50 a:3,4", "p1@100+50 a:5"]);
  });

  it("ends a range at its length, and gives a longer content one of its own", () => {
    const long = content("long", "p1", 200, 2000);
    expect(
      planned(
        [
          [a, "1"],
          [b, "2"],
          [long, "3"],
        ],
        { rangeBytesMax: 80 },
      ),
    ).toEqual(["p1@100+50 a:1", "p1@150+50 b:2", "p1@200+2000 long:3"]);
  });

  it("fetches whatever is wanted, each once, within its bounds", () => {
    const refs = fc.array(fc.tuple(fc.constantFrom("p1", "p2"), fc.nat(400), fc.integer({ min: 1, max: 60 })), { maxLength: 40 }).map((lengths) => {
      const ends = new Map<string, number>();
      return lengths.map(([pack, gap, length], i) => {
        const offset = (ends.get(pack) ?? 0) + (gap < 200 ? 0 : gap - 200);
        ends.set(pack, offset + length);
        return content(`${i}`, pack, offset, length);
      });
    });
    const anyLimits = fc.record({ gapBytesMax: fc.nat(150), rangeBytesMax: fc.integer({ min: 1, max: 500 }), targetsMax: fc.constantFrom(1, 2, 5, 100) });
    fc.assert(
      fc.property(refs, fc.array(fc.nat(39), { maxLength: 60 }), anyLimits, (all, picks, bounds) => {
        const wanted = picks.map((pick) => all[pick]).filter((ref) => ref !== undefined);
        const plan = new RangePlan<number>();
        for (const [target, ref] of wanted.entries()) plan.want(ref, target);
        const ranges = plan.ranges(bounds);
        const targets = ranges.flatMap(({ contents }) => contents.flatMap((each) => each.targets));
        expect(targets.toSorted((a, b) => a - b)).toEqual(wanted.map((_, target) => target));
        for (const { pack, offset, length, contents } of ranges) {
          expect(contents.every(({ content: ref }) => ref.pack === pack && ref.offset >= offset && ref.offset + ref.length <= offset + length)).toBe(true);
          expect(length <= bounds.rangeBytesMax || contents.length === 1).toBe(true);
          const ends = contents.map(({ content: ref }) => ref.offset + ref.length);
          for (const [i, { content: ref }] of contents.slice(1).entries()) expect(ref.offset - (ends[i] ?? 0)).toBeLessThanOrEqual(bounds.gapBytesMax);
        }
        const distinct = [...new Set(wanted)].reduce((sum, { length }) => sum + length, 0);
        expect(ranges.reduce((sum, { bytesNeeded }) => sum + bytesNeeded, 0)).toBeGreaterThanOrEqual(distinct);
        if (bounds.targetsMax >= wanted.length) expect(ranges.reduce((sum, { bytesNeeded }) => sum + bytesNeeded, 0)).toBe(distinct);
      }),
    );
  });

  it("contents that lie in no pack come one by one, and overlapping ones, which only a damaged index has, do no harm", () => {
    expect(
      planned([
        [content("x", undefined, 0, 9), "1"],
        [content("y", undefined, 0, 9), "2"],
      ]),
    ).toEqual(["undefined@0+9 x:1", "undefined@0+9 y:2"]);
    expect(
      planned([
        [content("in", "p1", 110, 10), "1"],
        [a, "2"],
      ]),
    ).toEqual(["p1@100+50 a:2 in:1"]);
  });
});
