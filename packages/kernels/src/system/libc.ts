/**
 * The C library through koffi. Loaded on first use, since most runs of the program need no system call of ours.
 *
 * Two rules of the binding: errno is meaningful only right after a call that failed, and there is no type `ssize_t`.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { type Code, DrayError } from "@drayage/base";

export interface Libc {
  lseek(fd: number, offset: number, whence: number): number | bigint;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  llistxattr(path: Uint8Array, list: Uint8Array | null, size: number): number | bigint;
  lgetxattr(path: Uint8Array, name: Uint8Array, value: Uint8Array | null, size: number): number | bigint;
  lsetxattr(path: Uint8Array, name: Uint8Array, value: Uint8Array, size: number, flags: number): number;
  lremovexattr(path: Uint8Array, name: Uint8Array): number;
  ioctl(fd: number, request: number, type: "void *", argument: Uint8Array): number;
  utimensat(directory: number, path: Uint8Array, times: Uint8Array, flags: number): number;
  mknod(path: Uint8Array, mode: number, device: bigint): number;
  /** On a thread of its own, since it may take minutes; `errno` is to be read in `done`. */
  syncfs(fd: number, done: (failed: Error | null, result: number) => void): void;
  /** Of the call that just failed. */
  errno(): number;
}

let loaded: Libc | undefined;

/** The C library. Throws NOT_SUPPORTED where it cannot be loaded. */
export function libc(): Libc {
  loaded ??= load();
  return loaded;
}

/** What Linux's file systems say and Node has no name for: the code of its errors is then `Unknown system error -117`. */
export const ERRNO_WITHOUT_NAME: Readonly<Record<number, string>> = {
  74: "EBADMSG",
  116: "ESTALE",
  117: "EUCLEAN",
  121: "EREMOTEIO",
  123: "ENOMEDIUM",
  126: "ENOKEY",
  127: "EKEYEXPIRED",
  128: "EKEYREVOKED",
};

/** The name of an error number: `ENOENT`, or `errno <number>` for one that has none here. */
export function errnoName(errno: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? ERRNO_WITHOUT_NAME[errno] ?? `errno ${errno}`;
}

const CODE_OF: Readonly<Record<string, Code>> = {
  ENOENT: "PATH_NOT_FOUND",
  ENOTDIR: "PATH_NOT_FOUND",
  ENOSPC: "PATH_NO_SPACE",
  EDQUOT: "PATH_NO_SPACE",
  EPERM: "NOT_PERMITTED",
  EACCES: "NOT_PERMITTED",
  ENOTSUP: "NOT_SUPPORTED",
  EOPNOTSUPP: "NOT_SUPPORTED",
  ENOSYS: "NOT_SUPPORTED",
  ENOTTY: "NOT_SUPPORTED",
};

/** The error of a call that just failed; its context has `errno` by name. */
export function systemError(action: string, subject: string): DrayError {
  const errno = errnoName(libc().errno());
  return new DrayError(CODE_OF[errno] ?? "PATH_IO", `Cannot ${action} "${subject}": ${errno}`, { context: { errno } });
}

function load(): Libc {
  const names = ["libc.so.6", `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`];
  try {
    const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
    const library = koffi.load(existsSync("/etc/alpine-release") ? (names[1] ?? "") : (names[0] ?? ""));
    const syncfs = library.func("int syncfs(int fd)");
    return {
      lseek: library.func("int64_t lseek(int fd, int64_t offset, int whence)"),
      fallocate: library.func("int fallocate(int fd, int mode, int64_t offset, int64_t length)"),
      llistxattr: library.func("int64_t llistxattr(const void *path, void *list, size_t size)"),
      lgetxattr: library.func("int64_t lgetxattr(const void *path, const void *name, void *value, size_t size)"),
      lsetxattr: library.func("int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)"),
      lremovexattr: library.func("int lremovexattr(const void *path, const void *name)"),
      ioctl: library.func("int ioctl(int fd, unsigned long request, ...)"),
      utimensat: library.func("int utimensat(int directory, const void *path, const void *times, int flags)"),
      mknod: library.func("int mknod(const void *path, uint32_t mode, uint64_t device)"),
      syncfs: (fd, done) => syncfs.async(fd, done),
      errno: () => koffi.errno(),
    };
  } catch (cause) {
    throw new DrayError("NOT_SUPPORTED", `Cannot call the system on "${process.platform}-${process.arch}": the C library cannot be loaded`, { cause });
  }
}
