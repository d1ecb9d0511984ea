/**
 * Writes a directory tree.
 *
 * Directories are made with mode 0700 and get their own attributes when everything below them is there; files are brought to their contents by the planner. Nothing is written
 * through a path: each entry is made in its open directory, and no symbolic link is ever followed, whoever made it.
 *
 *   walk ─► directory: make, open ─► its listing ─► … ─► when the last entry below is done: owner, mode, attributes, times, close
 *        ├► file, symbolic link: planned, in windows
 *        └► device, pipe, socket: made at once
 */
import { mkdirSync } from "node:fs";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath, hasErrno } from "../path-errors.ts";
import { below } from "../upload/source-entry.ts";
import { FormerEntries, type Removal, removalIn } from "./delete-others.ts";
import { applyAttributes } from "./entry-attributes.ts";
import { FilePlanner } from "./file-planner.ts";
import { makeSymlink, removeExisting } from "./file-writer.ts";
import { HardLinks } from "./hard-links.ts";
import type { TransferStatistics } from "./planned-transfer.ts";
import { guardEntry, noteFailure, type RestoreContext } from "./restore-context.ts";
import type { RestoreEntry } from "./restore-source.ts";
import { type DirectoryNode, FileTask } from "./restore-target.ts";
import type { WritePool } from "./write-pool.ts";

const OWNER_ONLY = 0o700;
const NODE_TYPES = { fifo: 0o010000, socket: 0o140000, char: 0o020000, block: 0o060000 } as const;

export class TreeRestore {
  readonly #context: RestoreContext;
  readonly #pool: WritePool;
  readonly #root: AnchoredDirectory;
  readonly #planner: FilePlanner;
  readonly #links: HardLinks;
  /** Directories that are open, those that lead to where the walk is included. */
  readonly #open = new Set<DirectoryNode>();
  #depth = 0;
  /** Where what the snapshot does not hold is removed: on the target's own file system. Undefined where nothing is. */
  #removal: Removal | undefined;
  #fatal: { readonly error: unknown } | undefined;

  constructor(context: RestoreContext, pool: WritePool, root: AnchoredDirectory) {
    this.#context = context;
    this.#pool = pool;
    this.#root = root;
    this.#planner = new FilePlanner({ context, pool, onSettled: (task, error) => this.#settled(task, error), onFatal: (error) => this.#fail(error) });
    this.#links = new HardLinks({
      root,
      overwrite: context.overwrite,
      onLinked: (task, error) => this.#linked(task, error),
      onForgotten: (task, why) => void context.warnings.add(task.path, why),
    });
  }

  get statistics(): TransferStatistics {
    return this.#planner.statistics;
  }

  /** Restores a directory into the root, which keeps open. Ends when everything is written, or, on a failure, when nothing is being written any more. */
  async runDirectory(entry: RestoreEntry, keepAttributes = false): Promise<void> {
    const attributes = keepAttributes ? undefined : entry;
    const node: DirectoryNode = { directory: this.#root, path: "", attributes, xattrs: [], parent: undefined, pending: 1 };
    // What could not be read may be anywhere below, and all that is left of it may be what the target holds.
    if (this.#context.deleteOthers && !this.#isLeftAlone("", entry.missing)) this.#removal = removalIn(this.#root, this.#context);
    await this.#run(() => this.#walk(node, entry));
  }

  /** Restores one file into the root, which keeps its attributes. */
  async runFile(entry: RestoreEntry): Promise<void> {
    const node: DirectoryNode = { directory: this.#root, path: "", attributes: undefined, xattrs: [], parent: undefined, pending: 1 };
    await this.#run(async () => {
      await this.#entry(node, entry);
      this.#release(node);
    });
  }

  async #run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      await this.#finish();
    } catch (error) {
      this.#fail(error);
    }
    await this.#planner.drain();
    this.#planner.abandon();
    // After a failure there is work that never was: nobody else closes what it was planned in.
    for (const { directory } of this.#open) directory.close();
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }

  /** Names that could not become links are planned like files, which may settle others. */
  async #finish(): Promise<void> {
    do {
      for (const task of this.#links.takeFiles()) await this.#planner.add(task);
      await this.#planner.flush();
      await this.#planner.drain();
      this.#throwFatal();
    } while (this.#links.hasFiles);
  }

  async #walk(node: DirectoryNode, entry: RestoreEntry): Promise<void> {
    const { source, signal, pacer } = this.#context;
    try {
      const former = this.#formerEntries(node, entry);
      const listing = source.list(entry, signal);
      for await (const batch of listing.batches()) {
        for (const child of batch) {
          this.#throwFatal();
          if (former !== undefined) await guardEntry(this.#context, this.#pathOf(node, child), () => former.keep(child.name, child.type === "directory"));
          await this.#entry(node, child);
          if (pacer.isDue()) await pacer.turn();
        }
      }
      node.xattrs = listing.xattrs;
      // Only now: of a listing that breaks off in the middle nobody knows what it would have named.
      if (former !== undefined && !this.#isLeftAlone(node.path, listing.missing)) await guardEntry(this.#context, node.path, () => former.removeOthers());
    } finally {
      this.#release(node);
    }
  }

  #formerEntries({ directory, path, parent }: DirectoryNode, { missing }: RestoreEntry): FormerEntries | undefined {
    if (this.#removal === undefined || this.#isLeftAlone(path, missing)) return undefined;
    return new FormerEntries(directory, { path, isRoot: parent === undefined, removal: this.#removal });
  }

  /** Whether nothing is removed from a directory because what it holds may be what the snapshot lacks; a warning then says so. */
  #isLeftAlone(path: string, missing = 0): boolean {
    if (missing === 0) return false;
    this.#context.warnings.add(path, `nothing was removed from it: ${missing} of its entries could not be read when the snapshot was made, which lacks them`);
    return true;
  }

  async #entry(node: DirectoryNode, entry: RestoreEntry): Promise<void> {
    const path = this.#pathOf(node, entry);
    switch (entry.type) {
      case "directory":
        await guardEntry(this.#context, path, () => this.#directory(node, entry, path));
        return;
      case "file":
        return await this.#file(new FileTask(node, entry, path));
      case "symlink":
        if (entry.linkTarget === undefined) return await this.#file(new FileTask(node, entry, path));
        await guardEntry(this.#context, path, async () => this.#symlink(node, entry, path));
        return;
      default:
        await guardEntry(this.#context, path, async () => this.#special(node, entry, path));
    }
  }

  #pathOf(node: DirectoryNode, { name }: RestoreEntry): string {
    return node.path === "" ? name : below(node.path, name);
  }

  async #file(task: FileTask): Promise<void> {
    task.node.pending++;
    if (this.#links.take(task)) return;
    await this.#planner.add(task);
    // Planning throws what ends the restore only from here: what went wrong with the file itself was told already.
    this.#throwFatal();
  }

  async #directory(node: DirectoryNode, entry: RestoreEntry, path: string): Promise<void> {
    await this.#limitOpen();
    const child: DirectoryNode = { directory: this.#openNew(node.directory, entry.name), path, attributes: entry, xattrs: [], parent: node, pending: 1 };
    node.pending++;
    this.#open.add(child);
    this.#depth++;
    try {
      await this.#walk(child, entry);
    } finally {
      this.#depth--;
    }
  }

  /** Waits until so many directories are done that no more than a bounded number of descriptors is held. */
  async #limitOpen(): Promise<void> {
    if (this.#open.size - this.#depth < this.#context.limits.openDirectories) return;
    for (const task of this.#links.takeFiles()) await this.#planner.add(task);
    await this.#planner.flush();
    await this.#planner.drain();
    this.#throwFatal();
  }

  #openNew(parent: AnchoredDirectory, name: string): AnchoredDirectory {
    const at = parent.child(name);
    const where = parent.pathOf(name);
    try {
      atPath("create directory", where, () => mkdirSync(at, OWNER_ONLY));
    } catch (error) {
      if (!this.#context.overwrite || !hasErrno(error, "EEXIST")) throw error;
      try {
        return parent.openDirectory(name);
      } catch (notDirectory) {
        // A file or a link is in the way.
        if (!hasErrno(notDirectory, "ENOTDIR", "ELOOP")) throw notDirectory;
        removeExisting(at, where);
        atPath("create directory", where, () => mkdirSync(at, OWNER_ONLY));
      }
    }
    return parent.openDirectory(name);
  }

  #symlink(node: DirectoryNode, entry: RestoreEntry, path: string): void {
    const at = node.directory.child(entry.name);
    const where = node.directory.pathOf(entry.name);
    makeSymlink(this.#context, { at, where, path, overwrite: this.#context.overwrite }, entry.linkTarget ?? new Uint8Array(0), entry, entry.xattrs ?? []);
  }

  #special(node: DirectoryNode, entry: RestoreEntry, path: string): void {
    const context = this.#context;
    const at = node.directory.child(entry.name);
    const where = node.directory.pathOf(entry.name);
    const type = NODE_TYPES[entry.type as keyof typeof NODE_TYPES];
    if (context.overwrite) removeExisting(at, where);
    try {
      atPath(`create ${entry.type}`, where, () => context.system.makeNode(at, type | OWNER_ONLY, entry.device?.major ?? 0, entry.device?.minor ?? 0));
    } catch (error) {
      // Only root makes device nodes; a volume without them is still restored.
      if (!hasErrno(error, "EPERM", "EACCES")) throw error;
      context.warnings.add(path, error);
      return;
    }
    applyAttributes(context, { at, path, where }, entry, entry.xattrs ?? []);
  }

  #settled(task: FileTask, error: unknown): void {
    this.#links.settled(task, error === undefined);
    this.#entryDone(task, error);
  }

  #linked(task: FileTask, error: unknown): void {
    if (error === undefined) {
      this.#context.meter.counts.filesDone++;
      this.#context.meter.counts.bytesDone += task.entry.size;
    }
    this.#entryDone(task, error);
  }

  #entryDone(task: FileTask, error: unknown): void {
    try {
      if (error !== undefined) noteFailure(this.#context, task.path, error);
    } catch (fatal) {
      this.#fail(fatal);
    }
    this.#release(task.node);
  }

  /** One thing less is under way in a directory; the last one gives it its attributes. */
  #release(node: DirectoryNode): void {
    node.pending--;
    if (node.pending > 0) return;
    try {
      // After a failure the directory stays as it is: its owner can look into it.
      if (this.#fatal === undefined && node.attributes !== undefined) {
        const { self: at, path: where, fd } = node.directory;
        applyAttributes(this.#context, { at, path: node.path, where, fd }, node.attributes, node.xattrs);
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      if (node.parent !== undefined) {
        node.directory.close();
        this.#open.delete(node);
        this.#release(node.parent);
      }
    }
  }

  /** Keeps the first error that ends the restore, and stops what is under way. */
  #fail(error: unknown): void {
    this.#fatal ??= { error };
    this.#context.stop.abort(error);
    this.#pool.stop();
  }

  #throwFatal(): void {
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }
}
