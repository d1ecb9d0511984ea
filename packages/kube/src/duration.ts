import { DrayError } from "@drayage/base";

const UNIT_NS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const MAX_NS = 2n ** 63n - 1n;
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;

/**
 * Milliseconds of a duration in Go's notation, as `metav1.Duration` is stored: `10m0s`, `1.5h`, `-2s`, `0`.
 * Undefined when the text is not one or does not fit 64 bits of nanoseconds; what is finer than a millisecond stays as a fraction.
 */
export function parseDuration(text: string): number | undefined {
  const ns = parseDurationNs(text);
  return ns === undefined ? undefined : Number(ns / 1_000_000n) + Number(ns % 1_000_000n) / 1e6;
}

/** Milliseconds of a duration that must be one. `field` names it in the message of VALIDATION_FAILED. */
export function requireDuration(text: string, field: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new DrayError("VALIDATION_FAILED", `Cannot use ${field} "${text}": a duration such as "10m0s" is wanted`);
  return ms;
}

function parseDurationNs(text: string): bigint | undefined {
  const negative = text.startsWith("-");
  const body = negative || text.startsWith("+") ? text.slice(1) : text;
  if (body === "0") return 0n;
  if (body === "") return undefined;
  let total = 0n;
  PART.lastIndex = 0;
  let at = 0;
  while (at < body.length) {
    PART.lastIndex = at;
    const match = PART.exec(body);
    const unit = UNIT_NS[match?.[2] ?? ""];
    if (match?.[1] === undefined || unit === undefined) return undefined;
    const [whole = "", fraction = ""] = match[1].split(".");
    total += BigInt(whole === "" ? "0" : whole) * unit;
    // Digits beyond the nanosecond are cut, as Go cuts them.
    if (fraction !== "") total += (BigInt(fraction.slice(0, 18).padEnd(18, "0")) * unit) / 10n ** 18n;
    if (total > MAX_NS) return undefined;
    at = PART.lastIndex;
  }
  return negative ? -total : total;
}

/** A duration in Go's notation: `10m0s`, `1h0m0s`, `1.5s`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  // In two parts, since a few years of nanoseconds are more than a number holds exactly.
  const wholeMs = Math.trunc(Math.abs(ms));
  const ns = BigInt(wholeMs) * 1_000_000n + BigInt(Math.round((Math.abs(ms) - wholeMs) * 1e6));
  const sign = ms < 0 && ns > 0n ? "-" : "";
  if (ns === 0n) return "0s";
  if (ns < 1_000n) return `${sign}${ns}ns`;
  if (ns < 1_000_000n) return `${sign}${decimal(ns, 1_000n)}µs`;
  if (ns < 1_000_000_000n) return `${sign}${decimal(ns, 1_000_000n)}ms`;
  const totalSeconds = ns / 1_000_000_000n;
  const hours = totalSeconds / 3600n;
  const minutes = (totalSeconds % 3600n) / 60n;
  const seconds = `${decimal(ns % 60_000_000_000n, 1_000_000_000n)}s`;
  return `${sign}${hours > 0n ? `${hours}h` : ""}${totalSeconds >= 60n ? `${minutes}m` : ""}${seconds}`;
}

function decimal(value: bigint, unit: bigint): string {
  const rest = (value % unit)
    .toString()
    .padStart(unit.toString().length - 1, "0")
    .replace(/0+$/, "");
  return rest === "" ? `${value / unit}` : `${value / unit}.${rest}`;
}
