import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DrayError } from "./errors.ts";

/**
 * Makes a folder and those above it that are missing; returns whether it was missing. Made one by one, because `mkdir` with `recursive` of Node 24 never returns where the
 * system says ENOENT of a folder whose parent is there, as it does below /proc.
 *
 * Throws NOT_PERMITTED for such a place, PATH_IO for one where something else has the name, and the system's own error (EACCES, EROFS, ENOSPC, …) for the rest, which
 * callers translate.
 *
 * @param path - absolute; bytes for a name that is no text
 * @param mode - of each folder that is made
 */
export function makeFolders(path: string | Buffer, mode = 0o777): boolean {
  if (isFolder(path)) return false;
  const parent = typeof path === "string" ? dirname(path) : Buffer.from(dirname(path.toString("latin1")), "latin1");
  makeFolders(parent, mode);
  try {
    mkdirSync(path, mode);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Another process was faster.
    if (code === "EEXIST" && isFolder(path)) return false;
    if (code === "EEXIST")
      throw new DrayError("PATH_IO", `Cannot make folder "${path.toString()}": something that is no folder has this name`, { cause: error });
    if (code !== "ENOENT" || !isFolder(parent)) throw error;
    throw new DrayError("NOT_PERMITTED", `Cannot make folder "${path.toString()}": the file system of "${parent.toString()}" takes no folders`, {
      cause: error,
      hint: "Give a path on a disk.",
    });
  }
}

/** Whether nobody but this user (and root) may write to a folder, so that what lies there is theirs. Throws the system's error where it cannot be seen. */
export function isOursAlone(folder: string): boolean {
  const { uid, mode } = statSync(folder);
  return (process.getuid?.() ?? uid) === uid && (mode & 0o022) === 0;
}

function isFolder(path: string | Buffer): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    // Whatever keeps it from being seen keeps it from being made, and is said there.
    return false;
  }
}
