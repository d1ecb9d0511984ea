/** Finds an entry of a snapshot by its path. */
import { DrayError } from "@drayage/base";
import { byteStringOf, type DirectoryEntry, findEntry, type Repository, type Snapshot } from "@drayage/repo";

/** The entry at `path` below a snapshot's root; the root itself for an empty path. Throws PATH_NOT_FOUND, REPO_CORRUPT. */
export async function findInSnapshot(repository: Repository, snapshot: Snapshot, path: string, signal?: AbortSignal): Promise<DirectoryEntry> {
  if (snapshot.rootEntry === undefined) {
    throw new DrayError("REPO_CORRUPT", `Cannot read snapshot "${snapshot.id}": its manifest names no root`);
  }
  let entry = snapshot.rootEntry;
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  for (const [depth, name] of names.entries()) {
    const found = entry.type === "directory" ? await findEntry(repository.objects, entry.objectId, byteStringOf(name), signal) : undefined;
    if (found === undefined) {
      throw new DrayError("PATH_NOT_FOUND", `Cannot find "${names.slice(0, depth + 1).join("/")}" in snapshot "${snapshot.id}": it is not there`);
    }
    entry = found;
  }
  return entry;
}
