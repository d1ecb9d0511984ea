/** The entries of files one by one: taken over from a parent or from another name, or of data that is stored by itself. */
import { closeSync } from "node:fs";
import { asBuffer, hasCode } from "@drayage/base";
import { type DirectoryEntry, decodeRawEntry, type ObjectId, parseObjectId } from "@drayage/repo";
import type { ParentLookup } from "./parent-lookup.ts";
import { BLOCK_BYTES, below, extensionOf, type FileStat, factsOf, isUnchanged, xattrsOf } from "./source-entry.ts";
import { type Register, storeOpenFile } from "./store-file.ts";
import { type OpenFile, openRegularFile } from "./upload-file.ts";
import type { Outcome, TreeUpload, Walk } from "./upload-tree.ts";

/** What is known of an entry by its parents: the text of the entry that one of them has, and whom to ask by its name. */
export interface Known {
  readonly text: Uint8Array | undefined;
  readonly ask: readonly ParentLookup[];
}

export class SingleFiles {
  readonly #tree: TreeUpload;
  #key: Buffer = Buffer.alloc(0);

  constructor(tree: TreeUpload) {
    this.#tree = tree;
  }

  /** The entry of a file that a parent has as it is. */
  async unchanged(walk: Walk, name: string, stat: FileStat, { text, ask }: Known): Promise<DirectoryEntry | undefined> {
    const isIt = (found: DirectoryEntry | undefined): found is DirectoryEntry =>
      found !== undefined && isUnchanged(stat, "file", found) && this.#isStored(found.objectId);
    const compared = text === undefined ? undefined : entryOf(text);
    if (isIt(compared)) return this.#cached(walk, name, stat, compared.objectId);
    for (const parent of ask) {
      const found = await parent.find({ name, type: "file" });
      if (isIt(found)) return this.#cached(walk, name, stat, found.objectId);
    }
    return undefined;
  }

  /** The entry of a further name of a file that was read under another one. */
  async otherName(walk: Walk, name: string, stat: FileStat): Promise<DirectoryEntry | undefined> {
    const group = this.#tree.linkGroupOf(stat);
    const shared = group === undefined ? undefined : await this.#tree.metAgain(group);
    return shared !== undefined && shared.size === Number(stat.size) ? this.#cached(walk, name, stat, shared.objectId) : undefined;
  }

  /** Opens a file and starts to store it. The outcome comes when it is stored; the walk need not wait for it. */
  async open(walk: Walk, name: string, path: string): Promise<{ readonly outcome: Promise<Outcome> }> {
    const { context } = this.#tree;
    await context.lanes?.room();
    const file = openRegularFile(context, walk.directory, name);
    if (file === undefined) {
      context.warnings.add(path, "was replaced by something else while the directory was read");
      return { outcome: Promise.resolve(undefined) };
    }
    // By what was opened: another file may have taken the name since it was looked at, and a restore would give it the bytes of the group.
    const group = this.#tree.linkGroupOf(file.stat);
    const xattrs = xattrsOf(context, walk.directory.child(name), path);
    const extension = extensionOf({ linkGroup: group, holes: file.holes, xattrs });
    const facts = { name, type: "file" as const, ...factsOf(file.stat) };
    const entry = { ...facts, size: Number(file.stat.size), ...extension };
    const where = walk.directory.pathOf(name);
    const register: Register = (partial) => {
      const underWay = { entry, partial };
      walk.underWay.files.add(underWay);
      return () => void walk.underWay.files.delete(underWay);
    };
    const options = walk.rules?.fileOptions(name, Number(file.stat.size));
    const data = storeOpenFile(context, file, { path, where }, register, options);
    if (group !== undefined) this.#tree.remember(group, Number(file.stat.nlink) - 1, data);
    const outcome = data.then(({ objectId, size }): Outcome => {
      this.countRead(1, size, 0);
      // Holes lie within the size that was stored.
      const isWhole = size === Number(file.stat.size);
      return { entry: { ...facts, size, objectId, ...(isWhole ? extension : extensionOf({ linkGroup: group, holes: [], xattrs })) } };
    });
    outcome.catch(() => undefined);
    // Without lanes one file is read at a time.
    if (context.lanes === undefined) await outcome.catch(() => undefined);
    return { outcome };
  }

  /** An entry whose data is in the repository already. */
  #cached(walk: Walk, name: string, stat: FileStat, objectId: ObjectId): DirectoryEntry {
    const { context } = this.#tree;
    const size = Number(stat.size);
    this.countCached(size);
    const xattrs = xattrsOf(context, walk.directory.child(name), below(walk.path, name));
    const holes = stat.blocks * BigInt(BLOCK_BYTES) < stat.size ? this.#holes(walk, name) : [];
    return { name, type: "file", size, ...factsOf(stat), objectId, ...extensionOf({ linkGroup: this.#tree.linkGroupOf(stat), holes, xattrs }) };
  }

  /** The holes of a file that is not read otherwise: parents are not asked, since Kopia's know none. */
  #holes(walk: Walk, name: string): OpenFile["holes"] {
    const file = openRegularFile(this.#tree.context, walk.directory, name);
    if (file === undefined) return [];
    closeSync(file.fd);
    return file.holes;
  }

  /** Whether the content that an object begins with is in the repository still. */
  #isStored(objectId: string): boolean {
    const { contents } = this.#tree.context.repository;
    // Nearly all objects are one content of file data: no need for text and objects.
    if (contents.hasKey === undefined || !/^[0-9a-f]/.test(objectId)) return contents.info(parseObjectId(objectId).contentId)?.deleted === false;
    const bytes = objectId.length >>> 1;
    if (this.#key.length !== bytes + 1) this.#key = Buffer.alloc(bytes + 1);
    this.#key.write(objectId, 1, "hex");
    return contents.hasKey(this.#key);
  }

  /** Counts files whose data is in the repository already. */
  countCached(size: number, files = 1): void {
    const { counts, meter } = this.#tree.context;
    counts.files += files;
    counts.cachedFiles += files;
    counts.bytes += size;
    counts.cachedBytes += size;
    meter.counts.filesDone += files;
    meter.counts.bytesDone += size;
  }

  /** @param done - bytes that were not told as progress yet */
  countRead(files: number, size: number, done: number = size): void {
    const { counts, meter } = this.#tree.context;
    counts.files += files;
    counts.bytes += size;
    meter.counts.filesDone += files;
    meter.counts.bytesDone += done;
  }
}

/** An entry of a parent's listing. Undefined for one that cannot be decoded: the file is then read. */
function entryOf(text: Uint8Array): DirectoryEntry | undefined {
  try {
    return decodeRawEntry(asBuffer(text), "a parent's listing");
  } catch (error) {
    if (!hasCode(error, "REPO_CORRUPT")) throw error;
    return undefined;
  }
}
