/**
 * Compares directories of files with their parents' listings, each in one call: opened, listed, examined and compared. Most directories of a volume are as they were, and this is all
 * that is done for them; of the others it is known then which files are not.
 *
 *   parent's listing ─► compareDirectory ─┬► the same in every byte, its contents stored ─► the parent's object
 *     (begun ahead of the walk)           ├► a few of its files are not ─► these read and its listing written anew, which is stored with others (rewritten-listings.ts)
 *                                         ├► more are not ─► walked, with what was found
 *                                         └► cannot be told ─► walked as if nothing had been looked at
 *
 * Where threads help, those that the walk comes to next are compared beside it, as far as there is memory, by whoever comes first to one.
 */
import { closeSync } from "node:fs";
import { asBuffer, hasCode } from "@drayage/base";
import {
  ATTRIBUTES,
  type ComparedDirectory,
  type ComparisonQueue,
  comparedMemory,
  type DirectoryCall,
  type DirectoryNames,
  FOUND,
  ROW,
  ROW_SLOTS,
  RUN,
} from "@drayage/kernels";
import { type DirectorySummary, LISTING_PREFIX, type ObjectId, parseObjectId } from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
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
/**
 * Directories that are compared beside the walk at a time, and those of them that are walked: a MiB each, of which most is touched only where listings are long. So many that other
 * threads have more to begin while the walk takes what they have ended.
 */
const PLACES = 9;
/** How far ahead of the walk they are looked up. */
const COMPARED_AHEAD = PLACES - 1;
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
  /** Where it is one of those that other threads may make. */
  place: Place | undefined;
}

/** Of a comparison in the queue. */
interface Place {
  readonly index: number;
  readonly memory: ComparedDirectory;
}

export class DirectoryComparison {
  readonly #context: UploadContext;
  /** Of one comparison at a time, in the thread of the walk. */
  readonly memory: ComparedDirectory;
  /** Undefined where there are no threads for it. */
  readonly #queue: ComparisonQueue | undefined;
  readonly #keyBytes: number | undefined;
  /** What was written anew and is not stored yet. */
  readonly #listings: RewrittenListings | undefined;
  /** Places in the queue that had a comparison and are free. */
  readonly #spare: Place[] = [];
  /** Those whose memory somebody has, by it. */
  readonly #taken = new Map<ComparedDirectory, Place>();
  /** How many places there are so far. */
  #made = 0;
  /** Names that would give a directory rules of its own, as text and as the addon takes them. */
  #avoid = { text: "", bytes: Buffer.alloc(0) };

  constructor(context: UploadContext) {
    const { contents } = context.repository;
    const { lanes } = context;
    this.#context = context;
    this.#keyBytes = contents.storedKeys === undefined || lanes === undefined ? undefined : contents.keyBytes;
    this.#listings = context.rewrite === undefined || lanes === undefined ? undefined : new RewrittenListings(context, lanes, context.rewrite);
    this.memory = this.#newMemory();
    const threads = lanes?.threadsAside ?? 0;
    // From here on the walk looks for itself.
    context.scan?.stop();
    this.#queue = threads === 0 ? undefined : context.files.comparisonQueue(PLACES, threads, context.scan);
  }

  #newMemory(): ComparedDirectory {
    return comparedMemory(STRETCH, this.#keyBytes ?? 1, this.#keyBytes === undefined ? undefined : this.#context.rewrite);
  }

  /** Bytes of a key of file data; undefined where files are not compared as text. */
  get keyBytes(): number | undefined {
    return this.#keyBytes;
  }

  /** How many may be looked up ahead of the walk now, where so many are. */
  roomAhead(ahead: number): number {
    return Math.max(0, Math.min(COMPARED_AHEAD - ahead, this.#room));
  }

  get #room(): number {
    return this.#queue === undefined ? 0 : this.#spare.length + PLACES - this.#made;
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
    if (text === undefined || beginsWithDirectory(text)) return undefined;
    const avoid = plain.namesWithRules;
    if (avoid !== this.#avoid.text) this.#avoid = { text: avoid, bytes: Buffer.from(avoid, "latin1") };
    return { name, parent, text, avoid: this.#avoid.bytes, rewrites: this.#mayRewrite(walk, plain), place: undefined };
  }

  /** Whether every file would be stored as it is, by the repository's own splitter, and no other parent could have one. */
  #mayRewrite(walk: Walk, { optionsOfAll }: PlainRules): boolean {
    const { splitter } = this.#context;
    if (walk.parents.length > 1 || optionsOfAll === undefined) return false;
    return compressorOf(this.#context, optionsOfAll) === undefined && (optionsOfAll.splitter === undefined || optionsOfAll.splitter === splitter);
  }

  /** Lets other threads make a comparison of this walk, where that pays and there is memory. */
  putAside(walk: Walk, begun: BegunComparison): void {
    if (this.#queue === undefined || begun.text.length < ASIDE_FROM_BYTES || this.#room === 0) return;
    const place = this.#spare.pop() ?? { index: this.#made++, memory: this.#newMemory() };
    this.#taken.set(place.memory, place);
    this.#queue.put(place.index, this.#call(walk, begun, place.memory));
    begun.place = place;
  }

  /** What came out of a comparison; undefined where it could not be told. Who gets a scanned directory gives its memory back. */
  async end(walk: Walk, begun: BegunComparison): Promise<SameDirectory | ScannedDirectory | RewrittenListing | undefined> {
    const { place } = begun;
    const memory = place?.memory ?? this.memory;
    const isTold = place === undefined ? this.#context.files.compareDirectory(...this.#call(walk, begun, memory)) : this.#queue?.finish(place.index);
    const outcome = isTold === true ? await this.#outcome(walk, begun, memory) : undefined;
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
  drop({ place }: BegunComparison): void {
    if (place === undefined) return;
    const fd = this.#queue?.drop(place.index) === true ? (place.memory.found[FOUND.fd] ?? -1) : -1;
    if (fd >= 0) closeSync(fd);
    this.giveBack(place.memory);
  }

  /** Memory of a scanned directory, of which nothing is wanted any more. */
  giveBack(memory: ComparedDirectory): void {
    const place = this.#taken.get(memory);
    if (place === undefined) return;
    this.#taken.delete(memory);
    this.#spare.push(place);
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

/** Whether it is the listing of more than files: directories come first. No name has this text in it, whose quotes are not escaped. */
function beginsWithDirectory(text: Uint8Array): boolean {
  const at = asBuffer(text).indexOf(TYPE_MEMBER);
  return at >= 0 && text[at + TYPE_MEMBER.length] === DIRECTORY_TYPE;
}

const TYPE_MEMBER = '","type":"';
const DIRECTORY_TYPE = "d".charCodeAt(0);
const NO_RULES: PlainRules = { namesWithRules: "", optionsOfAll: { compressor: undefined, splitter: undefined } };
const NOTHING_ELSE = { symlinks: 0, directories: 1, failed: 0, ignoredErrors: 0, errors: [] } as const;
