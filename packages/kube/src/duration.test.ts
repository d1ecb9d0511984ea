import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration, requireDuration } from "./duration.ts";

describe("durations", () => {
  it.each([
    ["0", 0],
    ["10m0s", 600_000],
    ["1h0m0s", 3_600_000],
    ["1.5h", 5_400_000],
    ["-2s", -2_000],
    ["250ms", 250],
    ["1h15m30.5s", 4_530_500],
    [".5s", 500],
    ["720h", 2_592_000_000],
    ["1us", 0.001],
  ])("%s is %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "10", "10x", "m", "1h 2m", "1.h2", "--1s", "9999999999h"])("%s is none", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it("are written as Go writes them", () => {
    expect([0, 1, 250, 1_500, 60_000, 600_000, 3_600_000, 86_400_000, -2_000, 0.001].map(formatDuration)).toEqual([
      "0s",
      "1ms",
      "250ms",
      "1.5s",
      "1m0s",
      "10m0s",
      "1h0m0s",
      "24h0m0s",
      "-2s",
      "1µs",
    ]);
  });

  it("survive being written and read", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e12, max: 1e12 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  it("name the field that is none", () => {
    expect(() => requireDuration("soon", "spec.ttl")).toThrow('Cannot use spec.ttl "soon": a duration such as "10m0s" is wanted');
  });
});
