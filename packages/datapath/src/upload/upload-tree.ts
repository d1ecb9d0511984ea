/**
 * Walks a directory tree and stores it, depth first: a directory's listing is written while its entries are, and closed when the last one is there.
 *
 * Per entry: one lstat and one listing of extended attributes; files that a parent snapshot has unchanged are not opened. Small files are read at once, large ones side by side
 * up to a limit, and their entries still land in order. What cannot be read is a problem in the result and missing from the listing; what the repository throws ends the upload.
 *
 * Memory: the names of the directories on the way down, one listing under way for each of them, and the buffers of the files being read.
 */
import { type BigIntStats, closeSync, lstatSync, readlinkSync } from "node:fs";
import { Semaphore } from "@drayage/base";
import {
  type DirectoryEntry,
  DirectoryListingWriter,
  EXTENDED_VERSION,
  type ObjectId,
  ObjectWriter,
  parseObjectId,
  type SpecialEntry,
  textOfByteString,
  type WrittenDirectory,
} from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { isPathProblem } from "../entry-problems.ts";
import { atPath, hasErrno } from "../path-errors.ts";
import type { DirectoryUnderWay } from "./checkpoints.ts";
import { readDirectoryNames } from "./directory-names.ts";
import { DirectoryRules } from "./directory-rules.ts";
import { ParentCursor } from "./parent-cursor.ts";
import { below, deviceOf, extensionOf, factsOf, isUnchanged, linkGroupOf, specialKindOf, xattrsOf } from "./source-entry.ts";
import { countContent, objectWritersOf, type UploadContext, type UploadedData } from "./upload-context.ts";
import { openRegularFile, SMALL_FILE_BYTES, uploadFile } from "./upload-file.ts";

/** Entries that wait in order behind a large file under way. */
const WAITING_MAX = 4096;
/** Files with several names whose data is remembered; of more, the further names are read again and deduplicated. */
const LINKED_FILES_MAX = 200_000;

export class TreeUpload {
  readonly #context: UploadContext;
  readonly #rootDevice: bigint;
  readonly #slots: Semaphore;
  /** What the names of one file share, until the last of them was met. */
  readonly #linked = new Map<string, { readonly data: Promise<UploadedData | undefined>; left: number }>();
  /** The first error of a file under way that ends the upload. */
  #fatal: { readonly error: unknown } | undefined;

  constructor(context: UploadContext, rootDevice: bigint) {
    this.#context = context;
    this.#rootDevice = rootDevice;
    this.#slots = new Semaphore(context.parallel);
  }

  /**
   * Stores a directory. `path` is its place below the root, empty for the root; `entry` what its parent will say of it.
   * Throws PATH_* and NOT_PERMITTED when the directory itself cannot be read.
   */
  async directory(
    directory: AnchoredDirectory,
    path: string,
    entry: DirectoryUnderWay["entry"],
    parents: readonly ObjectId[],
    above?: DirectoryRules,
  ): Promise<WrittenDirectory> {
    const context = this.#context;
    const { repository, signal } = context;
    const all = await readDirectoryNames(directory, context.pacer);
    const rules =
      context.policies === undefined
        ? undefined
        : (above?.enter(context, directory, path, all) ?? DirectoryRules.ofRoot(context, context.policies, directory, all));
    const names = rules?.filter(context, all) ?? all;
    const listing = new DirectoryListingWriter(objectWritersOf(context), countContent(context.meter));
    const underWay: DirectoryUnderWay = { entry, listing, files: new Set() };
    const cursors = parents.map((parent) => new ParentCursor(repository.objects, parent, signal));
    const walk = { directory, path, underWay, cursors, rules, special: [] as SpecialEntry[] };
    context.checkpoints.stack.push(underWay);
    try {
      for (const name of names.directories) await this.#subdirectory(walk, name);
      await this.#others(walk, names.others);
      context.counts.directories++;
      const xattrs = xattrsOf(context, directory.self, path);
      return await listing.finish({ mtimeNs: entry.mtimeNs, extension: { version: EXTENDED_VERSION, xattrs, special: walk.special } }, signal);
    } finally {
      context.checkpoints.stack.pop();
      listing.abandon();
      for (const cursor of cursors) await cursor.close();
    }
  }

  async #subdirectory(walk: Walk, name: string): Promise<void> {
    const context = this.#context;
    const path = below(walk.path, name);
    await this.#guard(
      walk,
      path,
      async () => {
        const stat = this.#stat(walk, name, path);
        if (stat === undefined) return undefined;
        // It was a directory when the names were read.
        if (!stat.isDirectory()) return void context.warnings.add(path, "was replaced by something else while the directory was read");
        if (walk.rules?.oneFileSystem === true && stat.dev !== lstatSync(walk.directory.self, { bigint: true }).dev)
          return void context.counts.excludedDirectories++;
        const child = walk.directory.openDirectory(name);
        try {
          const entry = { name, type: "directory" as const, size: 0, ...factsOf(stat) };
          const parents: ObjectId[] = [];
          for (const cursor of walk.cursors) {
            const found = await cursor.find(entry);
            if (found !== undefined) parents.push(found.objectId);
          }
          const written = await this.directory(child, path, entry, parents, walk.rules);
          await walk.underWay.listing.add({ ...entry, ...written }, this.#context.signal);
        } finally {
          child.close();
        }
        return undefined;
      },
      "directory",
    );
    await this.#rest();
  }

  async #others(walk: Walk, names: readonly string[]): Promise<void> {
    const { listing } = walk.underWay;
    const { signal } = this.#context;
    // Entries in order; those behind a file under way wait for it.
    const waiting: Outcome[] = [];
    const settle = async (leave: number): Promise<void> => {
      while (waiting.length > leave) {
        const next = waiting[0] as Outcome;
        const entry = "later" in next ? await next.later : next.now;
        waiting.shift();
        if (entry !== undefined) await listing.add(entry, signal);
      }
    };
    try {
      for (const name of names) {
        const outcome = await this.#other(walk, name);
        waiting.push(outcome);
        await settle("later" in (waiting[0] as Outcome) ? WAITING_MAX : 0);
        this.#throwFatal();
        await this.#rest();
      }
      await settle(0);
    } finally {
      // Nothing may go on reading once the directory is given up.
      for (const outcome of waiting) if ("later" in outcome) await outcome.later;
    }
    this.#throwFatal();
  }

  async #other(walk: Walk, name: string): Promise<Outcome> {
    const path = below(walk.path, name);
    const outcome = await this.#guard(walk, path, async (): Promise<Outcome> => {
      const stat = this.#stat(walk, name, path);
      if (stat === undefined) return NOTHING;
      if (stat.isFile()) return await this.#file(walk, name, path, stat);
      if (stat.isSymbolicLink()) return { now: await this.#symlink(walk, name, path, stat) };
      if (stat.isDirectory()) this.#context.warnings.add(path, "was replaced by a directory while the directory was read");
      else this.#special(walk, name, path, stat);
      return NOTHING;
    });
    return outcome ?? NOTHING;
  }

  async #file(walk: Walk, name: string, path: string, stat: BigIntStats): Promise<Outcome> {
    const context = this.#context;
    if (walk.rules?.isTooLarge(Number(stat.size)) === true) {
      context.counts.excludedFiles++;
      return NOTHING;
    }
    const key = { name, type: "file" as const };
    for (const cursor of walk.cursors) {
      const parent = await cursor.find(key);
      if (parent === undefined || !isUnchanged(stat, "file", parent) || !this.#isStored(parent.objectId)) continue;
      return { now: this.#cached(walk, name, path, stat, parent.objectId) };
    }
    const met = linkGroupOf(stat, this.#rootDevice);
    const known = met === undefined ? undefined : this.#metAgain(met);
    if (known !== undefined) {
      const shared = await known;
      if (shared !== undefined && shared.size === Number(stat.size)) return { now: this.#cached(walk, name, path, stat, shared.objectId) };
    }
    const file = openRegularFile(context, walk.directory, name);
    if (file === undefined) {
      context.warnings.add(path, "was replaced by something else while the directory was read");
      return NOTHING;
    }
    // By what was opened: another file may have taken the name since it was looked at, and a restore would give it the bytes of the group.
    const group = linkGroupOf(file.stat, this.#rootDevice);
    const xattrs = xattrsOf(context, walk.directory.child(name), path);
    const extension = extensionOf({ linkGroup: group, holes: file.holes, xattrs });
    const facts = { name, type: "file" as const, ...factsOf(file.stat) };
    const register = (object: ObjectWriter): (() => void) => {
      const underWay = { entry: { ...facts, size: Number(file.stat.size), ...extension }, object };
      walk.underWay.files.add(underWay);
      return () => void walk.underWay.files.delete(underWay);
    };
    const upload = async (): Promise<DirectoryEntry> => {
      const options = walk.rules?.fileOptions(name, Number(file.stat.size));
      const data = uploadFile(context, file, { path, where: walk.directory.pathOf(name) }, register, options);
      if (group !== undefined) this.#remember(group, Number(file.stat.nlink) - 1, data);
      const { objectId, size } = await data;
      context.counts.files++;
      context.counts.bytes += size;
      context.meter.counts.filesDone++;
      // Holes lie within the size that was stored.
      const isWhole = size === Number(file.stat.size);
      return { ...facts, size, objectId, ...(isWhole ? extension : extensionOf({ linkGroup: group, holes: [], xattrs })) };
    };
    if (Number(file.stat.size) <= SMALL_FILE_BYTES) return { now: await upload() };
    const release = await this.#slots.acquire(1, context.signal).catch((error: unknown) => {
      closeSync(file.fd);
      throw error;
    });
    return { later: this.#guard(walk, path, upload).catch(this.#keepFatal).finally(release) };
  }

  /** An entry whose data is in the repository already. */
  #cached(walk: Walk, name: string, path: string, stat: BigIntStats, objectId: ObjectId): DirectoryEntry {
    const context = this.#context;
    const size = Number(stat.size);
    context.counts.files++;
    context.counts.cachedFiles++;
    context.counts.bytes += size;
    context.counts.cachedBytes += size;
    context.meter.counts.filesDone++;
    context.meter.counts.bytesDone += size;
    const xattrs = xattrsOf(context, walk.directory.child(name), path);
    const holes = stat.blocks * 512n < stat.size ? this.#holes(walk, name) : [];
    return { name, type: "file", size, ...factsOf(stat), objectId, ...extensionOf({ linkGroup: linkGroupOf(stat, this.#rootDevice), holes, xattrs }) };
  }

  /** The holes of a file that is not read otherwise: parents are not asked, since Kopia's know none. */
  #holes(walk: Walk, name: string): NonNullable<ReturnType<typeof openRegularFile>>["holes"] {
    const file = openRegularFile(this.#context, walk.directory, name);
    if (file === undefined) return [];
    closeSync(file.fd);
    return file.holes;
  }

  async #symlink(walk: Walk, name: string, path: string, stat: BigIntStats): Promise<DirectoryEntry> {
    const context = this.#context;
    const at = walk.directory.child(name);
    const target = atPath("read symbolic link", walk.directory.pathOf(name), () => readlinkSync(at, { encoding: "buffer" }));
    const object = new ObjectWriter(context.repository.objectWriters, { onContent: countContent(context.meter) });
    try {
      await object.write(target, context.signal);
      const { objectId } = await object.finish(context.signal);
      return {
        name,
        type: "symlink",
        size: target.length,
        ...factsOf(stat),
        objectId,
        ...extensionOf({ linkGroup: undefined, holes: [], xattrs: xattrsOf(context, at, path) }),
      };
    } finally {
      object.abandon();
    }
  }

  #special(walk: Walk, name: string, path: string, stat: BigIntStats): void {
    const kind = specialKindOf(stat);
    if (kind === undefined) {
      this.#context.warnings.add(path, "is of a kind that cannot be stored");
      return;
    }
    const xattrs = xattrsOf(this.#context, walk.directory.child(name), path);
    const device = kind === "char" || kind === "block" ? { device: deviceOf(stat.rdev) } : {};
    walk.special.push({ name, kind, ...factsOf(stat), ...device, ...extensionOf({ linkGroup: linkGroupOf(stat, this.#rootDevice), holes: [], xattrs }) });
  }

  #stat(walk: Walk, name: string, path: string): BigIntStats | undefined {
    try {
      return lstatSync(walk.directory.child(name), { bigint: true });
    } catch (error) {
      // Deleting files is what an application does while it is backed up.
      if (!hasErrno(error, "ENOENT"))
        return atPath("examine", walk.directory.pathOf(name), () => {
          throw error;
        });
      this.#context.warnings.add(path, "vanished while the directory was read");
      return undefined;
    }
  }

  /** Runs the work of one entry; what is wrong with the entry itself is noted, everything else is thrown on. */
  async #guard<T>(walk: Walk, path: string, work: () => Promise<T>, kind: "directory" | "other" = "other"): Promise<T | undefined> {
    const context = this.#context;
    try {
      return await work();
    } catch (error) {
      if (!isPathProblem(error)) throw error;
      if (error.code === "PATH_NOT_FOUND") {
        context.warnings.add(path, "vanished while the directory was read");
        return undefined;
      }
      const failure = { path: textOfByteString(path), error: error.message };
      if (this.#isIgnored(walk, path, kind)) {
        context.counts.ignoredErrors++;
        context.warnings.add(path, error);
        walk.underWay.listing.addFailure(failure, true);
        return undefined;
      }
      context.problems.add(path, error);
      context.meter.counts.errors++;
      walk.underWay.listing.addFailure(failure);
      return undefined;
    }
  }

  /** Whether a policy says that what could not be read is no error. */
  #isIgnored(walk: Walk, path: string, kind: "directory" | "other"): boolean {
    const policy = walk.rules?.policyOf(path.slice(path.lastIndexOf("/") + 1));
    return (kind === "directory" ? policy?.ignoreDirectoryErrors : policy?.ignoreFileErrors) === true;
  }

  /** Whether the content that an object begins with is in the repository still. */
  #isStored(objectId: ObjectId): boolean {
    return this.#context.repository.contents.info(parseObjectId(objectId).contentId)?.deleted === false;
  }

  #remember(group: string, left: number, data: Promise<UploadedData>): void {
    if (left <= 0 || this.#linked.size >= LINKED_FILES_MAX) return;
    // A further name that finds this failed is read by itself, and fails by itself.
    this.#linked.set(group, { data: data.catch(() => undefined), left });
  }

  #metAgain(group: string): Promise<UploadedData | undefined> | undefined {
    const linked = this.#linked.get(group);
    if (linked === undefined) return undefined;
    linked.left--;
    if (linked.left <= 0) this.#linked.delete(group);
    return linked.data;
  }

  readonly #keepFatal = (error: unknown): undefined => {
    this.#fatal ??= { error };
    return undefined;
  };

  #throwFatal(): void {
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }

  async #rest(): Promise<void> {
    if (!this.#context.pacer.isDue()) return;
    await this.#context.pacer.turn();
    await this.#context.checkpoints.saveIfDue();
  }
}

/** One directory on the way. */
interface Walk {
  readonly directory: AnchoredDirectory;
  /** Below the root. */
  readonly path: string;
  readonly underWay: DirectoryUnderWay;
  readonly cursors: readonly ParentCursor[];
  readonly rules: DirectoryRules | undefined;
  readonly special: SpecialEntry[];
}

/** What became of an entry: known now (undefined: left out), or when its file has been read. A promise of the latter never rejects. */
type Outcome = { readonly now: DirectoryEntry | undefined } | { readonly later: Promise<DirectoryEntry | undefined> };
const NOTHING: Outcome = { now: undefined };
