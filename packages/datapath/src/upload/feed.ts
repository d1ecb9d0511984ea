/** Hands bytes to an object, runs of zeros as such: finding them costs next to nothing, hashing them would cost as much as data. */
import { asBuffer } from "@drayage/base";
import type { ObjectWriter } from "@drayage/repo";

const BLOCK_BYTES = 64 << 10;
const zeros = Buffer.alloc(BLOCK_BYTES);

export async function feed(object: ObjectWriter, data: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  const bytes = asBuffer(data);
  let start = 0;
  let startIsZero = false;
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const isZero = isZeroBlock(bytes, at);
    if (isZero === startIsZero) continue;
    if (at > start) await put(object, bytes, start, at, startIsZero, signal);
    start = at;
    startIsZero = isZero;
  }
  if (bytes.length > start) await put(object, bytes, start, bytes.length, startIsZero, signal);
}

async function put(object: ObjectWriter, bytes: Buffer, from: number, to: number, isZero: boolean, signal: AbortSignal | undefined): Promise<void> {
  if (isZero) await object.writeZeros(to - from, signal);
  else await object.write(bytes.subarray(from, to), signal);
}

function isZeroBlock(bytes: Buffer, at: number): boolean {
  // The first byte decides nearly always.
  if (bytes[at] !== 0) return false;
  const end = Math.min(at + BLOCK_BYTES, bytes.length);
  return bytes.compare(zeros, 0, end - at, at, end) === 0;
}
