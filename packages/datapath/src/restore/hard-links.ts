/**
 * Entries that are names of one file: the first is written, the others wait for it and become links. Where the first failed, or the file system cannot link, a name becomes a file
 * of its own.
 */
import { linkSync } from "node:fs";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath, hasErrno } from "../path-errors.ts";
import { removeExisting } from "./file-writer.ts";
import type { FileTask } from "./restore-target.ts";

/** Files with several names that are remembered: some 200 bytes each. */
const LINKED_FILES_MAX = 250_000;

type Group = { readonly state: "pending"; readonly waiting: FileTask[] } | { readonly state: "written"; readonly path: string };

export interface HardLinksOptions {
  readonly root: AnchoredDirectory;
  readonly overwrite: boolean;
  /** A name is a link now, or `error` says why it is none. */
  readonly onLinked: (task: FileTask, error: unknown) => void;
  readonly onForgotten: (task: FileTask, why: string) => void;
}

export class HardLinks {
  readonly #on: HardLinksOptions;
  readonly #groups = new Map<string, Group>();
  /** Names that have to become files after all. */
  #asFiles: FileTask[] = [];

  constructor(options: HardLinksOptions) {
    this.#on = options;
  }

  /** Whether the name is dealt with here; otherwise it is to be written as a file. */
  take(task: FileTask): boolean {
    const group = task.entry.linkGroup;
    if (group === undefined) return false;
    const known = this.#groups.get(group);
    if (known === undefined) {
      if (this.#groups.size < LINKED_FILES_MAX) this.#groups.set(group, { state: "pending", waiting: [] });
      else this.#on.onForgotten(task, `is restored as a file of its own: more than ${LINKED_FILES_MAX} files have several names`);
      return false;
    }
    if (known.state === "pending") known.waiting.push(task);
    else this.#link(task, known.path);
    return true;
  }

  /** The file that was written for a name is there, or is not. */
  settled(task: FileTask, ok: boolean): void {
    const group = task.entry.linkGroup;
    const known = group === undefined ? undefined : this.#groups.get(group);
    if (group === undefined || known?.state !== "pending") return;
    if (ok) this.#groups.set(group, { state: "written", path: task.path });
    else this.#groups.delete(group);
    for (const waiting of known.waiting) {
      if (ok) this.#link(waiting, task.path);
      else this.#asFiles.push(waiting);
    }
  }

  get hasFiles(): boolean {
    return this.#asFiles.length > 0;
  }

  /** Names that have to become files after all, once each. */
  takeFiles(): FileTask[] {
    const files = this.#asFiles;
    this.#asFiles = [];
    return files;
  }

  #link(task: FileTask, first: string): void {
    const opened: AnchoredDirectory[] = [];
    const { root, overwrite, onLinked } = this.#on;
    const { directory } = task.node;
    try {
      const names = first.split("/");
      let from = root;
      for (const name of names.slice(0, -1)) {
        from = from.openDirectory(name);
        opened.push(from);
      }
      const at = directory.child(task.entry.name);
      const where = directory.pathOf(task.entry.name);
      if (overwrite) removeExisting(at, where);
      atPath("link", where, () => linkSync(from.child(names.at(-1) ?? ""), at));
    } catch (error) {
      if (hasErrno(error, "EPERM", "EMLINK", "ENOTSUP", "EXDEV", "EACCES")) this.#asFiles.push(task);
      else onLinked(task, error);
      return;
    } finally {
      for (const at of opened.toReversed()) at.close();
    }
    onLinked(task, undefined);
  }
}
