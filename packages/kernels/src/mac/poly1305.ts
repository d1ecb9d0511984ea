/**
 * Poly1305 with a key given as it is: node:crypto has it only inside ChaCha20-Poly1305, with another key schedule and padding.
 *
 * The portable build keeps numbers of 130 bits as ten limbs of 13 bits, so that the sum of ten products of two limbs, of which some count five times, stays within 32 bits
 * (D. J. Bernstein, "The Poly1305-AES message-authentication code", section 4, with limbs that suit 32-bit integers).
 */
import { DrayError } from "@drayage/base";
import type { NativeAddon } from "../native/addon.ts";

export const POLY1305_KEY_BYTES = 32;
export const POLY1305_TAG_BYTES = 16;

/** The tag of `data` under `key`: 16 bytes r, which are clamped here, then 16 bytes s. */
export type Poly1305 = (key: Uint8Array, data: Uint8Array) => Uint8Array;

const LIMBS = 10;
const BITS = 13;
const MASK = 0x1fff;
const BLOCK_BYTES = 16;
/** 2^128, put above every whole block: bit 128 is bit 11 of the last limb. */
const ABOVE_BLOCK = 1 << 11;

/** Over the addon where it has the function. */
export function createPoly1305(addon?: NativeAddon): Poly1305 {
  const native = addon?.poly1305;
  if (native === undefined) return portablePoly1305;
  return (key, data) => {
    checkKey(key);
    const tag = new Uint8Array(POLY1305_TAG_BYTES);
    native(key, data, tag);
    return tag;
  };
}

export const portablePoly1305: Poly1305 = (key, data) => {
  checkKey(key);
  const r = limbsOf(clamped(key.subarray(0, 16)), 0);
  const h = new Int32Array(LIMBS);
  const whole = data.length - (data.length % BLOCK_BYTES);
  absorb(h, r, data, whole, ABOVE_BLOCK);
  if (whole < data.length) {
    const last = new Uint8Array(BLOCK_BYTES);
    last.set(data.subarray(whole));
    last[data.length - whole] = 1;
    absorb(h, r, last, BLOCK_BYTES, 0);
  }
  return finish(h, key.subarray(16));
};

function checkKey(key: Uint8Array): void {
  if (key.length !== POLY1305_KEY_BYTES) {
    throw new DrayError("INVARIANT", `Cannot authenticate: the key has ${key.length} bytes, ${POLY1305_KEY_BYTES} are wanted`);
  }
}

/** `r` with the bits cleared that the definition wants clear. */
function clamped(bytes: Uint8Array): Uint8Array {
  const r = bytes.slice();
  for (const at of [3, 7, 11, 15]) r[at] = (r[at] ?? 0) & 15;
  for (const at of [4, 8, 12]) r[at] = (r[at] ?? 0) & 252;
  return r;
}

function limbsOf(bytes: Uint8Array, at: number): Int32Array {
  const limbs = new Int32Array(LIMBS);
  for (let index = 0; index < LIMBS; index++) {
    const bit = index * BITS;
    const byte = at + (bit >>> 3);
    const end = at + BLOCK_BYTES;
    const value = (bytes[byte] ?? 0) | ((byte + 1 < end ? (bytes[byte + 1] ?? 0) : 0) << 8) | ((byte + 2 < end ? (bytes[byte + 2] ?? 0) : 0) << 16);
    limbs[index] = (value >>> (bit & 7)) & MASK;
  }
  return limbs;
}

/** h = (h + block) · r modulo 2^130 − 5, for every block of `data[0, length)`. Unrolled: this is where the time goes. */
function absorb(h: Int32Array, r: Int32Array, data: Uint8Array, length: number, above: number): void {
  let [h0 = 0, h1 = 0, h2 = 0, h3 = 0, h4 = 0, h5 = 0, h6 = 0, h7 = 0, h8 = 0, h9 = 0] = h;
  const [r0 = 0, r1 = 0, r2 = 0, r3 = 0, r4 = 0, r5 = 0, r6 = 0, r7 = 0, r8 = 0, r9 = 0] = r;
  const [s1, s2, s3, s4, s5, s6, s7, s8, s9] = [r1 * 5, r2 * 5, r3 * 5, r4 * 5, r5 * 5, r6 * 5, r7 * 5, r8 * 5, r9 * 5];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const t0 = view.getInt32(at, true);
    const t1 = view.getInt32(at + 4, true);
    const t2 = view.getInt32(at + 8, true);
    const t3 = view.getInt32(at + 12, true);
    h0 = (h0 + (t0 & MASK)) | 0;
    h1 = (h1 + ((t0 >>> 13) & MASK)) | 0;
    h2 = (h2 + (((t0 >>> 26) | (t1 << 6)) & MASK)) | 0;
    h3 = (h3 + ((t1 >>> 7) & MASK)) | 0;
    h4 = (h4 + (((t1 >>> 20) | (t2 << 12)) & MASK)) | 0;
    h5 = (h5 + ((t2 >>> 1) & MASK)) | 0;
    h6 = (h6 + ((t2 >>> 14) & MASK)) | 0;
    h7 = (h7 + (((t2 >>> 27) | (t3 << 5)) & MASK)) | 0;
    h8 = (h8 + ((t3 >>> 8) & MASK)) | 0;
    h9 = (h9 + ((t3 >>> 21) | above)) | 0;

    let c = 0;
    let d = 0;
    d = (Math.imul(h0, r0) + Math.imul(h1, s9) + Math.imul(h2, s8) + Math.imul(h3, s7) + Math.imul(h4, s6)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, s5) + Math.imul(h6, s4) + Math.imul(h7, s3) + Math.imul(h8, s2) + Math.imul(h9, s1)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g0 = d & MASK;
    d = (c + Math.imul(h0, r1) + Math.imul(h1, r0) + Math.imul(h2, s9) + Math.imul(h3, s8) + Math.imul(h4, s7)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, s6) + Math.imul(h6, s5) + Math.imul(h7, s4) + Math.imul(h8, s3) + Math.imul(h9, s2)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g1 = d & MASK;
    d = (c + Math.imul(h0, r2) + Math.imul(h1, r1) + Math.imul(h2, r0) + Math.imul(h3, s9) + Math.imul(h4, s8)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, s7) + Math.imul(h6, s6) + Math.imul(h7, s5) + Math.imul(h8, s4) + Math.imul(h9, s3)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g2 = d & MASK;
    d = (c + Math.imul(h0, r3) + Math.imul(h1, r2) + Math.imul(h2, r1) + Math.imul(h3, r0) + Math.imul(h4, s9)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, s8) + Math.imul(h6, s7) + Math.imul(h7, s6) + Math.imul(h8, s5) + Math.imul(h9, s4)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g3 = d & MASK;
    d = (c + Math.imul(h0, r4) + Math.imul(h1, r3) + Math.imul(h2, r2) + Math.imul(h3, r1) + Math.imul(h4, r0)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, s9) + Math.imul(h6, s8) + Math.imul(h7, s7) + Math.imul(h8, s6) + Math.imul(h9, s5)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g4 = d & MASK;
    d = (c + Math.imul(h0, r5) + Math.imul(h1, r4) + Math.imul(h2, r3) + Math.imul(h3, r2) + Math.imul(h4, r1)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, r0) + Math.imul(h6, s9) + Math.imul(h7, s8) + Math.imul(h8, s7) + Math.imul(h9, s6)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g5 = d & MASK;
    d = (c + Math.imul(h0, r6) + Math.imul(h1, r5) + Math.imul(h2, r4) + Math.imul(h3, r3) + Math.imul(h4, r2)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, r1) + Math.imul(h6, r0) + Math.imul(h7, s9) + Math.imul(h8, s8) + Math.imul(h9, s7)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g6 = d & MASK;
    d = (c + Math.imul(h0, r7) + Math.imul(h1, r6) + Math.imul(h2, r5) + Math.imul(h3, r4) + Math.imul(h4, r3)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, r2) + Math.imul(h6, r1) + Math.imul(h7, r0) + Math.imul(h8, s9) + Math.imul(h9, s8)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g7 = d & MASK;
    d = (c + Math.imul(h0, r8) + Math.imul(h1, r7) + Math.imul(h2, r6) + Math.imul(h3, r5) + Math.imul(h4, r4)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, r3) + Math.imul(h6, r2) + Math.imul(h7, r1) + Math.imul(h8, r0) + Math.imul(h9, s9)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g8 = d & MASK;
    d = (c + Math.imul(h0, r9) + Math.imul(h1, r8) + Math.imul(h2, r7) + Math.imul(h3, r6) + Math.imul(h4, r5)) | 0;
    c = d >>> 13;
    d = ((d & MASK) + Math.imul(h5, r4) + Math.imul(h6, r3) + Math.imul(h7, r2) + Math.imul(h8, r1) + Math.imul(h9, r0)) | 0;
    c = (c + (d >>> 13)) | 0;
    const g9 = d & MASK;
    d = (g0 + c * 5) | 0;
    h0 = d & MASK;
    h1 = (g1 + (d >>> 13)) | 0;
    h2 = g2;
    h3 = g3;
    h4 = g4;
    h5 = g5;
    h6 = g6;
    h7 = g7;
    h8 = g8;
    h9 = g9;
  }
  h.set([h0, h1, h2, h3, h4, h5, h6, h7, h8, h9]);
}

/** The number reduced fully, plus s, modulo 2^128, in the order of little-endian bytes. Once a message: big integers are quick enough. */
function finish(h: Int32Array, s: Uint8Array): Uint8Array {
  let value = 0n;
  for (let index = LIMBS - 1; index >= 0; index--) value = (value << BigInt(BITS)) + BigInt(h[index] ?? 0);
  const view = new DataView(s.buffer, s.byteOffset, BLOCK_BYTES);
  const sum = (value % ((1n << 130n) - 5n)) + view.getBigUint64(0, true) + (view.getBigUint64(8, true) << 64n);
  const tag = new DataView(new ArrayBuffer(POLY1305_TAG_BYTES));
  tag.setBigUint64(0, BigInt.asUintN(64, sum), true);
  tag.setBigUint64(8, BigInt.asUintN(64, sum >> 64n), true);
  return new Uint8Array(tag.buffer);
}
