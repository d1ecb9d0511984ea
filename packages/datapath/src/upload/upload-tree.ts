/**
 * Walks a directory tree and stores it. The walk goes ahead, depth first; what it meets is read and stored beside it, and a directory's listing takes its entries in order as they
 * become known.
 *
 *   list ─► directories, one after the other: of nothing but files, as the parent has it? its object is taken over
 *      │                                      else walked at once, in the listing when they are complete
 *      └──► files, a stretch at a time: examined ─► as the parent has it? its text is taken over ─► small: many in one job · large: ranges
 *
 * What cannot be read is a problem in the result and missing from the listing; what the repository throws ends the upload.
 *
 * Memory: the names of the directories on the way down, a listing under way for each directory that is not complete, stretches that wait for theirs, and what the lanes take.
 */
import { lstatSync, readlinkSync } from "node:fs";
import { asBuffer } from "@drayage/base";
import { ATTRIBUTES, type DirectoryNames, nameBytes, ROW, ROW_SLOTS } from "@drayage/kernels";
import {
  type DirectoryEntry,
  DirectoryListingWriter,
  EXTENDED_VERSION,
  type ObjectId,
  ObjectWriter,
  type SpecialEntry,
  textOfByteString,
  type WrittenDirectory,
} from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { isPathProblem } from "../entry-problems.ts";
import { atPath } from "../path-errors.ts";
import type { DirectoryUnderWay } from "./checkpoints.ts";
import { type BegunComparison, DirectoryComparison, type RewrittenListing, type ScannedDirectory, STRETCH } from "./directory-comparison.ts";
import { DirectoryFiles } from "./directory-files.ts";
import { DirectoryRules, ListedNames } from "./directory-rules.ts";
import { InOrder } from "./in-order.ts";
import { systemErrorOf } from "./lanes/transferred-error.ts";
import { ParentLookup } from "./parent-lookup.ts";
import { SingleFiles } from "./single-files.ts";
import { below, deviceOf, type EntryKind, extensionOf, type FileStat, factsOf, kindOf, linkGroupOf, RowFacts, xattrsOf } from "./source-entry.ts";
import { countContent, type UploadContext, type UploadedData } from "./upload-context.ts";

/** Directories in one directory that are walked and not complete. */
const CHILDREN_MAX = 64;
/** Stretches of one directory that wait for their data. */
const STRETCHES_MAX = 8;
const DOT = 0x2e;
/** Files with several names whose data is remembered; of more, the further names are read again and deduplicated. */
const LINKED_FILES_MAX = 200_000;

/** One directory on the way. */
export interface Walk {
  readonly directory: AnchoredDirectory;
  /** Below the root. */
  readonly path: string;
  readonly underWay: DirectoryUnderWay;
  readonly parents: readonly ParentLookup[];
  readonly special: SpecialEntry[];
  readonly names: DirectoryNames;
  readonly rules: DirectoryRules | undefined;
  /** Of directories that the walk comes to next, by index. */
  readonly ahead: Map<number, Promise<LookedUp>>;
}

/** A directory before it is opened: what its parents have, and the comparison with the first of them. */
interface LookedUp {
  readonly parents: readonly ObjectId[];
  readonly comparison: BegunComparison | undefined;
}

/** What became of an entry: part of the listing, a failure that the summary tells, or left out. */
export type Outcome = { readonly entry: DirectoryEntry } | { readonly failure: Error; readonly path: string; readonly kind: FailureKind } | undefined;

export type FailureKind = "directory" | "other";

/** A directory that was walked; its outcome is known when everything in it is stored. Nothing is under way of one that is as it was. */
interface WalkedDirectory {
  readonly outcome: Promise<Outcome> | Outcome;
  readonly underWay: DirectoryUnderWay | undefined;
}

/** What is known of a directory before it is walked. */
interface KnownDirectory {
  /** What its row says of extended attributes. @default it is asked for */
  readonly attributes?: number;
  /** It was compared with its parent's listing. */
  readonly scanned?: ScannedDirectory | undefined;
}

export class TreeUpload {
  readonly context: UploadContext;
  readonly #rootDevice: bigint;
  /** What the names of one file share, until the last of them was met. */
  readonly #linked = new Map<string, { readonly data: Promise<UploadedData | undefined>; left: number }>();
  readonly #comparison: DirectoryComparison;
  readonly #files: DirectoryFiles;
  readonly #single: SingleFiles;
  /** The first error that ends the upload. */
  #fatal: { readonly error: unknown } | undefined;

  constructor(context: UploadContext, rootDevice: bigint) {
    this.context = context;
    this.#rootDevice = rootDevice;
    this.#comparison = new DirectoryComparison(context);
    this.#single = new SingleFiles(this);
    this.#files = new DirectoryFiles(this, this.#comparison, this.#single);
  }

  /**
   * Stores the root. Throws PATH_* and NOT_PERMITTED when the directory itself cannot be read.
   */
  async root(directory: AnchoredDirectory, entry: DirectoryUnderWay["entry"], parents: readonly ObjectId[]): Promise<WrittenDirectory> {
    const underWay = this.#begin(entry);
    this.context.checkpoints.root = underWay;
    try {
      const { complete } = await this.#walk(directory, "", underWay, parents, undefined);
      return await complete;
    } finally {
      this.context.checkpoints.root = undefined;
    }
  }

  /** Looks at what it costs to go on: the event loop, checkpoints, errors of what is under way. */
  async rest(cost = 1): Promise<void> {
    this.#throwFatal();
    if (!this.context.pacer.isDue(cost)) return;
    await this.context.pacer.turn();
    await this.context.lanes?.keepUp();
    await this.context.checkpoints.saveIfDue();
  }

  /** Ends the upload with this error as soon as the walk looks. */
  readonly keepFatal = (error: unknown): undefined => {
    this.#fatal ??= { error };
    return undefined;
  };

  /** Runs the work of one entry; what is wrong with the entry itself is its outcome, everything else is thrown on. */
  async guard(path: string, work: () => Promise<Outcome> | Outcome, kind: FailureKind = "other"): Promise<Outcome> {
    try {
      return await work();
    } catch (error) {
      return this.outcomeOf(path, error, kind);
    }
  }

  /** The outcome of an entry for which this was thrown. Throws what is not about the entry. */
  outcomeOf(path: string, error: unknown, kind: FailureKind = "other"): Outcome {
    if (!isPathProblem(error)) throw error;
    // Deleting files is what an application does while it is backed up.
    if (error.code !== "PATH_NOT_FOUND") return { failure: error, path, kind };
    this.context.warnings.add(path, "vanished while the directory was read");
    return undefined;
  }

  /** Puts an outcome into a listing, in its turn. */
  async take(walk: Walk, outcome: Outcome): Promise<void> {
    const { listing } = walk.underWay;
    if (outcome === undefined) return;
    if ("entry" in outcome) return await listing.add(outcome.entry, this.context.signal);
    const { failure, path, kind } = outcome;
    const failed = { path: textOfByteString(path), error: failure.message };
    const policy = walk.rules?.policyOf(path.slice(path.lastIndexOf("/") + 1));
    // A policy may say that what could not be read is no error.
    const isIgnored = (kind === "directory" ? policy?.ignoreDirectoryErrors : policy?.ignoreFileErrors) === true;
    if (isIgnored) {
      this.context.counts.ignoredErrors++;
      this.context.warnings.add(path, failure);
    } else {
      this.context.problems.add(path, failure);
      this.context.meter.counts.errors++;
    }
    listing.addFailure(failed, isIgnored);
  }

  linkGroupOf(stat: FileStat): string | undefined {
    return linkGroupOf(stat, this.#rootDevice);
  }

  remember(group: string, left: number, data: Promise<UploadedData>): void {
    if (left <= 0 || this.#linked.size >= LINKED_FILES_MAX) return;
    // A further name that finds this failed is read by itself, and fails by itself.
    this.#linked.set(group, { data: data.catch(() => undefined), left });
  }

  metAgain(group: string): Promise<UploadedData | undefined> | undefined {
    const linked = this.#linked.get(group);
    if (linked === undefined) return undefined;
    linked.left--;
    if (linked.left <= 0) this.#linked.delete(group);
    return linked.data;
  }

  /** What a row says of the attributes of a directory itself: mostly that there are none, which saves asking for them by the C library. */
  #attributesOf(directory: AnchoredDirectory): number {
    const rows = new Float64Array(ROW_SLOTS);
    const itself = { names: Uint8Array.of(DOT), ends: Uint32Array.of(1), directories: 1 };
    this.context.files.statEntries(directory.fd, itself, { from: 0, to: 1 }, this.context.xattrs, rows);
    return rows[ROW.status] === 0 ? (rows[ROW.attributes] ?? ATTRIBUTES.unknown) : ATTRIBUTES.unknown;
  }

  #begin(entry: DirectoryUnderWay["entry"]): DirectoryUnderWay {
    const listing = new DirectoryListingWriter(this.context.metadataWriters, countContent(this.context.meter));
    return { entry, listing, children: new Set(), files: new Set(), closing: undefined };
  }

  /**
   * Walks a directory, and gives back as `complete` what it is going to be. Ends when everything in it has been met; the directory may be closed when `complete` has ended.
   * Throws PATH_* and NOT_PERMITTED when the directory itself cannot be read.
   * @param parents - besides the one that it was compared with
   */
  async #walk(
    directory: AnchoredDirectory,
    path: string,
    underWay: DirectoryUnderWay,
    parents: readonly ObjectId[],
    above: DirectoryRules | undefined,
    { attributes = ATTRIBUTES.unknown, scanned }: KnownDirectory = {},
  ): Promise<{ readonly complete: Promise<WrittenDirectory> }> {
    const { context } = this;
    const { repository, signal } = context;
    const { listing } = underWay;
    const order = new InOrder();
    const ahead: Walk["ahead"] = new Map();
    const lookups = parents.map((parent) => new ParentLookup(repository.objects, parent, signal));
    const close = async (): Promise<void> => {
      for (const lookup of lookups) await lookup.close();
    };
    let walk: Walk;
    try {
      const all = scanned?.names ?? atPath("list directory", directory.path, () => context.files.listDirectory(directory.fd));
      const { names, rules } = scanned === undefined ? this.#byRules(all, directory, path, above) : { names: all, rules: above?.enterPlain(path) };
      walk = { directory, path, underWay, parents: lookups, special: [], names, rules, ahead };
      await this.rest(1 + names.ends.length / STRETCH);
      for (let i = 0; i < names.directories; i++) await this.#subdirectory(walk, i, order);
      await this.#comparison.storeRewritten();
      for (let from = names.directories; from < names.ends.length; from += STRETCH) {
        const to = Math.min(from + STRETCH, names.ends.length);
        await this.#files.stretch(walk, { from, to }, order, scanned);
        await order.fewerThan(STRETCHES_MAX);
      }
    } catch (error) {
      // Nothing may go on reading once the directory is given up, and what is not stored yet would be waited for.
      this.#comparison.dropRewritten(error);
      await order.settled();
      for (const looked of ahead.values()) await this.#forget(looked);
      await close();
      listing.abandon();
      throw error;
    }
    const itsAttributes = attributes === ATTRIBUTES.unknown ? this.#attributesOf(directory) : attributes;
    const xattrs = itsAttributes === ATTRIBUTES.none ? [] : xattrsOf(context, directory.self, path);
    await close();
    const { special } = walk;
    const finish = async (): Promise<WrittenDirectory> => {
      try {
        await order.end();
        context.counts.directories++;
        underWay.closing = listing.finish({ mtimeNs: underWay.entry.mtimeNs, extension: { version: EXTENDED_VERSION, xattrs, special } }, signal);
        return await underWay.closing;
      } finally {
        listing.abandon();
      }
    };
    const complete = finish();
    complete.catch(this.keepFatal);
    return { complete };
  }

  /** The names that the policies of the source let in, and what they say besides. */
  #byRules(all: DirectoryNames, directory: AnchoredDirectory, path: string, above: DirectoryRules | undefined): Pick<Walk, "names" | "rules"> {
    const { context } = this;
    if (context.policies === undefined) return { names: all, rules: undefined };
    const listed = new ListedNames(all);
    const rules = above?.enter(context, directory, path, listed) ?? DirectoryRules.ofRoot(context, context.policies, directory, listed);
    return { names: rules.filter(context, listed), rules };
  }

  async #subdirectory(walk: Walk, index: number, order: InOrder): Promise<void> {
    const name = asBuffer(nameBytes(walk.names, index)).toString("latin1");
    const path = below(walk.path, name);
    let walked: WalkedDirectory | undefined;
    const outcome = await this.guard(
      path,
      async () => {
        walked = await this.#openAndWalk(walk, index, name, path);
        return undefined;
      },
      "directory",
    );
    const known = walked;
    order.push(known === undefined ? outcome : known.outcome, async (result) => {
      await this.take(walk, result);
      if (known?.underWay !== undefined) walk.underWay.children.delete(known.underWay);
    });
    // The first in line may be one that waits for others to be stored with it.
    if (order.pending >= CHILDREN_MAX) await this.#comparison.storeRewritten();
    await order.fewerThan(CHILDREN_MAX);
    await this.rest();
  }

  /** Looks up a directory, and those behind it that others may compare meanwhile: all in order, as their parents' listings are passed once. */
  async #lookUp(walk: Walk, index: number): Promise<LookedUp> {
    const { names, ahead } = walk;
    const own = ahead.get(index) ?? this.#beginComparison(walk, index);
    ahead.delete(index);
    // What is wrong is told when its turn comes.
    await own.catch(() => undefined);
    const from = index + 1 + ahead.size;
    const to = Math.min(from + this.#comparison.roomAhead(ahead.size), names.directories);
    for (let next = from; next < to; next++) {
      const looked = this.#beginComparison(walk, next);
      ahead.set(next, looked);
      const comparison = await looked.then((found) => found.comparison).catch(() => undefined);
      if (comparison !== undefined) this.#comparison.putAside(walk, comparison);
    }
    return await own;
  }

  async #beginComparison(walk: Walk, index: number): Promise<LookedUp> {
    const name = asBuffer(nameBytes(walk.names, index)).toString("latin1");
    const parents: ObjectId[] = [];
    for (const lookup of walk.parents) {
      const found = await lookup.directoryObject(name);
      if (found !== undefined) parents.push(found);
    }
    const [first] = parents;
    return { parents, comparison: first === undefined ? undefined : await this.#comparison.begin(walk, name, first) };
  }

  /** Gives up what was begun ahead of a walk that has failed. */
  async #forget(looked: Promise<LookedUp>): Promise<void> {
    const { comparison } = await looked.catch(() => ({ comparison: undefined }));
    if (comparison !== undefined) this.#comparison.drop(comparison);
  }

  async #openAndWalk(walk: Walk, index: number, name: string, path: string): Promise<WalkedDirectory | undefined> {
    const { parents, comparison } = await this.#lookUp(walk, index);
    const compared = comparison === undefined ? undefined : await this.#comparison.end(walk, comparison);
    if (compared?.kind === "same") {
      const { stat, objectId, summary } = compared;
      this.context.counts.directories++;
      this.#single.countCached(summary.size, summary.files);
      await this.rest(1 + summary.files / 16);
      return { outcome: { entry: { name, type: "directory", size: 0, ...factsOf(stat), objectId, summary } }, underWay: undefined };
    }
    if (compared?.kind === "rewritten") return await this.#takeRewritten(name, compared);
    if (compared === undefined) return await this.#openUnknown(walk, index, name, path, parents);
    try {
      return await this.#walkBelow(walk, name, path, compared.directory, compared.stat, parents.slice(1), {
        attributes: compared.attributes,
        scanned: compared,
      });
    } finally {
      this.#comparison.giveBack(compared.memory);
    }
  }

  /** Takes a directory whose listing was written anew: its entry is known, and part of a listing when its contents are stored. */
  async #takeRewritten(name: string, { stat, objectId, summary, changed, changedBytes, stored }: RewrittenListing): Promise<WalkedDirectory> {
    const entry: DirectoryEntry = { name, type: "directory", size: 0, ...factsOf(stat), objectId, summary };
    this.context.counts.directories++;
    this.#single.countCached(summary.size - changedBytes, summary.files - changed);
    this.#single.countRead(changed, changedBytes);
    await this.rest(1 + summary.files / 16);
    return { outcome: stored.then(() => ({ entry })), underWay: undefined };
  }

  async #openUnknown(walk: Walk, index: number, name: string, path: string, parents: readonly ObjectId[]): Promise<WalkedDirectory | undefined> {
    const rows = new Float64Array(ROW_SLOTS);
    this.context.files.statEntries(walk.directory.fd, walk.names, { from: index, to: index + 1 }, this.context.xattrs, rows);
    this.checkRow(walk, rows, 0, name);
    const { stat } = new RowFacts(rows, 0);
    // It was a directory when the names were read.
    if (kindOf(Number(stat.mode)) !== "directory") {
      this.context.warnings.add(path, "was replaced by something else while the directory was read");
      return undefined;
    }
    if (walk.rules?.oneFileSystem === true && stat.dev !== lstatSync(walk.directory.self, { bigint: true }).dev) {
      this.context.counts.excludedDirectories++;
      return undefined;
    }
    const child = walk.directory.openDirectory(name);
    return await this.#walkBelow(walk, name, path, child, stat, parents, { attributes: rows[ROW.attributes] ?? ATTRIBUTES.unknown });
  }

  /** Walks an open directory in another one, and closes it when it is complete. */
  async #walkBelow(
    walk: Walk,
    name: string,
    path: string,
    child: AnchoredDirectory,
    stat: FileStat,
    parents: readonly ObjectId[],
    known: KnownDirectory,
  ): Promise<WalkedDirectory> {
    const entry = { name, type: "directory" as const, size: 0, ...factsOf(stat) };
    const underWay = this.#begin(entry);
    try {
      walk.underWay.children.add(underWay);
      const { complete } = await this.#walk(child, path, underWay, parents, walk.rules, known);
      const outcome = complete.then((written): Outcome => ({ entry: { ...entry, ...written } })).finally(() => child.close());
      outcome.catch(() => undefined);
      return { outcome, underWay };
    } catch (error) {
      child.close();
      walk.underWay.children.delete(underWay);
      throw error;
    }
  }

  /** Throws what is wrong with an entry whose row says so. */
  checkRow(walk: Walk, rows: Float64Array, at: number, name: string): void {
    const status = rows[at + ROW.status] ?? 0;
    if (status === 0) return;
    atPath("examine", walk.directory.pathOf(name), () => {
      throw systemErrorOf(status);
    });
  }

  async symlink(walk: Walk, name: string, path: string, stat: FileStat): Promise<DirectoryEntry> {
    const { context } = this;
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

  special(walk: Walk, name: string, path: string, stat: FileStat, kind: EntryKind): void {
    if (kind === "unknown" || kind === "file" || kind === "directory" || kind === "symlink") {
      this.context.warnings.add(path, "is of a kind that cannot be stored");
      return;
    }
    const xattrs = xattrsOf(this.context, walk.directory.child(name), path);
    const device = kind === "char" || kind === "block" ? { device: deviceOf(stat.rdev) } : {};
    walk.special.push({ name, kind, ...factsOf(stat), ...device, ...extensionOf({ linkGroup: this.linkGroupOf(stat), holes: [], xattrs }) });
  }

  #throwFatal(): void {
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }
}
