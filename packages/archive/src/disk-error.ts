import { DrayError, isDrayError, messageOf } from "@drayage/base";

/** Translates an error of the local disk, where tarballs are written and unpacked; one that is ours already passes. */
export function translateDiskError(error: unknown, action: string): DrayError {
  if (isDrayError(error)) return error;
  const errno = (error as { code?: unknown } | null)?.code;
  if (errno !== "ENOSPC" && errno !== "EDQUOT") return new DrayError("PATH_IO", `${action}: ${messageOf(error)}`, { cause: error });
  return new DrayError("PATH_NO_SPACE", `${action}: the disk is full`, {
    cause: error,
    hint: "The server unpacks tarballs on its scratch disk; give that more room.",
  });
}
