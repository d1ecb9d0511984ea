/** Errors of the volume's own file system, translated where they arise: the only place that knows errno. */
import { type Code, DrayError, isDrayError } from "@drayage/base";
import { ERRNO_WITHOUT_NAME } from "@drayage/kernels";
import { textOfByteString as textOfPath } from "@drayage/repo";

const BY_ERRNO: Readonly<Record<string, Code>> = {
  ENOENT: "PATH_NOT_FOUND",
  ENOTDIR: "PATH_NOT_FOUND",
  EACCES: "NOT_PERMITTED",
  EPERM: "NOT_PERMITTED",
  EROFS: "NOT_PERMITTED",
  ENOSPC: "PATH_NO_SPACE",
  EDQUOT: "PATH_NO_SPACE",
};

/** What each errno means to people who do not know them by heart. */
const MEANING: Readonly<Record<string, string>> = {
  ENOENT: "it is not there",
  ENOTDIR: "it is not a directory",
  EISDIR: "it is a directory",
  EEXIST: "there is something of that name",
  ELOOP: "it is a symbolic link",
  EACCES: "permission denied",
  EPERM: "the operation is not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the quota is used up",
  EIO: "the device reports an input/output error",
  ENAMETOOLONG: "the name is too long for this file system",
  EINVAL: "the file system does not take it",
  EMFILE: "too many files are open",
  ETXTBSY: "it is being run",
  EBUSY: "it is in use",
  EFBIG: "it is larger than this file system allows",
  EUCLEAN: "the file system is damaged there",
  EBADMSG: "the file system is damaged there: its checksum does not match",
  ESTALE: "the file server does not know it any more",
  EREMOTEIO: "the device reports a remote input/output error",
  ENOKEY: "it is encrypted, and its key is not loaded",
  EKEYEXPIRED: "it is encrypted, and its key has expired",
  EKEYREVOKED: "it is encrypted, and its key was revoked",
  ENOMEDIUM: "there is no medium in the device",
};

/** The errno name of a failed call of node:fs or of the system-call kernel, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (isDrayError(error)) {
    const errno = error.context["errno"];
    return typeof errno === "string" ? errno : undefined;
  }
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (typeof code !== "string") return undefined;
  const number = /^Unknown system error -(\d+)$/.exec(code)?.[1];
  if (number !== undefined) return ERRNO_WITHOUT_NAME[Number(number)] ?? `errno ${number}`;
  return /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

export function hasErrno(error: unknown, ...names: readonly string[]): boolean {
  const errno = errnoOf(error);
  return errno !== undefined && names.includes(errno);
}

/**
 * The error of one action on one path: PATH_NOT_FOUND, NOT_PERMITTED, PATH_NO_SPACE, and PATH_IO for the rest. `path` is a byte string.
 * What no system call threw (an abort, an error of ours that is worded already) is given back unchanged.
 */
export function pathError(action: string, path: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const code = BY_ERRNO[errno] ?? "PATH_IO";
  return new DrayError(code, `Cannot ${action} "${textOfPath(path)}": ${MEANING[errno] ?? errno}`, {
    cause: error,
    context: { path: textOfPath(path), errno },
    ...(code === "PATH_NO_SPACE" ? { hint: "Free space, or restore to a larger volume." } : {}),
  });
}

/** Runs one action on one path, translating what it throws. */
export function atPath<T>(action: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw pathError(action, path, error);
  }
}
