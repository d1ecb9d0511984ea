import { randomFillSync } from "node:crypto";
import { toHex } from "./bytes.ts";

/** Randomness is injected, so that a seed replays a run. */
export interface RandomSource {
  /** `length` fresh bytes. */
  bytes(length: number): Uint8Array;
  /** A number in [0, 1). */
  fraction(): number;
}

/** Cryptographically strong randomness of the machine. */
export const systemRandom: RandomSource = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
  fraction: () => {
    const word = new DataView(randomFillSync(new Uint8Array(8)).buffer);
    return (word.getUint32(0) * 2 ** 21 + (word.getUint32(4) >>> 11)) / 2 ** 53;
  },
};

/** `byteLength` random bytes as lower-case hex. */
export function randomHex(random: RandomSource, byteLength: number): string {
  return toHex(random.bytes(byteLength));
}

/** A random (version 4) UUID. */
export function randomUuid(random: RandomSource): string {
  const b = random.bytes(16);
  b[6] = ((b[6] ?? 0) & 0x0f) | 0x40;
  b[8] = ((b[8] ?? 0) & 0x3f) | 0x80;
  const hex = toHex(b);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Kubernetes' alphabet for generated names: no vowels and no look-alikes, so that no word comes out. */
const NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** A random suffix of `length` characters as Kubernetes appends to generateName. */
export function randomSuffix(random: RandomSource, length = 5): string {
  return Array.from(random.bytes(length), (byte) => NAME_ALPHABET[byte % NAME_ALPHABET.length]).join("");
}
