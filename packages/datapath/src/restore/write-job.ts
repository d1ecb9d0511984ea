/**
 * What is handed to a writer: the bytes of a range, and what is to become of each content in it. Numbers lie in columns, so that a job of a thousand small files crosses to
 * another thread as a few arrays and not as thousands of objects.
 */
import { type Code, DrayError, type ErrorContext, isDrayError, messageOf } from "@drayage/base";
import type { Hole, StoredAttribute } from "@drayage/repo";

/** The numbers of a content. */
export const CONTENT = { at: 0, length: 1, originalLength: 2, form: 3, targets: 4, columns: 5 } as const;
/**
 * The numbers of a target. `place` is the index of its directory, or the file descriptor of a part; `offset` is that of a part; `length` of a part of a device is how much of the
 * content is written, and shares its column with what a device has not.
 */
export const TARGET = { kind: 0, place: 1, offset: 2, mode: 3, uid: 4, length: 4, gid: 5, seconds: 6, nanoseconds: 7, columns: 8 } as const;

/** A file that has one content or none: it is made, written, given its attributes and closed. */
export const WHOLE_FILE = 0;
/** A symbolic link, whose target the content is. */
export const LINK = 1;
/** A stretch of an open file. `mode` is a second descriptor, which writes past the system's cache, or -1 (direct-files.ts). */
export const PART = 2;
/** A stretch of a block device: zeros are written, too. `mode` is a second descriptor, without direct I/O. */
export const DEVICE_PART = 3;

/** Nothing is written: the content is only looked at. */
export const CHECK = 4;

export interface WriteJob {
  readonly bytes: Uint8Array;
  /** The pack that the bytes are of. Undefined when they are the plaintext of the only content. */
  readonly pack: string | undefined;
  readonly contents: Float64Array;
  readonly contentIds: readonly string[];
  readonly targets: Float64Array;
  /** Byte strings: the name of a file or link, the whole path of a part, for messages. */
  readonly names: readonly string[];
  readonly directories: readonly { readonly fd: number; readonly path: string }[];
  /** What few targets have, by their index. */
  readonly extras: ReadonlyMap<number, TargetExtras>;
  /** Compare every content with its id. */
  readonly check: boolean;
}

export interface TargetExtras {
  readonly xattrs?: readonly StoredAttribute[];
  /** Those of the file that touch this target. */
  readonly holes?: readonly Hole[];
}

export interface WriteResult {
  /** Contents that could not be decoded: none of their targets was touched. */
  readonly badContents: readonly { readonly index: number; readonly error: PlainError }[];
  readonly failures: readonly { readonly target: number; readonly error: PlainError }[];
  readonly warnings: readonly { readonly target: number; readonly error: PlainError }[];
  /** Damaged parts that error correction put right in this job. */
  readonly repairedShards: number;
  /** Whether it was stopped: then targets may have been left out. */
  readonly stopped: boolean;
}

/** An error as it crosses between threads, where classes are lost. */
export interface PlainError {
  readonly code: Code | undefined;
  readonly message: string;
  readonly context?: ErrorContext;
  readonly hint?: string;
  readonly stack?: string;
}

export function plainErrorOf(error: unknown): PlainError {
  if (isDrayError(error)) {
    return { code: error.code, message: error.message, context: error.context, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  }
  return { code: undefined, message: messageOf(error), ...(error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {}) };
}

export function errorOf({ code, message, context, hint, stack }: PlainError): Error {
  if (code !== undefined) return new DrayError(code, message, { ...(context === undefined ? {} : { context }), ...(hint === undefined ? {} : { hint }) });
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
