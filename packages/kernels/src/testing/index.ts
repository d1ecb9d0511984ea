/** Repeatable data for tests: the generators behind the golden vectors, and the vectors themselves. */
import { hash } from "node:crypto";
import { constants, openSync } from "node:fs";

/** First `length` bytes of SHA-256(u32be(0) ‖ tag) ‖ SHA-256(u32be(1) ‖ tag) ‖ …: the `ctr` of the golden vectors. */
export function ctr(length: number, tag: Uint8Array = new Uint8Array()): Uint8Array {
  const out = new Uint8Array(Math.ceil(length / 32) * 32);
  const message = Buffer.alloc(4 + tag.length);
  message.set(tag, 4);
  for (let block = 0; block * 32 < length; block++) {
    message.writeUInt32BE(block);
    out.set(hash("sha256", message, "buffer"), block * 32);
  }
  return out.subarray(0, length);
}

/** The bytes first, first + 1, … */
export function sequence(first: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (first + i) & 0xff);
}

/** Bytes 8..15 of each state of xorshift32 from 0x12345678. */
export function xorshift(length: number): Uint8Array {
  const out = new Uint8Array(length);
  let x = 0x12345678;
  for (let i = 0; i < length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x >>> 8;
  }
  return out;
}

/** A file for direct reads, as far as its file system takes them: those in memory do not, and then it is open for ordinary ones. */
export function openDirect(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  } catch {
    return openSync(path, "r");
  }
}
