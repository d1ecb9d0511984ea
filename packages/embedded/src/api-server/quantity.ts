/**
 * Resource quantities: `500m`, `1Gi`, `1e3`. Kept exactly, as a number of nano-units; written in the canonical form of the API, which is what clients read back:
 * the largest suffix that leaves an integer, never a fraction.
 */

export interface Quantity {
  /** Value × 10⁹. */
  readonly nano: bigint;
  readonly format: "decimal" | "binary" | "exponent";
}

const NANO = 1_000_000_000n;
const SUFFIX: Readonly<Record<string, { readonly format: Quantity["format"]; readonly base: bigint; readonly power: number }>> = {
  n: { format: "decimal", base: 10n, power: -9 },
  u: { format: "decimal", base: 10n, power: -6 },
  m: { format: "decimal", base: 10n, power: -3 },
  "": { format: "decimal", base: 10n, power: 0 },
  k: { format: "decimal", base: 10n, power: 3 },
  M: { format: "decimal", base: 10n, power: 6 },
  G: { format: "decimal", base: 10n, power: 9 },
  T: { format: "decimal", base: 10n, power: 12 },
  P: { format: "decimal", base: 10n, power: 15 },
  E: { format: "decimal", base: 10n, power: 18 },
  Ki: { format: "binary", base: 2n, power: 10 },
  Mi: { format: "binary", base: 2n, power: 20 },
  Gi: { format: "binary", base: 2n, power: 30 },
  Ti: { format: "binary", base: 2n, power: 40 },
  Pi: { format: "binary", base: 2n, power: 50 },
  Ei: { format: "binary", base: 2n, power: 60 },
};
const DECIMAL_SUFFIXES = Object.entries(SUFFIX)
  .filter(([, it]) => it.format === "decimal")
  .sort(([, a], [, b]) => b.power - a.power);
const BINARY_SUFFIXES = Object.entries(SUFFIX)
  .filter(([, it]) => it.format === "binary")
  .sort(([, a], [, b]) => b.power - a.power);
/** Digits beyond this many make no sense for any resource; longer texts are refused before they cost anything. */
const LENGTH_MAX = 128;
const EXPONENT_MAX = 100;

/** The quantity of a text, or undefined when it is not one. Values finer than a nano-unit are rounded up, as the API does. */
export function parseQuantity(text: string): Quantity | undefined {
  const match = text.length > LENGTH_MAX ? null : /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = "", fraction = "", exponentText, suffixText = ""] = match;
  if (whole === "" && fraction === "") return undefined;
  const suffix = SUFFIX[suffixText];
  if (suffix === undefined) return undefined;
  const exponent = exponentText === undefined ? 0 : Number(exponentText.slice(1));
  if (Math.abs(exponent) > EXPONENT_MAX) return undefined;
  const digits = BigInt(whole + fraction);
  // value = digits × base^power × 10^(exponent - fraction.length + 9) nano
  const scale = 9 + exponent - fraction.length + (suffix.base === 10n ? suffix.power : 0);
  const factor = suffix.base === 2n ? 1n << BigInt(suffix.power) : 1n;
  const negative = sign === "-";
  const magnitude = scale >= 0 ? digits * factor * 10n ** BigInt(scale) : divideUp(digits * factor, 10n ** BigInt(-scale));
  return { nano: negative ? -magnitude : magnitude, format: exponentText === undefined ? suffix.format : "exponent" };
}

/** The canonical text. */
export function formatQuantity(quantity: Quantity): string {
  const negative = quantity.nano < 0n;
  const magnitude = negative ? -quantity.nano : quantity.nano;
  if (magnitude === 0n) return "0";
  const sign = negative ? "-" : "";
  if (quantity.format === "binary" && magnitude >= 1024n * NANO) {
    const value = divideUp(magnitude, NANO);
    for (const [suffix, { power }] of BINARY_SUFFIXES) if (value % (1n << BigInt(power)) === 0n) return `${sign}${value >> BigInt(power)}${suffix}`;
    return `${sign}${value}`;
  }
  for (const [suffix, { power }] of DECIMAL_SUFFIXES) {
    const unit = 10n ** BigInt(power + 9);
    if (magnitude % unit === 0n) return `${sign}${magnitude / unit}${quantity.format === "exponent" ? (power === 0 ? "" : `e${power}`) : suffix}`;
  }
  return `${sign}${magnitude}n`;
}

/** Canonical form of a text, or undefined when it is not a quantity. */
export function canonicalQuantity(text: string): string | undefined {
  const parsed = parseQuantity(text);
  return parsed === undefined ? undefined : formatQuantity(parsed);
}

/** Negative, zero or positive as `a` is less than, equal to or more than `b`; undefined when one of them is not a quantity. */
export function compareQuantities(a: string, b: string): number | undefined {
  const left = parseQuantity(a);
  const right = parseQuantity(b);
  if (left === undefined || right === undefined) return undefined;
  return left.nano < right.nano ? -1 : left.nano > right.nano ? 1 : 0;
}

function divideUp(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}
