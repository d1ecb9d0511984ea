/**
 * One Snappy block: the plain length as uvarint, then literals and copies (layout in s2-stream.ts). Greedy matching of four bytes through a hash table;
 * data that does not repeat is searched in ever larger steps, so that it costs little.
 */
const HASH_BITS = 14;
const MATCH_BYTES_MIN = 4;
/** Positions from which four bytes can still be read, with room for a literal at the end. */
const TAIL_BYTES = 15;
const COPY_BYTES_MAX = 64;
const table = new Uint16Array(1 << HASH_BITS);

/** Encodes up to 65,536 bytes. */
export function encodeSnappyBlock(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(32 + data.length + Math.ceil(data.length / 6));
  let filled = 0;
  for (let length = data.length; ; length >>>= 7) {
    out[filled++] = length < 0x80 ? length : (length & 0x7f) | 0x80;
    if (length < 0x80) break;
  }
  table.fill(0);
  const limit = data.length - TAIL_BYTES;
  let literalFrom = 0;
  let at = 1;
  let misses = 32;
  while (at < limit) {
    const word = wordAt(data, at);
    const slot = Math.imul(word, 0x1e35a7bd) >>> (32 - HASH_BITS);
    const candidate = table[slot] as number;
    table[slot] = at;
    if (candidate >= at || wordAt(data, candidate) !== word) {
      at += misses++ >>> 5;
      continue;
    }
    misses = 32;
    filled = emitLiteral(data, literalFrom, at, out, filled);
    let end = at + MATCH_BYTES_MIN;
    for (let from = candidate + MATCH_BYTES_MIN; end < data.length && data[end] === data[from]; from++) end++;
    filled = emitCopy(at - candidate, end - at, out, filled);
    at = end;
    literalFrom = end;
  }
  filled = emitLiteral(data, literalFrom, data.length, out, filled);
  return out.subarray(0, filled);
}

function wordAt(data: Uint8Array, at: number): number {
  return (data[at] as number) | ((data[at + 1] as number) << 8) | ((data[at + 2] as number) << 16) | ((data[at + 3] as number) << 24);
}

function emitLiteral(data: Uint8Array, from: number, to: number, out: Uint8Array, at: number): number {
  let next = at;
  const last = to - from - 1;
  if (last < 0) return next;
  if (last < 60) {
    out[next++] = last << 2;
  } else if (last < 0x100) {
    out[next++] = 60 << 2;
    out[next++] = last;
  } else {
    out[next++] = 61 << 2;
    out[next++] = last & 0xff;
    out[next++] = last >>> 8;
  }
  out.set(data.subarray(from, to), next);
  return next + to - from;
}

function emitCopy(offset: number, length: number, out: Uint8Array, at: number): number {
  let next = at;
  for (let rest = length; rest > 0; ) {
    const piece = Math.min(rest, COPY_BYTES_MAX);
    out[next++] = ((piece - 1) << 2) | 2;
    out[next++] = offset & 0xff;
    out[next++] = offset >>> 8;
    rest -= piece;
  }
  return next;
}
