/**
 * What a tree or a device holds, entry by entry, so that two of them can be compared: the demo's proof. It reads with plain system calls and knows nothing of the data path,
 * so that a mistake there cannot hide here.
 *
 * Stored as lines of JSON, one an entry, in byte order of paths.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { join } from "node:path";
import { asBuffer, compareUtf8, toBase64 } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";

export interface InventoryEntry {
  /** Below the root, `.` for the root itself; the device's own path for a device. */
  readonly path: string;
  readonly type: "file" | "directory" | "symlink" | "device" | "fifo" | "other";
  /** Permission bits with setuid, setgid and sticky, in octal. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0 for directories. */
  readonly size: number;
  /** Nanoseconds since 1970, as decimal text. */
  readonly mtimeNs: string;
  /** Of every byte, and of where it is: see `digestOf`. */
  readonly digest?: string;
  readonly target?: string;
  /** The first path, in this order, of the file that this one is another name of. */
  readonly linkOf?: string;
  /** True when the file takes less than half of its size on disk. */
  readonly sparse?: boolean;
  /** Values in base64. */
  readonly xattrs?: Readonly<Record<string, string>>;
}

const CHUNK_BYTES = 4 << 20;
const BLOCK_BYTES = 64 << 10;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** What was found out about an inode under the first of its names. */
interface KnownFile {
  readonly path: string;
  readonly digest: string;
}

/** The entries of a directory tree. Names must be valid UTF-8. */
export function inventoryOfTree(root: string, system: SystemCalls): InventoryEntry[] {
  const entries: InventoryEntry[] = [];
  const known = new Map<string, KnownFile>();
  const chunk = new Uint8Array(CHUNK_BYTES);
  const visit = (path: string, name: string): void => {
    const entry = entryOf(path, name, system, known, chunk);
    entries.push(entry);
    if (entry.type !== "directory") return;
    for (const child of readdirSync(path).sort(compareUtf8)) visit(join(path, child), name === "." ? child : `${name}/${child}`);
  };
  visit(root, ".");
  return entries;
}

/** A block device as one entry: its size and the digest of all its bytes. */
export function inventoryOfDevice(path: string, system: SystemCalls): InventoryEntry {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const size = system.blockDeviceSize(fd);
    return { path, type: "device", mode: "0", uid: 0, gid: 0, size, mtimeNs: "0", digest: digestOf(fd, new Uint8Array(CHUNK_BYTES)) };
  } finally {
    closeSync(fd);
  }
}

function entryOf(path: string, name: string, system: SystemCalls, known: Map<string, KnownFile>, chunk: Uint8Array): InventoryEntry {
  const stat = lstatSync(path, { bigint: true });
  const xattrs = system.listXattrs(path).filter(({ name: attribute }) => attribute.startsWith("user.") || attribute === "security.capability");
  const facts = {
    path: name,
    mode: (Number(stat.mode) & 0o7777).toString(8),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtimeNs: String(stat.mtimeNs),
    ...(xattrs.length === 0 ? {} : { xattrs: Object.fromEntries(xattrs.map((attribute) => [attribute.name, toBase64(attribute.value)])) }),
  };
  if (stat.isDirectory()) return { ...facts, type: "directory", size: 0 };
  if (stat.isSymbolicLink()) return { ...facts, type: "symlink", size: Number(stat.size), target: readlinkSync(path) };
  if (stat.isFIFO()) return { ...facts, type: "fifo", size: 0 };
  if (!stat.isFile()) return { ...facts, type: "other", size: 0 };
  const inode = `${stat.dev}:${stat.ino}`;
  // Another name of a file that was read already: the same inode holds the same bytes.
  const first = known.get(inode);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const size = fstatSync(fd).size;
    const sparse = size > CHUNK_BYTES && Number(stat.blocks) * 512 < size / 2;
    const digest = first?.digest ?? digestOf(fd, chunk);
    if (stat.nlink > 1n && first === undefined) known.set(inode, { path: name, digest });
    return { ...facts, type: "file", size, digest, ...(first === undefined ? {} : { linkOf: first.path }), ...(sparse ? { sparse } : {}) };
  } finally {
    closeSync(fd);
  }
}

/**
 * SHA-256 over every run of bytes that are not zeros, each behind its offset and its length, and over the size: two files have the same digest when they have
 * the same bytes. Blocks of zeros are compared, which is ten times faster than to digest them: most of a sparse file and of a new device is that.
 */
function digestOf(fd: number, chunk: Uint8Array): string {
  const hash = createHash("sha256");
  const head = new DataView(new ArrayBuffer(16));
  const bytes = asBuffer(chunk);
  for (let offset = 0; ; ) {
    const length = readFully(fd, chunk);
    for (let from = 0; from < length; ) {
      let to = from;
      while (to < length && !isZeros(bytes.subarray(to, Math.min(to + BLOCK_BYTES, length)))) to = Math.min(to + BLOCK_BYTES, length);
      if (to > from) {
        head.setBigUint64(0, BigInt(offset + from));
        head.setBigUint64(8, BigInt(to - from));
        hash.update(head).update(bytes.subarray(from, to));
      }
      // Here is a block of zeros, or the end.
      from = to + BLOCK_BYTES;
    }
    offset += length;
    if (length < chunk.length) {
      head.setBigUint64(0, BigInt(offset));
      return hash.update(head).digest("hex");
    }
  }
}

function isZeros(block: Buffer): boolean {
  return block.length === BLOCK_BYTES ? block.equals(ZEROS) : block.equals(ZEROS.subarray(0, block.length));
}

/** Fills the chunk, or less at the end of the file only: the blocks of two files must begin at the same places. */
function readFully(fd: number, chunk: Uint8Array): number {
  let length = 0;
  while (length < chunk.length) {
    const read = readSync(fd, chunk, length, chunk.length - length, null);
    if (read === 0) break;
    length += read;
  }
  return length;
}

export function formatInventory(entries: readonly InventoryEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

export function parseInventory(text: string): InventoryEntry[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as InventoryEntry);
}

/** The aspects that are compared, each counted on its own in the demo's table. */
export const ASPECTS = ["presence", "bytes", "modes", "owners", "times", "links", "holes", "xattrs"] as const;
export type Aspect = (typeof ASPECTS)[number];

export interface Difference {
  readonly aspect: Aspect;
  readonly path: string;
  readonly wanted: string;
  readonly found: string;
}

export interface Comparison {
  readonly differences: readonly Difference[];
  /** How many facts of each aspect were compared. */
  readonly compared: Readonly<Record<Aspect, number>>;
}

/** Compares every fact of `wanted` with `found`, both ways. */
export function compareInventories(wanted: readonly InventoryEntry[], found: readonly InventoryEntry[]): Comparison {
  const differences: Difference[] = [];
  const compared = Object.fromEntries(ASPECTS.map((aspect) => [aspect, 0])) as Record<Aspect, number>;
  const foundByPath = new Map(found.map((entry) => [entry.path, entry]));
  const check = (aspect: Aspect, path: string, a: unknown, b: unknown): void => {
    compared[aspect]++;
    if (a !== b) differences.push({ aspect, path, wanted: String(a), found: String(b) });
  };
  for (const entry of wanted) {
    const other = foundByPath.get(entry.path);
    foundByPath.delete(entry.path);
    check("presence", entry.path, entry.type, other?.type ?? "nothing");
    if (other === undefined || other.type !== entry.type) continue;
    check("modes", entry.path, entry.mode, other.mode);
    check("owners", entry.path, `${entry.uid}:${entry.gid}`, `${other.uid}:${other.gid}`);
    check("times", entry.path, entry.mtimeNs, other.mtimeNs);
    if (entry.digest !== undefined) check("bytes", entry.path, `${entry.size} bytes, digest ${entry.digest}`, `${other.size} bytes, digest ${other.digest}`);
    if (entry.target !== undefined || entry.linkOf !== undefined || other.linkOf !== undefined)
      check("links", entry.path, entry.target ?? entry.linkOf ?? "a file of its own", other.target ?? other.linkOf ?? "a file of its own");
    if (entry.sparse === true) check("holes", entry.path, "sparse", other.sparse === true ? "sparse" : "filled");
    if (entry.xattrs !== undefined || other.xattrs !== undefined) check("xattrs", entry.path, stable(entry.xattrs), stable(other.xattrs));
  }
  for (const [path, entry] of foundByPath) check("presence", path, "nothing", entry.type);
  return { differences, compared };
}

function stable(attributes: Readonly<Record<string, string>> | undefined): string {
  return JSON.stringify(Object.entries(attributes ?? {}).sort(([a], [b]) => compareUtf8(a, b)));
}
