import { DrayError } from "@drayage/base";

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration that goes into an object as it is; refused here when the server would refuse it later. Throws USAGE, naming the flag. */
export function checkDuration(flag: string, text: string | undefined): string | undefined {
  if (text !== undefined) parseTimeout(text, `${flag} `);
  return text;
}

/** Milliseconds of `90s`, `10m`, `1h30m`; undefined when nothing was given. Throws USAGE. */
export function parseTimeout(text: string | undefined, subject = "duration "): number | undefined {
  if (text === undefined) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text)
    throw new DrayError("USAGE", `Cannot read ${subject}"${text}": a form like 90s, 10m or 1h30m is wanted`);
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? ""] ?? 0), 0);
}
