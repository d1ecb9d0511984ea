/** Gives a restored entry its owner, mode, extended attributes and times, in the order in which none of them undoes another. */
import { chmodSync, closeSync, constants, fchmodSync, fchownSync, fstatSync, lchownSync, openSync } from "node:fs";
import type { SystemCalls } from "@drayage/kernels";
import type { StoredAttribute } from "@drayage/repo";
import { atPath, hasErrno } from "../path-errors.ts";

/** Through what attributes are given, and where it goes that some could not be. */
export interface AttributeSink {
  readonly system: SystemCalls;
  readonly warnings: { add(path: string, error: unknown): unknown };
}

export interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
}

export interface AttributeTarget {
  /** How system calls reach the entry. */
  readonly at: Buffer;
  /** Below the root, for the list of problems. */
  readonly path: string;
  /** The whole path, for messages. */
  readonly where: string;
  /** Open on the entry, where it can be. */
  readonly fd?: number;
  /** Whose it is, where that is known. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly isSymlink?: boolean;
}

/**
 * Applies everything. Owners come first, since changing them clears set-id bits and file capabilities; times come last.
 * What the caller may not do, or the file system cannot, is a warning: the data is there.
 */
export function applyAttributes(context: AttributeSink, target: AttributeTarget, attributes: Attributes, xattrs: readonly StoredAttribute[]): void {
  const { at, fd, isSymlink = false } = target;
  const { uid, gid } = attributes;
  // Asking is cheaper than giving, and most files belong to whoever restores them.
  const owner = target.owner ?? (fd === undefined ? undefined : fstatSync(fd));
  if (owner?.uid !== uid || owner.gid !== gid) {
    attempt(context, target, "give the owner of", () => (fd === undefined ? lchownSync(at, uid, gid) : fchownSync(fd, uid, gid)));
  }
  // Linux has no modes of symbolic links.
  if (!isSymlink) attempt(context, target, "give the mode of", () => (fd === undefined ? chmodNode(at, attributes.mode) : fchmodSync(fd, attributes.mode)));
  for (const { name, value } of xattrs) attempt(context, target, `set attribute "${name}" of`, () => context.system.setXattr(at, name, value));
  attempt(context, target, "give the times of", () => context.system.setTimes(at, attributes.mtimeNs, attributes.mtimeNs));
}

/** Linux's O_PATH, which Node does not name: a handle on the entry itself, whatever it is, without opening it. */
const O_PATH = 0o10_000_000;

/** The mode of what cannot be opened. `chmod` would follow a symbolic link that took its place. */
function chmodNode(at: Buffer, mode: number): void {
  if (process.platform !== "linux") {
    chmodSync(at, mode);
    return;
  }
  const fd = openSync(at, O_PATH | constants.O_NOFOLLOW);
  try {
    chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}

function attempt(context: AttributeSink, { path, where }: AttributeTarget, action: string, work: () => void): void {
  try {
    atPath(action, where, work);
  } catch (error) {
    if (!hasErrno(error, "EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "ENOSYS", "ERANGE", "E2BIG")) throw error;
    context.warnings.add(path, error);
  }
}
