/**
 * Keeps, from one backup of a volume to the next, which of its files have no extended attributes, in a file for each volume: the kernel is asked only about those that have changed since.
 * A file holds a head and keys of inodes (@drayage/kernels, UnattributedFiles). Nothing depends on it: one that is gone, of another user or no such file is as good as none.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { asBuffer, isOursAlone, makeFolders, type RandomSource, randomHex, systemRandom } from "@drayage/base";
import { createKernels, UNATTRIBUTED_KEY_BYTES, type UnattributedFiles } from "@drayage/kernels";
import type { UploadSnapshotOptions } from "./upload-snapshot.ts";

const MAGIC = "DRAYUNA1";
/** The magic, and three words of whose it is. */
const HEAD_BYTES = MAGIC.length + 24;
/** Keys of half a million files. */
const BYTES_MAX = HEAD_BYTES + (UNATTRIBUTED_KEY_BYTES << 19);
/** Volumes that were backed up last. */
const FILES_MAX = 32;

export interface KnownAttributesOptions extends Pick<UploadSnapshotOptions, "source" | "xattrs"> {
  /** Where only this user may write; it is made. Nothing is kept without one. */
  readonly folder: string | undefined;
  readonly random?: RandomSource;
  /** @default those of this machine's kernels */
  readonly unattributed?: UnattributedFiles;
}

/** Runs `work`, which uploads, with what is known; what it met is kept when it has succeeded. */
export async function withKnownAttributes<T>(options: KnownAttributesOptions, work: () => Promise<T>): Promise<T> {
  const { source, xattrs = true, folder } = options;
  if (folder === undefined || source.kind !== "directory" || !xattrs) return await work();
  const unattributed = options.unattributed ?? (await createKernels({})).unattributed;
  if (unattributed === undefined) return await work();
  const path = join(folder, createHash("sha256").update(resolve(source.path)).digest("hex").slice(0, 32));
  const isKept = isUsable(folder);
  const known = isKept ? read(path) : Buffer.alloc(0);
  unattributed.remember(known);
  const result = await work();
  const met = unattributed.met();
  if (isKept && met !== undefined && !asBuffer(met).equals(known)) keep(folder, path, met, options.random ?? systemRandom);
  return result;
}

/** Whoever could write here could hide attributes from a backup. */
function isUsable(folder: string): boolean {
  try {
    makeFolders(folder, 0o700);
    return isOursAlone(folder);
  } catch {
    return false;
  }
}

/** Attributes of the kind `trusted` are listed for who has CAP_SYS_ADMIN in the first user namespace, and for nobody else. */
function head(): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES);
  bytes.write(MAGIC, "latin1");
  const words = [BigInt(process.geteuid?.() ?? 0), effectiveCapabilities(), userNamespace()];
  for (const [i, word] of words.entries()) bytes.writeBigUInt64LE(word, MAGIC.length + 8 * i);
  return bytes;
}

/** proc_pid_status(5). */
function effectiveCapabilities(): bigint {
  if (process.platform !== "linux") return 0n;
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "0"}`);
}

function userNamespace(): bigint {
  return process.platform === "linux" ? statSync("/proc/self/ns/user", { bigint: true }).ino : 0n;
}

function read(path: string): Buffer {
  try {
    if (statSync(path).size > BYTES_MAX) return Buffer.alloc(0);
    const bytes = readFileSync(path);
    const keys = bytes.subarray(HEAD_BYTES);
    return bytes.subarray(0, HEAD_BYTES).equals(head()) && keys.length % UNATTRIBUTED_KEY_BYTES === 0 ? keys : Buffer.alloc(0);
  } catch {
    return Buffer.alloc(0);
  }
}

function keep(folder: string, path: string, keys: Uint8Array, random: RandomSource): void {
  const temporary = `${path}.${randomHex(random, 8)}.tmp`;
  try {
    writeFileSync(temporary, Buffer.concat([head(), keys]), { flag: "wx", mode: 0o600 });
    renameSync(temporary, path);
    forgetOldest(folder);
  } catch {
    // A full or read-only disk: all files are asked about again.
    rmSync(temporary, { force: true });
  }
}

/** With what a process that was killed left in the making. */
function forgetOldest(folder: string): void {
  const names = readdirSync(folder);
  if (names.length <= FILES_MAX) return;
  const aged = names.map((name) => join(folder, name)).map((path) => ({ path, atMs: statSync(path).mtimeMs }));
  for (const { path } of aged.sort((a, b) => b.atMs - a.atMs).slice(FILES_MAX)) rmSync(path, { force: true });
}
