import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesQuantity, compareQuantities, formatQuantity, parseQuantity, quantityValue } from "./quantity.ts";

describe("quantities", () => {
  it.each([
    ["0", 0n],
    ["1", 1n],
    ["64Mi", 67108864n],
    ["1.5Gi", 1610612736n],
    ["10G", 10_000_000_000n],
    ["100m", 1n],
    ["-1500m", -2n],
    ["12e6", 12_000_000n],
    ["1E", 10n ** 18n],
    ["1e3", 1000n],
    [".5k", 500n],
    ["9Ei", 9n * 1024n ** 6n],
    ["0.0000000001", 1n],
  ])("%s is %i", (text, value) => {
    expect(quantityValue(text)).toBe(value);
  });

  it.each(["", "Gi", "1 Gi", "1gi", "1KiB", "--1", "1.2.3", "1e", "0x10"])("%s is none", (text) => {
    expect(parseQuantity(text)).toBeUndefined();
  });

  it("are written in their own family, as short as exact", () => {
    const rewritten = (text: string): string | undefined => {
      const quantity = parseQuantity(text);
      return quantity === undefined ? undefined : formatQuantity(quantity);
    };
    expect(["1024Mi", "1536Mi", "1000M", "1500m", "1000e3", "0.5Gi"].map(rewritten)).toEqual(["1Gi", "1536Mi", "1G", "1500m", "1e6", "512Mi"]);
    expect([bytesQuantity(67108864), bytesQuantity(10485761)]).toEqual(["64Mi", "10485761"]);
  });

  it("compare by value", () => {
    expect([compareQuantities("1Gi", "1G"), compareQuantities("1000m", "1"), compareQuantities("1", "1Ki")]).toEqual([1, 0, -1]);
  });

  it("survive being written and read", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(10n ** 27n), max: 10n ** 27n }),
        fc.constantFrom("BinarySI" as const, "DecimalSI" as const, "DecimalExponent" as const),
        (nanos, format) => {
          expect(parseQuantity(formatQuantity({ nanos, format }))?.nanos).toBe(nanos);
        },
      ),
    );
  });
});
