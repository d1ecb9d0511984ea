import { DrayError } from "@drayage/base";

/**
 * An exact amount as Kubernetes writes it (`10Gi`, `1.5G`, `100m`, `12e6`), kept as an integer of billionths.
 * Source of the grammar: the API's resource.Quantity; finer than a billionth is rounded up, as there.
 */
export interface Quantity {
  readonly nanos: bigint;
  /** The family of suffix it was written with, which is what it is written with again. */
  readonly format: "BinarySI" | "DecimalSI" | "DecimalExponent";
}

const NANO = 1_000_000_000n;
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] as const;
const DECIMAL_EXPONENT: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const GRAMMAR = /^([+-]?)(\d*)(?:\.(\d*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE])|[eE]([+-]?\d{1,3}))?$/;

/** Undefined when the text is not a quantity. */
export function parseQuantity(text: string): Quantity | undefined {
  const match = GRAMMAR.exec(text);
  if (match === null) return undefined;
  const [, sign = "", whole = "", fraction = "", binary, decimal, exponent] = match;
  if (whole === "" && fraction === "") return undefined;
  const digits = BigInt(`${whole}${fraction}`);
  const magnitude =
    binary !== undefined
      ? scaled(digits * 1024n ** BigInt(BINARY.indexOf(binary as (typeof BINARY)[number])), 9 - fraction.length)
      : scaled(digits, 9 - fraction.length + (exponent !== undefined ? Number(exponent) : (DECIMAL_EXPONENT[decimal ?? ""] ?? 0)));
  return {
    nanos: sign === "-" ? -magnitude : magnitude,
    format: binary !== undefined ? "BinarySI" : exponent !== undefined ? "DecimalExponent" : "DecimalSI",
  };
}

/** Value times ten to the `power`, away from zero where digits are lost. */
function scaled(value: bigint, power: number): bigint {
  if (power >= 0) return value * 10n ** BigInt(power);
  const divisor = 10n ** BigInt(-power);
  return (value + divisor - 1n) / divisor;
}

/** The quantity as a whole number, rounded up: bytes of a storage request, whole cores of a CPU limit. Throws VALIDATION_FAILED when the text is not a quantity. */
export function quantityValue(text: string): bigint {
  const quantity = parseQuantity(text);
  if (quantity === undefined) throw new DrayError("VALIDATION_FAILED", `Cannot use quantity "${text}": a number with a suffix such as "10Gi" is wanted`);
  return quantity.nanos >= 0n ? (quantity.nanos + NANO - 1n) / NANO : -((-quantity.nanos + NANO - 1n) / NANO);
}

/** The shortest exact text in the quantity's own family: `10Gi`, `1500m`. A fraction of a byte makes binary fall back to decimal. */
export function formatQuantity(quantity: Quantity): string {
  const { nanos } = quantity;
  if (nanos === 0n) return "0";
  const sign = nanos < 0n ? "-" : "";
  const magnitude = nanos < 0n ? -nanos : nanos;
  if (quantity.format === "BinarySI" && magnitude % NANO === 0n) {
    let value = magnitude / NANO;
    let step = 0;
    while (step < BINARY.length - 1 && value % 1024n === 0n) {
      value /= 1024n;
      step++;
    }
    return `${sign}${value}${BINARY[step]}`;
  }
  let value = magnitude;
  let exponent = -9;
  while (exponent < 18 && value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  if (quantity.format === "DecimalExponent") return exponent === 0 ? `${sign}${value}` : `${sign}${value}e${exponent}`;
  const suffix = Object.entries(DECIMAL_EXPONENT).find(([, power]) => power === exponent)?.[0] ?? "";
  return `${sign}${value}${suffix}`;
}

/** A byte count as a storage request: `1Gi`, `10485761`. */
export function bytesQuantity(bytes: bigint | number): string {
  return formatQuantity({ nanos: BigInt(bytes) * NANO, format: "BinarySI" });
}

/** Negative, zero or positive as `a` is smaller than, equal to or larger than `b`. Throws VALIDATION_FAILED when one is not a quantity. */
export function compareQuantities(a: string, b: string): number {
  const [left, right] = [parseQuantity(a), parseQuantity(b)];
  if (left === undefined || right === undefined) {
    throw new DrayError("VALIDATION_FAILED", `Cannot compare quantities "${a}" and "${b}": a number with a suffix such as "10Gi" is wanted`);
  }
  return left.nanos < right.nanos ? -1 : left.nanos > right.nanos ? 1 : 0;
}
