/**
 * The bytes of volumes and snapshots on disk.
 *
 *   <folder>/volumes/<id>/data|image      <folder>/snapshots/<id>/data|image      <folder>/tmp/<pid>.<random>/
 *
 * What is made is made below tmp and renamed into place when it is whole; what is deleted is renamed below tmp first. So a name in place is always whole,
 * and what a killed process left is below tmp under that process's id.
 */
import { chmod, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { RandomSource } from "@drayage/base";
import { randomHex } from "@drayage/base";
import { csiError } from "@drayage/protocols/csi";
import { copyTree } from "./copy-tree.ts";
import { runProgram } from "./run-program.ts";
import type { Backing, SnapshotRecord, StorageRecord, VolumeRecord } from "./storage-record.ts";

export type Kind = "volumes" | "snapshots";

/** What a new volume is filled with: nothing, or the bytes at a path of the same backing. */
export interface NewContent {
  readonly backing: Backing;
  readonly capacityBytes: number;
  /** Whether an image without a source gets a file system. */
  readonly formatted: boolean;
  readonly copyOf?: string;
}

export class VolumeStorage {
  readonly folder: string;
  readonly #random: RandomSource;
  readonly #removals = new Set<Promise<void>>();

  constructor(folder: string, random: RandomSource) {
    this.folder = folder;
    this.#random = random;
  }

  /** Makes the folders, and removes what processes that are gone left half done. */
  async open(): Promise<void> {
    for (const name of ["volumes", "snapshots", "tmp"]) await mkdir(join(this.folder, name), { recursive: true, mode: 0o700 });
    for (const name of await readdir(join(this.folder, "tmp"))) {
      if (!isRunning(Number.parseInt(name, 10))) await removeTree(join(this.folder, "tmp", name));
    }
  }

  /** Removes what stands in place and is in no record: its process died before it could write it down. Only for use under the record's lock. */
  async sweep(record: StorageRecord): Promise<void> {
    for (const kind of ["volumes", "snapshots"] as const) {
      for (const id of await readdir(join(this.folder, kind))) {
        if (record[kind][id] === undefined) await removeTree(await this.takeAway(kind, id));
      }
    }
  }

  snapshotPath(snapshot: Pick<SnapshotRecord, "id" | "backing">): string {
    return this.#path("snapshots", snapshot.id, snapshot.backing);
  }

  /** Where a volume's bytes are; those of a shallow one are its snapshot's. */
  volumePath(volume: Pick<VolumeRecord, "id" | "backing" | "shallow" | "origin">): string {
    return volume.shallow === true && volume.origin !== undefined
      ? this.#path("snapshots", volume.origin.id, volume.backing)
      : this.#path("volumes", volume.id, volume.backing);
  }

  /** Makes content aside and returns the folder to put in place. Leaves nothing behind on failure. Throws RESOURCE_EXHAUSTED when the disk is full. */
  async prepare(content: NewContent): Promise<string> {
    const aside = await this.#aside();
    const path = join(aside, fileNameOf(content.backing));
    try {
      if (content.copyOf !== undefined) await copyTree(content.copyOf, path);
      if (content.backing === "directory" && content.copyOf === undefined) await makeVolumeFolder(path);
      const grown = content.backing === "image" && (await growImage(path, content.capacityBytes));
      if (grown && content.formatted) await (content.copyOf === undefined ? makeFileSystem(path) : growFileSystem(path));
    } catch (error) {
      await removeTree(aside);
      throw spaceError(error, "create a volume");
    }
    return aside;
  }

  /** Puts prepared content in place. What stands there without a record is left from a process that died in between, and goes. */
  async place(aside: string, kind: Kind, id: string): Promise<void> {
    const target = join(this.folder, kind, id);
    await removeTree(await this.takeAway(kind, id));
    await rename(aside, target);
  }

  /** Takes content out of its place in one step and returns where it went, for `removeTree`; undefined when there is none. */
  async takeAway(kind: Kind, id: string): Promise<string | undefined> {
    const aside = await this.#aside();
    try {
      await rename(join(this.folder, kind, id), aside);
      return aside;
    } catch (error) {
      await removeTree(aside);
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  /**
   * Removes what was taken away, and lets nobody wait for it: the content is gone already under its name, and freeing the blocks of thousands of files takes
   * seconds where the disk is told of each. What is cut short by the end of this process is removed by `open`, as everything below tmp is.
   */
  discard(paths: readonly (string | undefined)[]): void {
    for (const path of paths) {
      const removal: Promise<void> = removeTree(path)
        .catch(() => undefined)
        .finally(() => this.#removals.delete(removal));
      this.#removals.add(removal);
    }
  }

  /** Resolves when nothing is being removed. */
  async settled(): Promise<void> {
    await Promise.all(this.#removals);
  }

  /** Makes the image of a volume larger, and its file system too unless a node has it in use and must do that itself. */
  async grow(volume: VolumeRecord, capacityBytes: number, options: { readonly inUse: boolean }): Promise<void> {
    if (volume.backing !== "image") return;
    const path = this.volumePath(volume);
    const grown = await growImage(path, capacityBytes);
    if (grown && volume.mode === "Filesystem" && !options.inUse) await growFileSystem(path);
  }

  #path(kind: Kind, id: string, backing: Backing): string {
    return join(this.folder, kind, id, fileNameOf(backing));
  }

  async #aside(): Promise<string> {
    const aside = join(this.folder, "tmp", `${process.pid}.${randomHex(this.#random, 8)}`);
    await mkdir(aside, { mode: 0o700 });
    return aside;
  }
}

function fileNameOf(backing: Backing): string {
  return backing === "directory" ? "data" : "image";
}

/** Open to every user, as fresh volumes of network file systems are: applications run under ids of their own. */
async function makeVolumeFolder(path: string): Promise<void> {
  await mkdir(path);
  await chmod(path, 0o777);
}

/** Creates an image or makes it larger; never smaller. The bytes are a hole until they are written. Returns whether it grew. */
async function growImage(path: string, bytes: number): Promise<boolean> {
  const file = await open(path, "a", 0o600);
  try {
    const grows = (await file.stat()).size < bytes;
    if (grows) await file.truncate(bytes);
    return grows;
  } finally {
    await file.close();
  }
}

/** Fits an ext4 that is not in use to its image; what its journal holds is written first. Growing one in use would need CAP_SYS_RESOURCE. */
async function growFileSystem(image: string): Promise<void> {
  const checked = await runProgram("e2fsck", ["-f", "-p", image]);
  // e2fsck(8): 1 says that errors were corrected.
  if (checked.exitCode > 1) throw csiError("INVALID_ARGUMENT", `Cannot grow the file system of a volume: ${checked.stderr || checked.stdout}`);
  const resized = await runProgram("resize2fs", [image]);
  if (resized.exitCode !== 0) throw csiError("INTERNAL", `Cannot grow the file system of a volume: ${resized.stderr}`);
}

/** Makes an ext4, with no blocks kept back for root, so that the volume's size is the application's, and its root open to every user (see makeVolumeFolder). */
async function makeFileSystem(image: string): Promise<void> {
  const made = await runProgram("mkfs.ext4", ["-q", "-F", "-m", "0", image]);
  if (made.exitCode !== 0) throw csiError("OUT_OF_RANGE", `Cannot make a file system of this size: ${made.stderr}`);
  const opened = await runProgram("debugfs", ["-w", "-R", "set_inode_field <2> mode 040777", image]);
  if (opened.exitCode !== 0) throw csiError("INTERNAL", `Cannot open a new file system to every user: ${opened.stderr}`);
}

/** Removes a folder with everything in it, also what its owner made unwritable for itself. */
export async function removeTree(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    await runProgram("chmod", ["-R", "u+rwX", path]);
    await rm(path, { recursive: true, force: true });
  }
}

/** A full disk under any of Node's own calls becomes the driver's answer for it. */
function spaceError(error: unknown, action: string): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOSPC" || code === "EDQUOT" ? csiError("RESOURCE_EXHAUSTED", `Cannot ${action}: the disk is full`, { cause: error }) : error;
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
