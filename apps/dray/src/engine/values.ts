/** Values of options, and the lines of `--json`. */
import { DrayError, parseBytes } from "@drayage/base";

/** A whole number above 0. Throws USAGE, naming the option. */
export function parseCount(option: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new DrayError("USAGE", `Cannot read ${option} "${text}": a whole number above 0 is wanted`);
  return Number(text);
}

/** Processors, in parts of one. Throws USAGE. */
export function parseCpu(text: string): number {
  const cpu = Number(text);
  if (!/^\d{1,3}(\.\d{1,3})?$/.test(text) || cpu < 0.05) {
    throw new DrayError("USAGE", `Cannot read --cpu "${text}": a number of processors of at least 0.05 is wanted`);
  }
  return cpu;
}

/** A number of bytes above 0, with K, M or G for a power of 1024. Throws USAGE, naming the option. */
export function parseByteCount(option: string, text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) {
    throw new DrayError("USAGE", `Cannot read ${option} "${text}": a whole number of bytes above 0 is wanted, with K, M or G behind it or not`);
  }
  return bytes;
}

/** `k=v` pairs of a repeated option. Throws USAGE. */
export function parsePairs(option: string, texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf("=");
      if (equals <= 0) throw new DrayError("USAGE", `Cannot read ${option} "${text}": name=value is wanted`);
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

/** For commander: gathers the values of an option that may be repeated. */
export function gather(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** An event of `--json` as a line. */
export function formatJson(event: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ ...event, schema: 1 })}\n`;
}
