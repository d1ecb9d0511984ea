/** The stretches of a file that hold data, as SEEK_DATA and SEEK_HOLE tell them. In doubt a stretch counts as data: reading zeros costs time, taking data for a hole loses it. */
import { DrayError } from "@drayage/base";
import type { Extent } from "../types.ts";

/** Linux's `lseek` beyond SEEK_SET, SEEK_CUR and SEEK_END. */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
/** A file may have as many extents as blocks; behind so many everything counts as data, so that memory does not grow with them. */
export const EXTENTS_MAX = 65_536;

/** One `lseek` of an open file: the offset reached, or the error with its `errno` in the context. */
export type Seek = (offset: number, whence: typeof SEEK_DATA | typeof SEEK_HOLE) => number | DrayError;

/** The data of a file of `size` bytes, in order of offset. Throws what `seek` gives for a reason that is not the file's layout. */
export function dataExtentsBy(seek: Seek, size: number): Extent[] {
  const extents: Extent[] = [];
  const rest = (offset: number): Extent[] => [...extents, { offset, length: size - offset }];
  for (let at = 0; at < size; ) {
    const start = seek(at, SEEK_DATA);
    if (start instanceof DrayError) {
      const errno = start.context["errno"];
      // Past the last data there is nothing more; a file system that knows no holes answers EINVAL.
      if (errno === "ENXIO") return extents;
      if (errno === "EINVAL" || start.code === "NOT_SUPPORTED") return rest(at);
      throw start;
    }
    if (start >= size) return extents;
    const end = extents.length + 1 === EXTENTS_MAX ? size : seek(start, SEEK_HOLE);
    // The file shrank between the two calls, or its end cannot be told: reading will show.
    if (end instanceof DrayError || end <= start) return rest(start);
    extents.push({ offset: start, length: Math.min(end, size) - start });
    at = end;
  }
  return extents;
}
