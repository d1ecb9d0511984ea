/** The key of a content out of the text of its id, without a string between. */

/** Reads hex digits into `out` behind its first byte, which becomes 0; false for anything else. */
export function readHex(bytes: Uint8Array, from: number, to: number, out: Uint8Array): boolean {
  out[0] = 0;
  for (let at = from, i = 1; at < to; at += 2, i++) {
    const value = ((HEX[bytes[at] ?? 0] ?? 0) << 4) | (HEX[bytes[at + 1] ?? 0] ?? 0);
    if (value > 0xff) return false;
    out[i] = value;
  }
  return true;
}

/** The value of each byte that is a lower-case hex digit; of others more than any two of them. */
const NO_DIGIT = 0x1000;
const HEX: Uint16Array = Uint16Array.from({ length: 256 }, (_, byte) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte));
  return digit < 0 ? NO_DIGIT : digit;
});
