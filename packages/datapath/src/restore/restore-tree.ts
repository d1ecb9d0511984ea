/**
 * Writes a directory tree.
 *
 * Directories are made with mode 0700 and get their own attributes when everything below them is there; files are written side by side, across directories. Nothing is written
 * through a path: each entry is made in its open directory, and no symbolic link is ever followed, whoever made it.
 *
 *   walk ─► directory: make, open ─► its listing ─► … ─► when the last entry below is done: owner, mode, attributes, times, close
 *        └► file, link, node: a task; at most so many under way
 */
import { linkSync, mkdirSync, symlinkSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { type DirectoryEntry, DirectoryListing, type ObjectId, type SpecialEntry, type StoredAttribute, textOfByteString } from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath, hasErrno } from "../path-errors.ts";
import { below } from "../upload/source-entry.ts";
import { type Attributes, applyAttributes } from "./entry-attributes.ts";
import { guardEntry, type RestoreContext } from "./restore-context.ts";
import { removeExisting, restoreFile } from "./restore-file.ts";

const OWNER_ONLY = 0o700;
/** Longest target that Linux takes for a link. */
const LINK_BYTES_MAX = 4096;
/** Files with several names that are remembered: some 200 bytes each. */
const LINKED_FILES_MAX = 250_000;
const NODE_TYPES = { fifo: 0o010000, socket: 0o140000, char: 0o020000, block: 0o060000 } as const;

/** A directory on its way: closed when its listing was walked and nothing below it is under way. */
interface Node {
  readonly directory: AnchoredDirectory;
  /** Below the root. */
  readonly path: string;
  readonly attributes: Attributes;
  xattrs: readonly StoredAttribute[];
  readonly parent: Node | undefined;
  pending: number;
}

export class TreeRestore {
  readonly #context: RestoreContext;
  readonly #root: AnchoredDirectory;
  readonly #tasks = new Set<Promise<void>>();
  /** The first name of each hard-link group, once it is written; undefined when that failed. */
  readonly #linked = new Map<string, string | undefined | Promise<string | undefined>>();
  #fatal: { readonly error: unknown } | undefined;

  constructor(context: RestoreContext, root: AnchoredDirectory) {
    this.#context = context;
    this.#root = root;
  }

  /** Restores the directory `objectId` into the root, which keeps open. Ends when everything is written, or, on a failure, when nothing is being written any more. */
  async run(objectId: ObjectId, attributes: Attributes): Promise<void> {
    const node: Node = { directory: this.#root, path: "", attributes, xattrs: [], parent: undefined, pending: 1 };
    try {
      await this.#walk(node, objectId);
    } catch (error) {
      this.#fail(error);
    }
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }

  async #walk(node: Node, objectId: ObjectId): Promise<void> {
    const { repository, signal, pacer } = this.#context;
    try {
      const listing = new DirectoryListing(repository.objects, objectId, signal);
      for await (const batch of listing.batches()) {
        for (const entry of batch) {
          this.#throwFatal();
          if (entry.type === "directory") await this.#directory(node, entry);
          else await this.#start(node, entry);
          await pacer.pace();
        }
      }
      const { xattrs, special } = listing.extension;
      node.xattrs = xattrs;
      for (const entry of special) await guardEntry(this.#context, below(node.path, entry.name), () => this.#special(node, entry));
    } finally {
      this.#release(node);
    }
  }

  async #directory(node: Node, entry: DirectoryEntry): Promise<void> {
    const path = below(node.path, entry.name);
    await guardEntry(this.#context, path, async () => {
      const child: Node = { directory: this.#openNew(node.directory, entry.name), path, attributes: entry, xattrs: [], parent: node, pending: 1 };
      node.pending++;
      await this.#walk(child, entry.objectId);
    });
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

  /** Starts the task of a file or link when there is a slot for it. */
  async #start(node: Node, entry: DirectoryEntry): Promise<void> {
    const context = this.#context;
    const path = below(node.path, entry.name);
    const release = await context.fileSlots.acquire(1, context.signal);
    node.pending++;
    const task: Promise<void> = guardEntry(context, path, () => (entry.type === "symlink" ? this.#symlink(node, entry, path) : this.#file(node, entry, path)))
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        release();
        this.#tasks.delete(task);
        this.#release(node);
      });
    this.#tasks.add(task);
  }

  async #file(node: Node, entry: DirectoryEntry, path: string): Promise<void> {
    const group = entry.extension?.linkGroup;
    if (group === undefined) return await restoreFile(this.#context, node.directory, entry, path);
    if (this.#linked.has(group)) {
      const first = await this.#linked.get(group);
      if (first !== undefined && this.#link(node, entry, first.split("/"))) return;
      return await restoreFile(this.#context, node.directory, entry, path);
    }
    const written = restoreFile(this.#context, node.directory, entry, path);
    if (this.#linked.size < LINKED_FILES_MAX) {
      this.#linked.set(
        group,
        written.then(
          () => path,
          () => undefined,
        ),
      );
      await written;
      this.#linked.set(group, path);
    } else {
      await written;
      this.#context.warnings.add(path, `is restored as a file of its own: more than ${LINKED_FILES_MAX} files have several names`);
    }
  }

  /** Makes a further name of a file that is written already. False where the file system cannot. */
  #link(node: Node, entry: DirectoryEntry, first: readonly string[]): boolean {
    const opened: AnchoredDirectory[] = [];
    try {
      let directory = this.#root;
      for (const name of first.slice(0, -1)) {
        directory = directory.openDirectory(name);
        opened.push(directory);
      }
      const at = node.directory.child(entry.name);
      const where = node.directory.pathOf(entry.name);
      if (this.#context.overwrite) removeExisting(at, where);
      atPath("link", where, () => linkSync(directory.child(first.at(-1) ?? ""), at));
    } catch (error) {
      if (!hasErrno(error, "EPERM", "EMLINK", "ENOTSUP", "EXDEV", "EACCES")) throw error;
      return false;
    } finally {
      for (const directory of opened.toReversed()) directory.close();
    }
    this.#context.meter.counts.filesDone++;
    this.#context.meter.counts.bytesDone += entry.size;
    return true;
  }

  async #symlink(node: Node, entry: DirectoryEntry, path: string): Promise<void> {
    const context = this.#context;
    const at = node.directory.child(entry.name);
    const target = Buffer.from(await context.repository.objects.read(entry.objectId, LINK_BYTES_MAX, context.signal));
    if (target.length === 0 || target.includes(0))
      throw new DrayError("REPO_CORRUPT", `Cannot restore symbolic link "${textOfByteString(path)}": its target is empty or holds a NUL byte`);
    const where = node.directory.pathOf(entry.name);
    if (context.overwrite) removeExisting(at, where);
    atPath("create symbolic link", where, () => symlinkSync(target, at));
    applyAttributes(context, { at, path, where, isSymlink: true }, entry, entry.extension?.xattrs ?? []);
  }

  async #special(node: Node, entry: SpecialEntry): Promise<void> {
    const context = this.#context;
    const path = below(node.path, entry.name);
    const at = node.directory.child(entry.name);
    const where = node.directory.pathOf(entry.name);
    if (context.overwrite) removeExisting(at, where);
    try {
      atPath(`create ${entry.kind}`, where, () =>
        context.system.makeNode(at, NODE_TYPES[entry.kind] | OWNER_ONLY, entry.device?.major ?? 0, entry.device?.minor ?? 0),
      );
    } catch (error) {
      // Only root makes device nodes; a volume without them is still restored.
      if (!hasErrno(error, "EPERM", "EACCES")) throw error;
      context.warnings.add(path, error);
      return;
    }
    applyAttributes(context, { at, path, where }, entry, entry.extension?.xattrs ?? []);
  }

  /** One thing less is under way in a directory; the last one gives it its attributes. */
  #release(node: Node): void {
    node.pending--;
    if (node.pending > 0) return;
    try {
      // After a failure the directory stays as it is: its owner can look into it.
      if (this.#fatal === undefined)
        applyAttributes(
          this.#context,
          { at: node.directory.self, path: node.path, where: node.directory.path, fd: node.directory.fd },
          node.attributes,
          node.xattrs,
        );
    } catch (error) {
      this.#fail(error);
    } finally {
      if (node.parent !== undefined) {
        node.directory.close();
        this.#release(node.parent);
      }
    }
  }

  /** Keeps the first error that ends the restore, and stops what is under way. */
  #fail(error: unknown): void {
    this.#fatal ??= { error };
    this.#context.stop.abort(error);
  }

  #throwFatal(): void {
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }
}
