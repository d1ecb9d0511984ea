/** What the file system says of an entry, as a listing stores it. */
import type { BigIntStats } from "node:fs";
import { ROW, ROW_SLOTS } from "@drayage/kernels";
import type { DirectoryEntry, EntryExtension, EntryType, SpecialKind, StoredAttribute } from "@drayage/repo";
import type { UploadContext } from "./upload-context.ts";

/** Facts of an entry out of a row of batch-files.ts. */
export class RowFacts {
  readonly #rows: Float64Array;
  readonly #words: BigUint64Array;
  readonly #at: number;

  constructor(rows: Float64Array, index: number) {
    this.#rows = rows;
    this.#words = new BigUint64Array(rows.buffer, rows.byteOffset, rows.length);
    this.#at = index * ROW_SLOTS;
  }

  get stat(): FileStat {
    const rows = this.#rows;
    const at = this.#at;
    const whole = (slot: number): bigint => BigInt(rows[at + slot] ?? 0);
    return {
      ...{ dev: this.#words[at + ROW.device] ?? 0n, ino: this.#words[at + ROW.inode] ?? 0n, rdev: this.#words[at + ROW.special] ?? 0n },
      ...{ nlink: whole(ROW.links), mode: whole(ROW.mode), uid: whole(ROW.uid), gid: whole(ROW.gid), size: whole(ROW.size), blocks: whole(ROW.blocks) },
      mtimeNs: whole(ROW.seconds) * NS_PER_S + whole(ROW.nanoseconds),
    };
  }
}

export type FileStat = Pick<BigIntStats, "dev" | "ino" | "nlink" | "mode" | "uid" | "gid" | "size" | "blocks" | "mtimeNs" | "rdev">;

/** Kubernetes labels a volume for the node where it is mounted; such a label means nothing elsewhere. */
const XATTRS_OF_THE_NODE: ReadonlySet<string> = new Set(["security.selinux"]);
/** What a file's blocks are counted in. */
export const BLOCK_BYTES = 512;
const NS_PER_S = 1_000_000_000n;
const PERMISSION_BITS = 0o7777n;
const MIN_NS = -(2n ** 63n);
const MAX_NS = 2n ** 63n - 1n;

/** The facts of an entry of any kind. Times outside of what the format can hold are brought to its ends. */
export function factsOf(stat: FileStat): Pick<DirectoryEntry, "mode" | "mtimeNs" | "uid" | "gid"> {
  const mtimeNs = stat.mtimeNs < MIN_NS ? MIN_NS : stat.mtimeNs > MAX_NS ? MAX_NS : stat.mtimeNs;
  return { mode: Number(stat.mode & PERMISSION_BITS), mtimeNs, uid: Number(stat.uid), gid: Number(stat.gid) };
}

/** Whether a file is as a parent snapshot has it. */
export function isUnchanged(stat: FileStat, type: EntryType, parent: DirectoryEntry): boolean {
  const facts = factsOf(stat);
  return (
    parent.type === type &&
    parent.mtimeNs === facts.mtimeNs &&
    parent.mode === facts.mode &&
    parent.uid === facts.uid &&
    parent.gid === facts.gid &&
    parent.size === Number(stat.size)
  );
}

/** The kind of an entry by its whole mode (S_IFMT of stat(2)). */
export type EntryKind = EntryType | SpecialKind | "unknown";

const KINDS: ReadonlyMap<number, EntryKind> = new Map<number, EntryKind>([
  [0o010000, "fifo"],
  [0o020000, "char"],
  [0o040000, "directory"],
  [0o060000, "block"],
  [0o100000, "file"],
  [0o120000, "symlink"],
  [0o140000, "socket"],
]);

export function kindOf(mode: number): EntryKind {
  return KINDS.get(mode & 0o170000) ?? "unknown";
}

/** The group of a file's names, or undefined when it has one only. `rootDevice` is that of the snapshot's root: its number is not kept, since it changes from mount to mount. */
export function linkGroupOf(stat: FileStat, rootDevice: bigint): string | undefined {
  if (stat.nlink < 2n) return undefined;
  return stat.dev === rootDevice ? String(stat.ino) : `${stat.dev}:${stat.ino}`;
}

/** Linux's major and minor of a device number. */
export function deviceOf(rdev: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}

/** Extended attributes of an entry; what cannot be read is a warning. */
export function xattrsOf(context: UploadContext, at: Buffer, path: string): readonly StoredAttribute[] {
  if (!context.xattrs) return [];
  try {
    return context.system.listXattrs(at).filter(({ name }) => !XATTRS_OF_THE_NODE.has(name));
  } catch (error) {
    context.warnings.add(path, error);
    return [];
  }
}

export function extensionOf(parts: { readonly [K in keyof EntryExtension]: EntryExtension[K] | undefined }): { readonly extension?: EntryExtension } {
  const { linkGroup, holes, xattrs } = parts;
  const extension: EntryExtension = {
    ...(linkGroup === undefined ? {} : { linkGroup }),
    ...(holes === undefined || holes.length === 0 ? {} : { holes }),
    ...(xattrs === undefined || xattrs.length === 0 ? {} : { xattrs }),
  };
  return Object.keys(extension).length === 0 ? {} : { extension };
}

/** The entry's path below the root, as a byte string. */
export function below(parent: string, name: string): string {
  return parent === "" ? name : `${parent}/${name}`;
}
