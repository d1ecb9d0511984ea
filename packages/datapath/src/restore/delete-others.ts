/** What a directory held before a restore and the snapshot does not: for a volume that is to be as the snapshot was, and nothing more. */
import { type Dirent, fstatSync, opendirSync, rmdirSync, unlinkSync } from "node:fs";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import type { ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import { atPath } from "../path-errors.ts";
import { below } from "../upload/source-entry.ts";

/** Of ext4: made with the file system, and not by anybody whose files are restored. */
const BELONGS_TO_THE_FILE_SYSTEM = "lost+found";

/** What the removals of one restore share. */
export interface Removal {
  /** Looked at between entries: a tree may have millions of them. */
  readonly pacer: Pacer;
  /** Takes what is left alone. */
  readonly warnings: ProblemList;
  /** st_dev of the file system that is restored to: what is mounted below belongs to somebody else. */
  readonly device: number;
  readonly deviceOf: (directory: AnchoredDirectory) => number;
}

/** Throws PATH_*. */
export function removalIn(target: AnchoredDirectory, { pacer, warnings }: Pick<Removal, "pacer" | "warnings">, deviceOf = statDevice): Removal {
  return { pacer, warnings, device: deviceOf(target), deviceOf };
}

export interface FormerEntriesOptions {
  /** Of the directory, below the root. */
  readonly path: string;
  readonly isRoot: boolean;
  readonly removal: Removal;
}

/** The entries of one directory that the listing of the snapshot has not named yet. */
export class FormerEntries {
  readonly #directory: AnchoredDirectory;
  readonly #path: string;
  readonly #removal: Removal;
  /** By name: whether it is a directory. */
  readonly #left = new Map<string, boolean>();

  /** Throws PATH_*. */
  constructor(directory: AnchoredDirectory, { path, isRoot, removal }: FormerEntriesOptions) {
    this.#directory = directory;
    this.#path = path;
    this.#removal = removal;
    if (isMountedThere(removal, directory, path)) return;
    forEachEntry(directory, (entry) => this.#left.set(entry.name, entry.isDirectory()));
    if (isRoot) this.#left.delete(BELONGS_TO_THE_FILE_SYSTEM);
  }

  /** The snapshot has one of that name. A directory is taken away where something else is to be: it would be in the way. Throws PATH_*, and the signal's reason. */
  async keep(name: string, isDirectory: boolean): Promise<void> {
    const wasDirectory = this.#left.get(name) === true;
    this.#left.delete(name);
    if (wasDirectory && !isDirectory) await removeTree(this.#removal, this.#directory, name, this.#pathOf(name));
  }

  /** Removes what the whole listing did not name. Throws PATH_*, and the signal's reason. */
  async removeOthers(): Promise<void> {
    for (const [name, isDirectory] of this.#left) await removeEntry(this.#removal, this.#directory, { name, isDirectory, path: this.#pathOf(name) });
  }

  #pathOf(name: string): string {
    return below(this.#path, name);
  }
}

interface FormerEntry {
  readonly name: string;
  readonly isDirectory: boolean;
  /** Below the root. */
  readonly path: string;
}

/** False where something of it was left alone. */
async function removeEntry(removal: Removal, parent: AnchoredDirectory, { name, isDirectory, path }: FormerEntry): Promise<boolean> {
  await removal.pacer.pace();
  if (isDirectory) return await removeTree(removal, parent, name, path);
  atPath("remove", parent.pathOf(name), () => unlinkSync(parent.child(name)));
  return true;
}

/** Through the open directory, so that one that is swapped for a link meanwhile leads nowhere. False where something of it was left alone. */
async function removeTree(removal: Removal, parent: AnchoredDirectory, name: string, path: string): Promise<boolean> {
  const directory = parent.openDirectory(name);
  let isEmpty = true;
  try {
    if (isMountedThere(removal, directory, path)) return false;
    const entries: FormerEntry[] = [];
    forEachEntry(directory, (entry) => entries.push({ name: entry.name, isDirectory: entry.isDirectory(), path: below(path, entry.name) }));
    for (const entry of entries) isEmpty = (await removeEntry(removal, directory, entry)) && isEmpty;
  } finally {
    directory.close();
  }
  if (isEmpty) atPath("remove directory", parent.pathOf(name), () => rmdirSync(parent.child(name)));
  return isEmpty;
}

function isMountedThere({ device, deviceOf, warnings }: Removal, directory: AnchoredDirectory, path: string): boolean {
  if (deviceOf(directory) === device) return false;
  warnings.add(path, "nothing was removed from it: it is on another file system than the target");
  return true;
}

function statDevice({ fd, path }: AnchoredDirectory): number {
  return atPath("look at", path, () => fstatSync(fd).dev);
}

function forEachEntry(directory: AnchoredDirectory, take: (entry: Dirent) => void): void {
  atPath("list directory", directory.path, () => {
    const handle = opendirSync(directory.self, { encoding: "latin1" });
    try {
      for (let entry = handle.readSync(); entry !== null; entry = handle.readSync()) take(entry);
    } finally {
      handle.closeSync();
    }
  });
}
