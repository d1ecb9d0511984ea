/**
 * Small files made whole, many in one call: created in open directories, written, given owner, mode and times, and closed. A file that cannot have everything is not left: the
 * caller makes it by ordinary calls, and hears what is the matter.
 *
 * A row is NEW_FILE.columns numbers; native/restore.h has the same layout.
 */
import type { NativeAddon } from "../native/addon.ts";

export const NEW_FILE = {
  /** The descriptor of its directory. */
  directory: 0,
  /** Where its bytes lie in the data. */
  start: 1,
  length: 2,
  /** The low 12 bits of st_mode. */
  mode: 3,
  uid: 4,
  gid: 5,
  /** The time of its last change, seconds since 1970 and the rest in nanoseconds, which is not negative. */
  seconds: 6,
  nanoseconds: 7,
  columns: 8,
} as const;

export interface NewFiles {
  /** Bytes, one name behind the other; `ends[i]` is where name i ends. */
  readonly names: Uint8Array;
  readonly ends: Uint32Array;
  readonly rows: Float64Array;
  readonly count: number;
  readonly data: Uint8Array;
  /** Remove what has the same name before, directories apart. */
  readonly replace: boolean;
  /** Becomes 1 for each file that is there with everything, 0 for the others. */
  readonly done: Uint8Array;
}

export type CreateFiles = (files: NewFiles) => void;

export function nativeCreateFiles(addon: NativeAddon): CreateFiles {
  return ({ names, ends, rows, count, data, replace, done }) => addon.createFiles(names, ends, rows, count, data, replace ? 1 : 0, done);
}
