/**
 * Files of which it is known that they have no extended attributes, those that ATTRIBUTES.none says nothing of: a kernel takes as long to list none as to examine a file. What is known is
 * of an inode as it was at one change of it, which a change of its attributes moves, and holds for all calls of the process and for those after it. Bounded: what does not fit is asked for.
 */
import type { NativeAddon } from "../native/addon.ts";

/** Of a key. */
export const UNATTRIBUTED_KEY_BYTES = 8;

export interface UnattributedFiles {
  /** Files are remembered from now on, and those that an earlier process met are known. @param keys - as `met` gave them; empty for none */
  remember(keys: Uint8Array): void;
  /** Keys of what this process met, one behind the other; undefined where it remembers nothing. They say nothing of who made them: keep them where only their owner can write. */
  met(): Uint8Array<ArrayBuffer> | undefined;
}

export interface RememberOptions {
  /** A file that was changed less than so long ago may be changed again at what its clock calls the same time. */
  readonly ageMs?: number;
  /** Also on file systems that may not note the time of each change, or not by this machine's clock: for tests. */
  readonly everywhere?: boolean;
}

/** The grain of a file system's times is a hundredth of it at most. */
const AGE_MS = 2_000;

export function nativeUnattributed(addon: NativeAddon, { ageMs = AGE_MS, everywhere = false }: RememberOptions = {}): UnattributedFiles {
  return {
    remember: (keys) => addon.rememberUnattributed(keys, ageMs, everywhere ? 1 : 0),
    met() {
      const keys = addon.metUnattributed();
      return keys === undefined ? undefined : new Uint8Array(keys);
    },
  };
}
