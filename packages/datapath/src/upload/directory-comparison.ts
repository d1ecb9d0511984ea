/**
 * Compares directories of files with their parents' listings, each in one call: opened, listed, examined and compared. Most directories of a volume are as they were, and this is all
 * that is done for them; of the others it is known then which files are not.
 *
 *   parent's listing ─► compareDirectory ─┬► the same in every byte, its contents stored ─► the parent's object
 *     (begun ahead of the walk)           ├► a few of its files are not ─► these read and its listing written anew, which is stored with others (rewritten-listings.ts)
 *                                         ├► more are not ─► walked, with what was found
 *                                         └► cannot be told ─► walked as if nothing had been looked at
 *
 * Where threads help, those that the walk comes to next are compared beside it, as far as there is memory.
 */
import { closeSync } from "node:fs";
import { hasCode } from "@drayage/base";
import { ATTRIBUTES, type ComparedDirectory, comparedMemory, type DirectoryCall, type DirectoryNames, FOUND, ROW, ROW_SLOTS, RUN } from "@drayage/kernels";
import { type DirectorySummary, LISTING_PREFIX, type ObjectId, parseObjectId } from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { ComparisonsAside } from "./comparisons-aside.ts";
import type { PlainRules } from "./directory-rules.ts";
import { RewrittenListings } from "./rewritten-listings.ts";
import { type FileStat, RowFacts } from "./source-entry.ts";
import { timeNsOf } from "./stretch-listing.ts";
import { compressorOf, type UploadContext } from "./upload-context.ts";
import type { Walk } from "./upload-tree.ts";

/** Entries that are examined together. */
export const STRETCH = 1024;
/** Listings of so many files are far shorter. */
const LISTING_BYTES_MAX = 1 << 20;
/** Directories that are compared beside the walk at a time, and those of them that are walked: a MiB each, of which most is touched only where listings are long. */
const MEMORIES = 5;
/** How far ahead of the walk they are begun. */
const COMPARED_AHEAD = 4;
/** Shorter listings are of so few files that comparing them costs no more than handing them to another thread. */
const ASIDE_FROM_BYTES = 2048;

/** A directory that is as its parent has it. */
export interface SameDirectory {
  readonly kind: "same";
  readonly stat: FileStat;
  readonly objectId: ObjectId;
  readonly summary: DirectorySummary;
}

/** One that is not, open; what was found of its entries is in the memory until that is given back. */
export interface ScannedDirectory {
  readonly kind: "scanned";
  readonly stat: FileStat;
  readonly directory: AnchoredDirectory;
  /** What its row says of extended attributes. */
  readonly attributes: number;
  readonly names: DirectoryNames;
  /** The parent's listing. */
  readonly text: Uint8Array;
  readonly memory: ComparedDirectory;
}

/** One of which a few files are not as its parent has them: they were read, and its listing was written anew. */
export interface RewrittenListing {
  readonly kind: "rewritten";
  readonly stat: FileStat;
  readonly objectId: ObjectId;
  readonly summary: DirectorySummary;
  /** Files that were read, and their bytes. */
  readonly changed: number;
  readonly changedBytes: number;
  /** Resolves when its contents are stored: it is part of no listing before. */
  readonly stored: Promise<void>;
}

/** A comparison that is under way, or waits to be made. */
export interface BegunComparison {
  readonly name: string;
  readonly parent: ObjectId;
  readonly text: Uint8Array;
  readonly avoid: Buffer;
  /** Whether its listing may be written anew. */
  readonly rewrites: boolean;
  /** Where it is one of those that are made beside the walk. */
  aside: { readonly memory: ComparedDirectory; readonly all: ComparisonsAside; readonly index: number } | undefined;
}

export class DirectoryComparison {
  readonly #context: UploadContext;
  /** Of one comparison at a time, in the thread of the walk. */
  readonly memory: ComparedDirectory;
  /** How many compare beside the walk. */
  readonly threads: number;
  readonly #keyBytes: number | undefined;
  /** What was written anew and is not stored yet. */
  readonly #listings: RewrittenListings | undefined;
  /** Memory for comparisons beside it. */
  readonly #spare: ComparedDirectory[] = [];
  #unmade: number;
  /** Names that would give a directory rules of its own, as text and as the addon takes them. */
  #avoid = { text: "", bytes: Buffer.alloc(0) };

  constructor(context: UploadContext) {
    const { contents } = context.repository;
    const { lanes } = context;
    this.#context = context;
    this.#keyBytes = contents.storedKeys === undefined || lanes === undefined ? undefined : contents.keyBytes;
    this.#listings = context.rewrite === undefined || lanes === undefined ? undefined : new RewrittenListings(context, lanes, context.rewrite);
    this.memory = this.#newMemory();
    this.threads = lanes?.threadsAside ?? 0;
    this.#unmade = this.threads === 0 ? 0 : MEMORIES;
  }

  #newMemory(): ComparedDirectory {
    return comparedMemory(STRETCH, this.#keyBytes ?? 1, this.#keyBytes === undefined ? undefined : this.#context.rewrite);
  }

  /** Bytes of a key of file data; undefined where files are not compared as text. */
  get keyBytes(): number | undefined {
    return this.#keyBytes;
  }

  /** How many can be begun beside the walk now. */
  get roomAside(): number {
    return Math.min(COMPARED_AHEAD, this.#spare.length + this.#unmade);
  }

  /** Of the keys of what was found to be the same, how many come first whose contents are stored. */
  stored({ keys }: ComparedDirectory, count: number): number {
    return count === 0 ? 0 : (this.#context.repository.contents.storedKeys?.(keys, count) ?? 0);
  }

  /** Whether the content of the i-th file that was found to be the same is stored. */
  isStored({ keys }: ComparedDirectory, i: number): boolean {
    const keyBytes = this.#keyBytes ?? 0;
    return this.#context.repository.contents.storedKeys?.(keys.subarray(i * keyBytes, (i + 1) * keyBytes), 1) === 1;
  }

  /**
   * Prepares to compare a directory of a walk with the one that its parent has by that name, whose object is `parent`. Undefined where it cannot be told. `end` or `drop` has to follow
   * before the directory of the walk is closed. Throws what the repository throws.
   * @param name - a byte string
   */
  async begin(walk: Walk, name: string, parent: ObjectId): Promise<BegunComparison | undefined> {
    const plain = walk.rules === undefined ? NO_RULES : walk.rules.plainIn(name);
    if (this.#keyBytes === undefined || plain === undefined) return undefined;
    const text = await this.#listing(parent);
    if (text === undefined) return undefined;
    const avoid = plain.namesWithRules;
    if (avoid !== this.#avoid.text) this.#avoid = { text: avoid, bytes: Buffer.from(avoid, "latin1") };
    return { name, parent, text, avoid: this.#avoid.bytes, rewrites: this.#mayRewrite(walk, plain), aside: undefined };
  }

  /** Whether every file would be stored as it is, by the repository's own splitter, and no other parent could have one. */
  #mayRewrite(walk: Walk, { optionsOfAll }: PlainRules): boolean {
    const { splitter } = this.#context;
    if (walk.parents.length > 1 || optionsOfAll === undefined) return false;
    return compressorOf(this.#context, optionsOfAll) === undefined && (optionsOfAll.splitter === undefined || optionsOfAll.splitter === splitter);
  }

  /** Has other threads begin with comparisons of this walk, where that pays and as far as there is memory. */
  putAside(walk: Walk, comparisons: readonly BegunComparison[]): void {
    const chosen = comparisons.filter(({ text }) => text.length >= ASIDE_FROM_BYTES).slice(0, this.#spare.length + this.#unmade);
    if (chosen.length === 0) return;
    const memories = chosen.map(() => this.#takeMemory());
    const calls = chosen.map((begun, i) => this.#call(walk, begun, memories[i] ?? this.memory));
    const all = new ComparisonsAside(this.#context.files, calls, this.threads);
    for (const [index, begun] of chosen.entries()) begun.aside = { memory: memories[index] ?? this.memory, all, index };
  }

  /** What came out of a comparison; undefined where it could not be told. Who gets a scanned directory gives its memory back. */
  async end(walk: Walk, begun: BegunComparison): Promise<SameDirectory | ScannedDirectory | RewrittenListing | undefined> {
    const { aside } = begun;
    const memory = aside?.memory ?? this.memory;
    const isTold = aside === undefined ? this.#context.files.compareDirectory(...this.#call(walk, begun, memory)) : await aside.all.isTold(aside.index);
    const outcome = isTold ? await this.#outcome(walk, begun, memory) : undefined;
    if (outcome?.kind !== "scanned") this.giveBack(memory);
    return outcome;
  }

  /** Stores what was written anew and waits for more. Throws what the repository throws. */
  async storeRewritten(): Promise<void> {
    await this.#listings?.flush();
  }

  /** Gives it up: the upload has failed. */
  dropRewritten(error: unknown): void {
    this.#listings?.drop(error);
  }

  /** Ends one whose outcome nobody wants. */
  async drop({ aside }: BegunComparison): Promise<void> {
    if (aside === undefined) return;
    const fd = await aside.all.drop(aside.index);
    if (fd >= 0) closeSync(fd);
    this.giveBack(aside.memory);
  }

  /** Memory of a scanned directory, of which nothing is wanted any more. */
  giveBack(memory: ComparedDirectory): void {
    if (memory !== this.memory) this.#spare.push(memory);
  }

  /** There is some, as whoever asks has seen. */
  #takeMemory(): ComparedDirectory {
    const memory = this.#spare.pop();
    if (memory !== undefined) return memory;
    this.#unmade--;
    return this.#newMemory();
  }

  #call(walk: Walk, { name, avoid, text, rewrites }: BegunComparison, memory: ComparedDirectory): DirectoryCall {
    const into = rewrites ? memory : { ...memory, rewritten: undefined };
    return [walk.directory.fd, Buffer.from(name, "latin1"), { attributes: this.#context.xattrs, avoid }, text, this.#keyBytes ?? 0, into];
  }

  async #outcome(
    walk: Walk,
    { name, parent, text }: BegunComparison,
    memory: ComparedDirectory,
  ): Promise<SameDirectory | ScannedDirectory | RewrittenListing | undefined> {
    const { found, names, ends, runs } = memory;
    const row = found.subarray(FOUND.row, FOUND.row + ROW_SLOTS);
    const { stat } = new RowFacts(row, 0);
    const count = found[FOUND.count] ?? 0;
    if (found[FOUND.whole] === 1) {
      // Where one is gone, all are looked at again.
      if (this.stored(memory, count) < count) return undefined;
      const maxTimeNs = count === 0 ? stat.mtimeNs : timeNsOf(runs[RUN.seconds] ?? 0, runs[RUN.nanoseconds] ?? 0);
      const size = count === 0 ? 0 : (runs[RUN.bytes] ?? 0);
      return { kind: "same", stat, objectId: parent, summary: { ...NOTHING_ELSE, files: count, size, maxTimeNs } };
    }
    if ((found[FOUND.text] ?? 0) > 0) return await this.#rewritten(stat, memory);
    const end = count === 0 ? 0 : (ends[count - 1] ?? 0);
    return {
      ...{ kind: "scanned", stat, text, memory, attributes: row[ROW.attributes] ?? ATTRIBUTES.unknown },
      directory: AnchoredDirectory.take(found[FOUND.fd] ?? -1, walk.directory.pathOf(name)),
      // Their memory is another directory's before they are not needed any more.
      names: { names: names.slice(0, end), ends: ends.slice(0, count), directories: 0 },
    };
  }

  /** What became of one whose listing was written anew; undefined where it cannot be kept, and the directory is to be walked. */
  async #rewritten(stat: FileStat, memory: ComparedDirectory): Promise<RewrittenListing | undefined> {
    const { found } = memory;
    const { [FOUND.same]: same = 0, [FOUND.count]: files = 0, [FOUND.changed]: changed = 0, [FOUND.bytes]: size = 0, [FOUND.text]: bytes = 0 } = found;
    if (bytes >= this.#context.smallFileBytes || this.stored(memory, same) < same) return undefined;
    const added = await this.#listings?.add(memory);
    if (added === undefined) return undefined;
    const maxTimeNs = timeNsOf(found[FOUND.seconds] ?? 0, found[FOUND.nanoseconds] ?? 0);
    return { kind: "rewritten", stat, ...added, changed, summary: { ...NOTHING_ELSE, files, size, maxTimeNs } };
  }

  /** A listing that is one content; undefined for a longer one, one that is not there, and one that cannot be read: the walk finds that again. */
  async #listing(id: ObjectId): Promise<Uint8Array | undefined> {
    const { repository, smallFileBytes, signal } = this.#context;
    const { indirection, compressed, contentId } = parseObjectId(id);
    if (indirection !== 0 || compressed || !contentId.startsWith(LISTING_PREFIX)) return undefined;
    const stored = repository.contents.info(contentId);
    // A longer one would be cut, and not everywhere as whoever wrote it did.
    if (stored === undefined || stored.deleted || stored.originalLength >= Math.min(smallFileBytes, LISTING_BYTES_MAX)) return undefined;
    try {
      return await repository.contents.get(contentId, signal);
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "BLOB_NOT_FOUND")) throw error;
      return undefined;
    }
  }
}

const NO_RULES: PlainRules = { namesWithRules: "", optionsOfAll: { compressor: undefined, splitter: undefined } };
const NOTHING_ELSE = { symlinks: 0, directories: 1, failed: 0, ignoredErrors: 0, errors: [] } as const;
