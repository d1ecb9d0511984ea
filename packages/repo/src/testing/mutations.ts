/** Damages bytes in the ways that find what a decoder takes on trust. All of it comes from a seed. */
import type { RandomSource } from "@drayage/base";

/** Numbers at which lengths and counts go wrong. */
const NUMBERS = ["0", "-1", "1e400", "2147483648", "4294967295", "9007199254740993", "9223372036854775807", "18446744073709551616", "0.5"];
const WORDS = [
  "null",
  "[]",
  "{}",
  '""',
  "true",
  '"\\ud800"',
  '{"__proto__":{}}',
  "[[[[[[[[[[",
  "Infinity",
  '"1601-01-01T00:00:00Z"',
  '"99999-01-01T00:00:00Z"',
];
const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x22, 0x5c, 0x7b, 0x5d];

type Mutation = (bytes: Buffer, pick: (limit: number) => number, random: RandomSource) => Buffer;

const mutations: readonly Mutation[] = [
  (bytes, pick) => {
    const at = pick(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << pick(8));
    return bytes;
  },
  (bytes, pick) => {
    bytes[pick(bytes.length)] = BYTES[pick(BYTES.length)] ?? 0;
    return bytes;
  },
  (bytes, pick) => bytes.subarray(0, pick(bytes.length + 1)),
  (bytes, pick) => {
    const [from, count] = [pick(bytes.length), pick(16)];
    return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + count)]);
  },
  (bytes, pick, random) => {
    const at = pick(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + pick(8)), bytes.subarray(at)]);
  },
  (bytes, pick) => {
    const [from, to] = [pick(bytes.length), pick(bytes.length + 1)];
    return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from, from + pick(64)), bytes.subarray(to)]);
  },
  // Another number, another word: what keeps JSON valid reaches deeper.
  (bytes, pick) => replaced(bytes, /-?\d+(\.\d+)?/g, NUMBERS[pick(NUMBERS.length)] ?? "0", pick),
  (bytes, pick) => replaced(bytes, /"(?:[^"\\]|\\.)*"|true|false|null|\d+/g, WORDS[pick(WORDS.length)] ?? "null", pick),
  (bytes, pick) => replaced(bytes, /"[a-zA-Z]+":/g, "", pick),
];

/** A damaged copy: one to four mutations. */
export function mutate(example: Uint8Array, random: RandomSource): Uint8Array {
  const pick = (limit: number): number => Math.floor(random.fraction() * Math.max(1, limit));
  let bytes = Buffer.from(example);
  for (let left = 1 + pick(4); left > 0; left--) bytes = Buffer.from(mutations[pick(mutations.length)]?.(bytes, pick, random) ?? bytes);
  return new Uint8Array(bytes);
}

function replaced(bytes: Buffer, pattern: RegExp, by: string, pick: (limit: number) => number): Buffer {
  const text = bytes.toString("latin1");
  const found = [...text.matchAll(pattern)];
  const match = found[pick(found.length)];
  if (match === undefined) return bytes;
  return Buffer.from(text.slice(0, match.index) + by + text.slice(match.index + match[0].length), "latin1");
}
