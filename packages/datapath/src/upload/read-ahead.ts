/**
 * Reads ranges of an open file or device front to back, the next piece on its way while the last one is worked on.
 * Two buffers are all the memory it takes.
 */
import { read } from "node:fs";
import type { Extent } from "@drayage/kernels";

export interface ReadPiece {
  readonly offset: number;
  /** Valid until the next piece is asked for. Shorter than asked for, or empty, where the file ends early. */
  readonly data: Uint8Array;
}

export const PIECE_BYTES = 2 << 20;

/**
 * The bytes of the extents, in pieces. Ends early where the file does. Whoever stops before the end must `return()` the generator before the descriptor is closed: a read may be
 * under way, and the number may be another file's a moment later.
 * @param buffers - two of equal length; aligned, like the extents, where the file was opened for direct I/O
 */
export async function* readAhead(
  fd: number,
  extents: Iterable<Extent>,
  buffers: readonly [Uint8Array, Uint8Array],
): AsyncGenerator<ReadPiece, void, undefined> {
  const ranges = piecesOf(extents, buffers[0].length);
  let turn = 0;
  const start = (): Promise<ReadPiece & { readonly wanted: number }> | undefined => {
    const next = ranges.next();
    if (next.done === true) return undefined;
    const buffer = buffers[turn % 2] as Uint8Array;
    turn++;
    const piece = readAt(fd, buffer, next.value.length, next.value.offset).then((data) => ({ offset: next.value.offset, data, wanted: next.value.length }));
    // Awaited later, or by nobody when the consumer gives up.
    piece.catch(() => undefined);
    return piece;
  };
  let pending = start();
  try {
    while (pending !== undefined) {
      const piece: ReadPiece & { readonly wanted: number } = await pending;
      pending = piece.data.length < piece.wanted ? undefined : start();
      yield piece;
    }
  } finally {
    // The buffers and the descriptor are given back only when nothing is being read into them.
    await pending?.catch(() => undefined);
  }
}

function* piecesOf(extents: Iterable<Extent>, pieceBytes: number): Generator<Extent, undefined> {
  for (const { offset, length } of extents) {
    for (let at = 0; at < length; at += pieceBytes) yield { offset: offset + at, length: Math.min(pieceBytes, length - at) };
  }
  return undefined;
}

/** Up to `length` bytes from `offset` on; fewer only at the end of the file. */
async function readAt(fd: number, buffer: Uint8Array, length: number, offset: number): Promise<Uint8Array> {
  let done = 0;
  while (done < length) {
    const count = await new Promise<number>((resolve, reject) => {
      read(fd, buffer, done, length - done, offset + done, (error, bytesRead) => (error === null ? resolve(bytesRead) : reject(error)));
    });
    if (count === 0) break;
    done += count;
  }
  return buffer.subarray(0, done);
}
