import { type FileHandle, open } from "node:fs/promises";
import { DrayError, messageOf } from "@drayage/base";

/** Opens a file of the local disk that is to be stored. Throws PATH_NOT_FOUND, PATH_IO: the fault is here and not at the store. */
export async function openSourceFile(path: string, action: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (error) {
    const missing = (error as { code?: unknown }).code === "ENOENT";
    throw new DrayError(
      missing ? "PATH_NOT_FOUND" : "PATH_IO",
      `${action}: file "${path}" ${missing ? "is not there" : `cannot be opened (${messageOf(error)})`}`,
      { cause: error },
    );
  }
}
