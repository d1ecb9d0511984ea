/** The names in a directory, in the order of a listing: directories, then everything else, each by bytes. Names are all that is held of a directory, however large it is. */
import { type Dirent, opendirSync } from "node:fs";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import type { Pacer } from "../pacer.ts";
import { pathError } from "../path-errors.ts";

export interface DirectoryNames {
  readonly directories: readonly string[];
  readonly others: readonly string[];
}

const BUFFERED_ENTRIES = 512;

/** Throws PATH_NOT_FOUND, NOT_PERMITTED, PATH_IO. */
export async function readDirectoryNames(directory: AnchoredDirectory, pacer: Pacer): Promise<DirectoryNames> {
  const directories: string[] = [];
  const others: string[] = [];
  try {
    // The types know text only, but names come in whatever encoding is asked for; as bytes, so that all of them survive.
    const handle = opendirSync(directory.self, { encoding: "buffer" as BufferEncoding, bufferSize: BUFFERED_ENTRIES });
    try {
      for (let entry = handle.readSync() as unknown as Dirent<Buffer> | null; entry !== null; entry = handle.readSync() as unknown as Dirent<Buffer> | null) {
        (entry.isDirectory() ? directories : others).push(entry.name.toString("latin1"));
        if (pacer.isDue()) await pacer.turn();
      }
    } finally {
      handle.closeSync();
    }
  } catch (error) {
    throw pathError("list directory", directory.path, error);
  }
  // Byte strings sort by bytes.
  return { directories: directories.sort(), others: others.sort() };
}
