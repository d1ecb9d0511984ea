import { hasCode } from "@drayage/base";
import { blobNotFound, invalidRange, rangeOf } from "./blob-errors.ts";
import type { BlobId, GetBlobOptions } from "./storage.ts";

export interface RangeSource {
  readonly place: string;
  /** Bytes from `range.offset` on, at most `range.length` of them; the whole blob without a range. Throws BLOB_NOT_FOUND, BLOB_INVALID_RANGE. */
  fetch(range: { readonly offset: number; readonly length: number | undefined } | undefined): Promise<Uint8Array>;
  /** Bytes of the blob. Throws BLOB_NOT_FOUND. */
  length(): Promise<number>;
}

/** A range of a blob by the port's rules, from a store that speaks HTTP ranges, which cannot name an empty one and give less than is asked for at the end. */
export async function rangedGet(id: BlobId, options: GetBlobOptions, source: RangeSource): Promise<Uint8Array> {
  const { offset = 0, length } = options;
  const empty = async (): Promise<Uint8Array> => {
    rangeOf(source.place, id, { ...options, length: length ?? 0 }, await source.length());
    return new Uint8Array();
  };
  if (length === 0) return await empty();
  if (offset < 0 || (length !== undefined && length < 0)) throw invalidRange(source.place, id, options, undefined);
  try {
    const bytes = await source.fetch(offset === 0 && length === undefined ? undefined : { offset, length });
    if (length !== undefined && bytes.length < length) throw invalidRange(source.place, id, options, offset + bytes.length);
    return bytes;
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) throw blobNotFound(source.place, id, error);
    if (!hasCode(error, "BLOB_INVALID_RANGE")) throw error;
    // The bytes after the last one are none.
    if (length === undefined) return await empty();
    throw invalidRange(source.place, id, options, undefined, error);
  }
}

/** The value of a `Range` header. */
export function httpRange({ offset, length }: { readonly offset: number; readonly length: number | undefined }): string {
  return `bytes=${offset}-${length === undefined ? "" : offset + length - 1}`;
}
