import { constants } from "node:fs";
import { type FileHandle, link, mkdir, open, rename, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { DIRECT_BLOCK_BYTES, type RandomSource, randomHex, takesDirectWrites, WRITE_BYTES_MAX } from "@drayage/base";
import { errnoOf } from "./fs-errors.ts";

/** How Kopia names a file that is being written; listings pass over it. */
const TEMPORARY = /\.tmp\.[0-9a-f]{16}$/;

export function isTemporaryName(name: string): boolean {
  return TEMPORARY.test(name);
}

export interface AtomicWriteOptions {
  readonly random: RandomSource;
  /** Fail with EEXIST rather than replace. */
  readonly ifAbsent?: boolean;
  readonly fileMode: number;
  readonly folderMode: number;
  /** Folders are made below this one, never this one itself: when a mount has gone, its mount point must not be written to. */
  readonly root: string;
  /** Whole blocks of large parts go to the disk from where they lie, where the file system can do that. @default false */
  readonly pastCache?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a file whole or not at all: temporary name, flush, rename, flush of the folder. Missing folders are made. On failure the temporary file is removed and the
 * file system's own error thrown.
 */
export async function writeFileAtomically(path: string, parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, options: AtomicWriteOptions): Promise<void> {
  const temporary = `${path}.tmp.${randomHex(options.random, 8)}`;
  const file = await openNew(temporary, options);
  try {
    try {
      let written = 0;
      for await (const part of parts) {
        options.signal?.throwIfAborted();
        let at = options.pastCache === true && written % DIRECT_BLOCK_BYTES === 0 ? await writePastCache(temporary, part, written, options) : 0;
        while (at < part.length) at += (await file.write(part, at, Math.min(part.length - at, WRITE_BYTES_MAX), written + at)).bytesWritten;
        written += part.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    options.signal?.throwIfAborted();
    if (options.ifAbsent === true) {
      // A hard link is the one way to give a complete file a name only if that name is free.
      await link(temporary, path);
      await unlink(temporary);
    } else {
      await rename(temporary, path);
    }
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Smaller parts are not worth opening the file a second time. */
const DIRECT_BYTES_MIN = 1 << 20;
/** Of one write: a disk is kept busy, and an abort need not wait for long. */
const DIRECT_WRITE_BYTES = 4 << 20;

/**
 * Writes the whole blocks of a part without the system's cache, and returns how many bytes that were: none where it cannot be done. Copying a pack into the cache, page by page in memory
 * that was just looked for, takes several times the processor time that the disk needs to be told of it.
 */
async function writePastCache(path: string, part: Uint8Array, offset: number, { root, signal }: AtomicWriteOptions): Promise<number> {
  const end = part.length - (part.length % DIRECT_BLOCK_BYTES);
  if (end < DIRECT_BYTES_MIN || !takesDirectWrites((await statfs(root)).type)) return 0;
  let at = 0;
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_WRONLY | constants.O_DIRECT);
    while (at < end) {
      signal?.throwIfAborted();
      at += (await file.write(part, at, Math.min(end - at, DIRECT_WRITE_BYTES), offset + at)).bytesWritten;
    }
  } catch (error) {
    // Memory or blocks are not aligned as this disk wants them.
    if (errnoOf(error) !== "EINVAL") throw error;
  } finally {
    await file?.close();
  }
  return at;
}

/** Others may remove an empty folder between its making and its use; a few rounds are enough, since each is lost only to a removal in that instant. */
const FOLDER_ROUNDS = 5;

async function openNew(path: string, options: AtomicWriteOptions): ReturnType<typeof open> {
  for (let round = 1; ; round++) {
    try {
      return await open(path, "wx", options.fileMode);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT" || round === FOLDER_ROUNDS || dirname(path) === options.root) throw error;
      await makeFolders(dirname(path), options);
    }
  }
}

async function makeFolders(path: string, options: AtomicWriteOptions): Promise<void> {
  try {
    await mkdir(path, options.folderMode);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EEXIST") return;
    if (errno !== "ENOENT" || dirname(path) === options.root) throw error;
    await makeFolders(dirname(path), options);
    await mkdir(path, options.folderMode).catch((again: unknown) => {
      if (errnoOf(again) !== "EEXIST") throw again;
    });
  }
}

/** Makes the rename itself last over a power failure. File systems that cannot flush a folder (some network ones) do without. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  if (folder === undefined) return;
  try {
    await folder.sync().catch(() => undefined);
  } finally {
    await folder.close();
  }
}
