/**
 * Names of the blobs of the epoch protocol (kopia-format.md 1.1, 6.5).
 *
 *   xn<E>_<hash>-<session>-c<N>        index written in epoch E
 *   xs<E>_<hash>-s<random>-c<N>        all of epoch E in one
 *   xr<A>_<B>_<hash>-s<random>-c<N>    all of epochs A to B in one
 *   xe<E>                              the write epoch is E at least; content "epoch-marker"
 *   xw<unix seconds>                   deletions up to then are final; content "deletion-watermark"
 *
 * Numbers are decimal without padding. N counts the blobs that were written together.
 */
import type { BlobMetadata } from "@drayage/blob";

export const EPOCH_PREFIX = { uncompacted: "xn", single: "xs", range: "xr", marker: "xe", watermark: "xw" } as const;
export const MARKER_CONTENT = "epoch-marker";
export const WATERMARK_CONTENT = "deletion-watermark";

/** The epoch of an `xn`, `xs` or `xe` name, or the seconds of an `xw` name; undefined for anything else. */
export function numberOfName(id: string): number | undefined {
  const match = /^x[nsew](\d{1,15})(?:_|$)/.exec(id);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** The first and last epoch of an `xr` name. */
export function rangeOfName(id: string): readonly [first: number, last: number] | undefined {
  const match = /^xr(\d{1,15})_(\d{1,15})_/.exec(id);
  return match?.[1] === undefined || match[2] === undefined ? undefined : [Number(match[1]), Number(match[2])];
}

/**
 * The blobs of the first set that is complete, walking in order of names: blobs written together share what stands between the first and the second dash,
 * and their number is behind `-c`. A name of another form is a set of its own. Undefined when no set is complete.
 */
export function findCompleteSet(blobs: readonly BlobMetadata[]): readonly BlobMetadata[] | undefined {
  const sets = new Map<string, BlobMetadata[]>();
  for (const blob of blobs) {
    const match = /^[^-]*-(s[^-]*)-c(\d{1,9})$/.exec(blob.id);
    if (match?.[1] === undefined) return [blob];
    const set = sets.get(match[1]) ?? [];
    sets.set(match[1], set);
    set.push(blob);
    if (set.length === Number(match[2])) return set;
  }
  return undefined;
}
