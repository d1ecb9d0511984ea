/**
 * Writing past the system's cache. Copying the data of large files into the cache, page by page in memory that was just looked for, is most of what a restore of them costs the system; the
 * disk can take whole blocks from where they lie.
 *
 * Whole blocks go that way through a descriptor of their own. What is left at the ends of a stretch shares its block with the stretch beside it: all of these go through the cache, so that
 * no block is ever written both ways.
 */
import { constants, openSync, statfsSync } from "node:fs";
import { DIRECT_BLOCK_BYTES, takesDirectWrites } from "@drayage/base";

/** Smaller files are not worth a second descriptor, and are likely to be read again soon. */
export const DIRECT_FILE_BYTES_MIN: number = 8 << 20;
/** Shorter stretches would wait for the disk longer than copying them takes. */
export const DIRECT_STRETCH_BYTES_MIN: number = 1 << 20;

/** A second descriptor of an open file, for writes past the cache; undefined where that cannot be had, or is not worth it. The very file is opened again, whatever has its name now. */
export function openDirect(fd: number, size: number): number | undefined {
  if (size < DIRECT_FILE_BYTES_MIN) return undefined;
  const path = `/proc/self/fd/${fd}`;
  try {
    const { type, bsize } = statfsSync(path);
    // With larger blocks one of them could be written both ways.
    if (!takesDirectWrites(type) || bsize > DIRECT_BLOCK_BYTES) return undefined;
    return openSync(path, constants.O_WRONLY | constants.O_DIRECT);
  } catch {
    // Writing through the cache does as well, and says what is wrong if something is.
    return undefined;
  }
}

/** Where the whole blocks of a stretch begin, and how many bytes they are. */
export function wholeBlocksOf(offset: number, length: number): { readonly head: number; readonly inner: number } {
  const head = Math.min(length, (DIRECT_BLOCK_BYTES - (offset % DIRECT_BLOCK_BYTES)) % DIRECT_BLOCK_BYTES);
  return { head, inner: length - head - ((length - head) % DIRECT_BLOCK_BYTES) };
}
