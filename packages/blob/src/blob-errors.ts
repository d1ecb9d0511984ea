import { DrayError } from "@drayage/base";
import type { ByteRange } from "./object-store.ts";
import type { BlobId, GetBlobOptions } from "./storage.ts";

/** The errors that every provider words in the same way. */

export function blobNotFound(place: string, id: BlobId, cause?: unknown): DrayError {
  return new DrayError("BLOB_NOT_FOUND", `Cannot read blob "${id}" of ${place}: it is not there`, { cause, context: { blob: id } });
}

export function blobAlreadyExists(place: string, id: BlobId, cause?: unknown): DrayError {
  return new DrayError("BLOB_ALREADY_EXISTS", `Cannot create blob "${id}" in ${place}: there is one of that name`, { cause, context: { blob: id } });
}

export function invalidRange(place: string, id: BlobId, options: GetBlobOptions, have: number | undefined, cause?: unknown): DrayError {
  const length = options.length === undefined ? "the rest" : `${options.length} bytes`;
  const what = have === undefined ? "it is shorter" : `it has ${have} bytes`;
  return new DrayError("BLOB_INVALID_RANGE", `Cannot read ${length} from ${options.offset ?? 0} of blob "${id}" of ${place}: ${what}`, {
    cause,
    context: { blob: id },
  });
}

export function objectNotFound(place: string, key: string, cause?: unknown): DrayError {
  return new DrayError("BLOB_NOT_FOUND", `Cannot read "${key}" of ${place}: it is not there`, { cause, context: { key } });
}

export function objectRangeMissing(place: string, key: string, { offset, length }: ByteRange, cause?: unknown): DrayError {
  return new DrayError("BLOB_INVALID_RANGE", `Cannot read ${length} bytes from ${offset} of "${key}" of ${place}: it is shorter`, { cause, context: { key } });
}

/** The range of a blob of `have` bytes that the options name; throws BLOB_INVALID_RANGE when it is not inside. */
export function rangeOf(place: string, id: BlobId, options: GetBlobOptions, have: number): { readonly offset: number; readonly length: number } {
  const offset = options.offset ?? 0;
  const length = options.length ?? have - offset;
  if (!Number.isInteger(offset) || !Number.isInteger(length) || offset < 0 || length < 0 || offset + length > have)
    throw invalidRange(place, id, options, have);
  return { offset, length };
}
