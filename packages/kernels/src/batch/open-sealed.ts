/**
 * Contents of restic repositories, many in one call: authenticated (Poly1305-AES), decrypted (AES-256-CTR), expanded (zstd) and compared with the SHA-256 that they are named by. Eight
 * messages are hashed side by side where the processor has vectors and no instructions for the hash: that is the largest part of the work.
 *
 * What does not come out right is only marked: the caller opens it by itself, and hears what is the matter. A row is SEALED_CONTENT.columns numbers; native/sealed.h has the same layout.
 */
import type { NativeAddon } from "../native/addon.ts";

export const SEALED_CONTENT = {
  /** Where the stored bytes lie in the data: iv, ciphertext, tag. */
  start: 0,
  length: 1,
  /** Where the content goes in `out`, and how long it is. */
  plainStart: 2,
  plainLength: 3,
  /** 0, or another number for zstd. */
  isCompressed: 4,
  columns: 5,
} as const;

export interface SealedContents {
  /** Used up: compressed contents are decrypted where they lie. Those that did not come out right are as they were. */
  readonly data: Uint8Array;
  readonly rows: Float64Array;
  readonly count: number;
  /** 32 bytes each, one behind the other. */
  readonly ids: Uint8Array;
  /** Must not overlap the data. */
  readonly out: Uint8Array;
  /** Becomes 1 for each content that lies in `out` as its id says, 0 for the others. */
  readonly done: Uint8Array;
}

/** `key` has 64 bytes: encryption, then k and r of the authentication. */
export type OpenSealed = (key: Uint8Array, contents: SealedContents) => void;

/** Undefined where the addon was compiled, or runs, without what it needs. */
export function nativeOpenSealed({ openSealed }: NativeAddon): OpenSealed | undefined {
  if (openSealed === undefined) return undefined;
  return (key, { data, rows, count, ids, out, done }) => openSealed(key, data, rows, count, ids, out, done);
}
