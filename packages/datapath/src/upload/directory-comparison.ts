/**
 * Compares directories of files with their parents' listings, each in one call: opened, listed, examined and compared. Most directories of a volume are as they were, and this is all
 * that is done for them; of the others it is known then which files are not.
 *
 *   parent's listing ─► compareDirectory ─┬► the same in every byte, its contents stored ─► the parent's object
 *     (begun ahead of the walk)           ├► some of its files are not ─► walked, with what was found
 *                                         └► cannot be told ─► walked as if nothing had been looked at
 *
 * Where threads help, those that the walk comes to next are compared beside it, as far as there is memory.
 */
import { closeSync } from "node:fs";
import { hasCode } from "@drayage/base";
import { ATTRIBUTES, type BatchFiles, type ComparedDirectory, comparedMemory, type DirectoryNames, FOUND, ROW, ROW_SLOTS, RUN } from "@drayage/kernels";
import { type DirectorySummary, LISTING_PREFIX, type ObjectId, parseObjectId } from "@drayage/repo";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { type FileStat, RowFacts } from "./source-entry.ts";
import { timeNsOf } from "./stretch-listing.ts";
import type { UploadContext } from "./upload-context.ts";
import type { Walk } from "./upload-tree.ts";

/** Entries that are examined together. */
export const STRETCH = 1024;
/** Listings of so many files are far shorter. */
const LISTING_BYTES_MAX = 1 << 20;
/** Directories that are compared beside the walk at a time, and those of them that are walked: half a MiB each. */
const MEMORIES = 4;
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

/** A comparison that is under way, or waits to be made. */
export interface BegunComparison {
  readonly parent: ObjectId;
  readonly text: Uint8Array;
  readonly avoid: Buffer;
  /** Where it is made beside the walk. */
  readonly aside: { readonly memory: ComparedDirectory; readonly told: Promise<boolean> } | undefined;
}

export class DirectoryComparison {
  readonly #context: UploadContext;
  /** Of one comparison at a time, in the thread of the walk. */
  readonly memory: ComparedDirectory;
  /** How many compare beside the walk. */
  readonly threads: number;
  readonly #keyBytes: number | undefined;
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
    this.memory = comparedMemory(STRETCH, this.#keyBytes ?? 1);
    this.threads = Math.min(lanes?.threadsAside ?? 0, MEMORIES);
    this.#unmade = this.threads === 0 ? 0 : MEMORIES;
  }

  /** Bytes of a key of file data; undefined where files are not compared as text. */
  get keyBytes(): number | undefined {
    return this.#keyBytes;
  }

  /** Whether another one can be made beside the walk. */
  get canWorkAside(): boolean {
    return this.#spare.length > 0 || this.#unmade > 0;
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
   * Begins to compare a directory of a walk with the one that its parent has by that name, whose object is `parent`. Undefined where it cannot be told. `end` or `drop` has to follow
   * before the directory of the walk is closed. Throws what the repository throws.
   * @param name - a byte string
   * @param aside - by another thread, where that pays
   */
  async begin(walk: Walk, name: string, parent: ObjectId, aside: boolean): Promise<BegunComparison | undefined> {
    const avoid = walk.rules === undefined ? "" : walk.rules.namesWithRulesIn(name);
    if (this.#keyBytes === undefined || avoid === undefined) return undefined;
    const text = await this.#listing(parent);
    if (text === undefined) return undefined;
    if (avoid !== this.#avoid.text) this.#avoid = { text: avoid, bytes: Buffer.from(avoid, "latin1") };
    const begun = { parent, text, avoid: this.#avoid.bytes };
    const memory = aside && text.length >= ASIDE_FROM_BYTES ? this.#takeMemory() : undefined;
    if (memory === undefined) return { ...begun, aside: undefined };
    const told = this.#context.files.compareDirectoryAside(...this.#call(walk, name, begun, this.#keyBytes, memory));
    return { ...begun, aside: { memory, told } };
  }

  /** What came out of a comparison; undefined where it could not be told. Who gets a scanned directory gives its memory back. */
  async end(walk: Walk, name: string, begun: BegunComparison): Promise<SameDirectory | ScannedDirectory | undefined> {
    const { aside } = begun;
    const memory = aside?.memory ?? this.memory;
    const isTold = aside === undefined ? this.#context.files.compareDirectory(...this.#call(walk, name, begun, this.#keyBytes ?? 0, memory)) : await aside.told;
    const outcome = isTold ? this.#outcome(walk, name, begun, memory) : undefined;
    if (outcome?.kind !== "scanned") this.giveBack(memory);
    return outcome;
  }

  /** Ends one whose outcome nobody wants. */
  async drop({ aside }: BegunComparison): Promise<void> {
    if (aside === undefined) return;
    const { memory, told } = aside;
    const fd = (await told) ? (memory.found[FOUND.fd] ?? -1) : -1;
    if (fd >= 0) closeSync(fd);
    this.giveBack(memory);
  }

  /** Memory of a scanned directory, of which nothing is wanted any more. */
  giveBack(memory: ComparedDirectory): void {
    if (memory !== this.memory) this.#spare.push(memory);
  }

  #takeMemory(): ComparedDirectory | undefined {
    const memory = this.#spare.pop();
    if (memory !== undefined || this.#unmade === 0) return memory;
    this.#unmade--;
    return comparedMemory(STRETCH, this.#keyBytes ?? 1);
  }

  #call(
    walk: Walk,
    name: string,
    { avoid, text }: Pick<BegunComparison, "avoid" | "text">,
    keyBytes: number,
    memory: ComparedDirectory,
  ): Parameters<BatchFiles["compareDirectory"]> {
    return [walk.directory.fd, Buffer.from(name, "latin1"), { attributes: this.#context.xattrs, avoid }, text, keyBytes, memory];
  }

  #outcome(walk: Walk, name: string, { parent, text }: BegunComparison, memory: ComparedDirectory): SameDirectory | ScannedDirectory | undefined {
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
    const end = count === 0 ? 0 : (ends[count - 1] ?? 0);
    return {
      ...{ kind: "scanned", stat, text, memory, attributes: row[ROW.attributes] ?? ATTRIBUTES.unknown },
      directory: AnchoredDirectory.take(found[FOUND.fd] ?? -1, walk.directory.pathOf(name)),
      // Their memory is another directory's before they are not needed any more.
      names: { names: names.slice(0, end), ends: ends.slice(0, count), directories: 0 },
    };
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

const NOTHING_ELSE = { symlinks: 0, directories: 1, failed: 0, ignoredErrors: 0, errors: [] } as const;
