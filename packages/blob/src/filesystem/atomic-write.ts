import { link, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { type RandomSource, randomHex, WRITE_BYTES_MAX } from "@drayage/base";
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
      for await (const part of parts) {
        options.signal?.throwIfAborted();
        for (let at = 0; at < part.length; ) at += (await file.write(part, at, Math.min(part.length - at, WRITE_BYTES_MAX))).bytesWritten;
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
