import { type Code, DrayError, isDrayError, messageOf } from "@drayage/base";

/** What an errno of the file system means for a storage on it. ENOENT and EEXIST depend on what was done and are the caller's. */
const MEANING: Readonly<Record<string, { readonly code: Code; readonly what: string; readonly hint?: string }>> = {
  ENOSPC: { code: "BLOB_NO_SPACE", what: "the disk is full", hint: "Free space on it or grow it, then run again; nothing half-written was left behind." },
  EDQUOT: { code: "BLOB_NO_SPACE", what: "the disk quota is used up", hint: "Raise the quota or free space, then run again." },
  EFBIG: { code: "BLOB_NO_SPACE", what: "the file system does not take a file of that size" },
  EACCES: { code: "BLOB_ACCESS_DENIED", what: "permission is denied", hint: "Check owner and mode of the folder and the user this program runs as." },
  EPERM: { code: "BLOB_ACCESS_DENIED", what: "the operation is not permitted" },
  EROFS: { code: "BLOB_ACCESS_DENIED", what: "the file system is mounted read-only" },
  ENOTDIR: { code: "BLOB_BAD_CONFIG", what: "a part of the path is not a folder" },
  ENAMETOOLONG: { code: "BLOB_BAD_CONFIG", what: "the path is too long for the file system" },
};

/** Translates an error of the file system; one that is ours already passes. `action` is the first half of the message: `Cannot store blob "x" in file:///repo`. */
export function translateFsError(error: unknown, action: string): DrayError {
  if (isDrayError(error)) return error;
  const errno = errnoOf(error);
  const meaning = errno === undefined ? undefined : MEANING[errno];
  // What is left (EIO, ESTALE, EMFILE, ETIMEDOUT of a network file system, …) may pass.
  if (meaning === undefined) return new DrayError("BLOB_UNAVAILABLE", `${action}: ${messageOf(error)}`, { cause: error, context: { errno } });
  return new DrayError(meaning.code, `${action}: ${meaning.what}`, {
    cause: error,
    context: { errno },
    ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
  });
}

export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
