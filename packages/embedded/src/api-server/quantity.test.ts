import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalQuantity, compareQuantities, formatQuantity, parseQuantity } from "./quantity.ts";

describe("quantities", () => {
  it.each([
    ["1024Mi", "1Gi"],
    ["1.5Gi", "1536Mi"],
    ["0.5", "500m"],
    ["1000m", "1"],
    ["1000", "1k"],
    ["1e3", "1e3"],
    ["1500e3", "1500e3"],
    ["100Ki", "100Ki"],
    ["512", "512"],
    ["0", "0"],
    ["0Gi", "0"],
    ["-2Gi", "-2Gi"],
    [".5", "500m"],
    ["1n", "1n"],
    ["0.1n", "1n"],
    ["12E", "12E"],
    ["1000Ki", "1000Ki"],
  ])("reads %s and writes %s", (text, canonical) => {
    expect(canonicalQuantity(text)).toBe(canonical);
  });

  it.each(["", "Gi", "1 Gi", "1gi", "one", "1e", "1.2.3", "--1", "1ee3", "1e999999999", "9".repeat(200)])("refuses %j", (text) => {
    expect(parseQuantity(text)).toBeUndefined();
  });

  it("compares by value, not by suffix", () => {
    expect(compareQuantities("1Gi", "1G")).toBe(1);
    expect(compareQuantities("1000m", "1")).toBe(0);
    expect(compareQuantities("999M", "1G")).toBe(-1);
    expect(compareQuantities("x", "1")).toBeUndefined();
  });

  it("writes a form that reads as the same value", () => {
    const suffixes = ["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3"];
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 12n), 10n ** 12n), fc.constantFrom(...suffixes), (number, suffix) => {
        const parsed = parseQuantity(`${number}${suffix}`);
        expect(parsed).toBeDefined();
        if (parsed !== undefined) expect(parseQuantity(formatQuantity(parsed))?.nano).toBe(parsed.nano);
      }),
    );
  });
});
