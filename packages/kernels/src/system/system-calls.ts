import { asBuffer, compareBytes, compareUtf8, DrayError, fromUtf8, isDrayError, utf8 } from "@drayage/base";
import type { ExtendedAttribute, Extent, RawPath, SystemCalls } from "../types.ts";
import { createArena, isArena, WASM_PAGE_BYTES } from "../wasm/instance.ts";
import { dataExtentsBy, SEEK_DATA } from "./data-extents.ts";
import { libc, systemError } from "./libc.ts";

const FALLOC_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02;
const PAGE_BYTES = 4096;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
/** `_IOR(0x12, 114, size_t)`, the same on x64 and arm64. */
const BLKGETSIZE64 = 0x80081272;
/** What Linux keeps at most: XATTR_LIST_MAX and XATTR_SIZE_MAX. */
const XATTR_BYTES_MAX = 65_536;
const NS_PER_S = 1_000_000_000n;

/** The calls through the C library. Nothing is loaded before the first of them; it throws NOT_SUPPORTED where there is no such library. */
export const systemCalls: SystemCalls = {
  dataExtents,
  punchHole(fd, offset, length) {
    if (libc().fallocate(fd, FALLOC_KEEP_SIZE_AND_PUNCH_HOLE, offset, length) === 0) return true;
    const error = systemError("punch a hole in", `fd ${fd}`);
    if (error.code === "NOT_SUPPORTED") return false;
    throw error;
  },
  allocate(fd, offset, length) {
    if (libc().fallocate(fd, 0, offset, length) === 0) return true;
    const error = systemError("find room for", `fd ${fd}`);
    if (error.code === "NOT_SUPPORTED") return false;
    throw error;
  },
  listXattrs,
  setXattr(path, name, value) {
    if (libc().lsetxattr(cString(path), cString(name), value, value.length, 0) !== 0) {
      throw systemError(`set extended attribute "${name}" of`, display(path));
    }
  },
  removeXattr(path, name) {
    if (libc().lremovexattr(cString(path), cString(name)) !== 0) throw systemError(`remove extended attribute "${name}" of`, display(path));
  },
  blockDeviceSize(fd) {
    const size = new DataView(new ArrayBuffer(8));
    if (libc().ioctl(fd, BLKGETSIZE64, "void *", new Uint8Array(size.buffer)) !== 0) throw systemError("get the size of block device", `fd ${fd}`);
    return Number(size.getBigUint64(0, true));
  },
  setTimes(path, atimeNs, mtimeNs) {
    const times = new DataView(new ArrayBuffer(32));
    [atimeNs, mtimeNs].forEach((ns, i) => {
      const fraction = ((ns % NS_PER_S) + NS_PER_S) % NS_PER_S;
      times.setBigInt64(i * 16, (ns - fraction) / NS_PER_S, true);
      times.setBigInt64(i * 16 + 8, fraction, true);
    });
    if (libc().utimensat(AT_FDCWD, cString(path), new Uint8Array(times.buffer), AT_SYMLINK_NOFOLLOW) !== 0)
      throw systemError("set the times of", display(path));
  },
  makeNode(path, mode, major, minor) {
    if (libc().mknod(cString(path), mode, deviceNumber(major, minor)) !== 0) throw systemError("make node", display(path));
  },
  syncFs(fd) {
    return new Promise((resolve, reject) => {
      libc().syncfs(fd, (failed, result) => {
        if (failed === null && result === 0) resolve();
        else reject(failed ?? systemError("flush the file system of", `fd ${fd}`));
      });
    });
  },
  alignedBuffer(bytes) {
    // The memory of a WebAssembly instance begins on a page; ordinary buffers begin 16 bytes past one, which direct I/O refuses.
    // Shared memory does not count as newly allocated, for which the collector would look for as much garbage.
    const pages = Math.max(1, Math.ceil(bytes / WASM_PAGE_BYTES));
    return new Uint8Array(createArena(pages), 0, bytes);
  },
};

/** Whether bytes begin where direct I/O can take them from: on a page of memory that `alignedBuffer` gave. */
export function isPageAligned({ buffer, byteOffset }: Uint8Array): boolean {
  return byteOffset % PAGE_BYTES === 0 && isArena(buffer);
}

function dataExtents(fd: number, size: number): Extent[] {
  const { lseek } = libc();
  return dataExtentsBy((offset, whence) => {
    const reached = Number(lseek(fd, offset, whence));
    return reached < 0 ? systemError(whence === SEEK_DATA ? "find data in" : "find a hole in", `fd ${fd}`) : reached;
  }, size);
}

function listXattrs(path: RawPath): ExtendedAttribute[] {
  const target = cString(path);
  const names = readGrowing(path, "list the extended attributes of", (buffer) => libc().llistxattr(target, buffer, buffer?.length ?? 0));
  if (names === undefined) return [];
  const found: ExtendedAttribute[] = [];
  for (let at = 0; at < names.length; ) {
    const end = names.indexOf(0, at);
    if (end === -1) break;
    const name = names.subarray(at, end);
    at = end + 1;
    const text = fromUtf8(name);
    const value = readGrowing(path, `read extended attribute "${text}" of`, (buffer) => libc().lgetxattr(target, cString(name), buffer, buffer?.length ?? 0));
    if (value !== undefined) found.push({ name: text, value });
  }
  return found.sort((a, b) => compareUtf8(a.name, b.name) || compareBytes(a.value, b.value));
}

/** Calls with no buffer for the size, then with one; again when the answer grew in between. Undefined where there is no support, or nothing any more. */
function readGrowing(path: RawPath, action: string, call: (buffer: Uint8Array | null) => number | bigint): Uint8Array | undefined {
  for (let attempt = 0; ; attempt++) {
    const size = Number(call(null));
    if (size === 0) return new Uint8Array(0);
    const buffer = new Uint8Array(size > 0 ? Math.min(size, XATTR_BYTES_MAX) : 0);
    const length = size > 0 ? Number(call(buffer)) : size;
    if (length >= 0) return buffer.subarray(0, length);
    const error = systemError(action, display(path));
    const errno = error.context["errno"];
    if (errno === "ENODATA" || error.code === "NOT_SUPPORTED") return undefined;
    if (errno !== "ERANGE" || attempt === 3) throw error;
  }
}

/** Bytes with a NUL behind them. Throws USAGE for text that holds one, which would silently name another file. */
function cString(text: RawPath): Uint8Array {
  const bytes = typeof text === "string" ? utf8(text) : text;
  if (bytes.includes(0)) throw new DrayError("USAGE", `Cannot use path "${display(text)}": it holds a NUL byte`);
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
}

function display(path: RawPath): string {
  return typeof path === "string" ? path : asBuffer(path).toString("utf8");
}

/** Linux's encoding of a device number. */
function deviceNumber(major: number, minor: number): bigint {
  const a = BigInt(major);
  const b = BigInt(minor);
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn);
}

/** Whether an error of these calls carries this errno name. */
export function hasErrno(error: unknown, ...names: readonly string[]): boolean {
  return isDrayError(error) && names.includes(String(error.context["errno"]));
}
