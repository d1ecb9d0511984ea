/**
 * Which snapshots are those of a device. Velero's file-system mover names the one file after the device's path (velero.md 8.3); its block mover, of a later release, replaces the
 * slashes, writes blocks of exactly 1 MiB, pads the last one and says in a tag how long the device was (velero.md 12).
 */
import { DrayError } from "@drayage/base";
import { type DirectoryEntry, DirectoryListing, type ObjectId, type Repository, type Snapshot } from "@drayage/repo";

/** The tag that says how long the device of a padded object was, in bytes. */
export const DEVICE_BYTES_TAG = "bdev-source-size";

/** Bytes of the device whose object was padded to whole blocks; undefined for snapshots that are not. Throws REPO_CORRUPT when what is stated is no size. */
export function deviceBytesOf({ id, tags }: Pick<Snapshot, "id" | "tags">): number | undefined {
  const text = tags[DEVICE_BYTES_TAG];
  if (text === undefined) return undefined;
  const bytes = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(bytes)) return bytes;
  throw new DrayError("REPO_CORRUPT", `Cannot restore snapshot "${id}": its tag ${DEVICE_BYTES_TAG} is "${text}", the bytes of a device are wanted`);
}

/** The file of a block snapshot's root directory: its only entry, a file. Undefined when the directory is another one. */
export async function blockFileOf(repository: Repository, root: ObjectId, signal?: AbortSignal): Promise<DirectoryEntry | undefined> {
  let only: DirectoryEntry | undefined;
  for await (const entry of new DirectoryListing(repository.objects, root, signal, { aroundBytes: 0 }).entries()) {
    if (only !== undefined || entry.type !== "file") return undefined;
    only = entry;
  }
  return only;
}

/** Whether a root entry is that of a block snapshot: its only entry is a file whose name is a path, which no file of a directory can have. */
export async function isBlockSnapshot(repository: Repository, root: DirectoryEntry, signal?: AbortSignal): Promise<boolean> {
  if (root.type !== "directory" || (root.summary !== undefined && root.summary.files !== 1)) return false;
  return (await blockFileOf(repository, root.objectId, signal))?.name.includes("/") === true;
}
