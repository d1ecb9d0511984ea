/**
 * Compares directories of files with their parents' listings, each in one call: opened, listed, examined and compared. Most directories of a volume are as they were, and this is all
 * that is done for them; of the others it is known then which files are not.
 *
 *   parent's listing ─► compareDirectory ─┬► the same in every byte, its contents stored ─► the parent's object
 *                                         ├► some of its files are not ─► walked, with what was found
 *                                         └► cannot be told ─► walked as if nothing had been looked at
 */
import { hasCode } from "@drayage/base";
import { ATTRIBUTES, type ComparedDirectory, comparedMemory, type DirectoryNames, FOUND, ROW, ROW_SLOTS, RUN } from "@drayage/kernels";
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

/** A directory that is as its parent has it. */
export interface SameDirectory {
  readonly kind: "same";
  readonly stat: FileStat;
  readonly objectId: ObjectId;
  readonly summary: DirectorySummary;
}

/** One that is not, open; what was found of its entries is in the memory of the comparison until the next call. */
export interface ScannedDirectory {
  readonly kind: "scanned";
  readonly stat: FileStat;
  readonly directory: AnchoredDirectory;
  /** What its row says of extended attributes. */
  readonly attributes: number;
  readonly names: DirectoryNames;
  /** The parent's listing. */
  readonly text: Uint8Array;
}

export class DirectoryComparison {
  readonly #context: UploadContext;
  /** Of one comparison at a time. */
  readonly memory: ComparedDirectory;
  readonly #keyBytes: number | undefined;
  /** Names that would give a directory rules of its own, as text and as the addon takes them. */
  #avoid = { text: "", bytes: Buffer.alloc(0) };

  constructor(context: UploadContext) {
    const { contents } = context.repository;
    this.#context = context;
    this.#keyBytes = contents.storedKeys === undefined || context.lanes === undefined ? undefined : contents.keyBytes;
    this.memory = comparedMemory(STRETCH, this.#keyBytes ?? 1);
  }

  /** Bytes of a key of file data; undefined where files are not compared as text. */
  get keyBytes(): number | undefined {
    return this.#keyBytes;
  }

  /** Of the keys of what was found to be the same, how many come first whose contents are stored. */
  stored(count: number): number {
    return count === 0 ? 0 : (this.#context.repository.contents.storedKeys?.(this.memory.keys, count) ?? 0);
  }

  /** Whether the content of the i-th file that was found to be the same is stored. */
  isStored(i: number): boolean {
    const keyBytes = this.#keyBytes ?? 0;
    return this.#context.repository.contents.storedKeys?.(this.memory.keys.subarray(i * keyBytes, (i + 1) * keyBytes), 1) === 1;
  }

  /**
   * Compares a directory of a walk with the one that its parent has by that name, whose object is `parent`. Undefined where it cannot be told. Throws what the repository throws.
   * @param name - a byte string
   */
  async compare(walk: Walk, name: string, parent: ObjectId): Promise<SameDirectory | ScannedDirectory | undefined> {
    const keyBytes = this.#keyBytes;
    const avoid = walk.rules === undefined ? "" : walk.rules.namesWithRulesIn(name);
    if (keyBytes === undefined || avoid === undefined) return undefined;
    const text = await this.#listing(parent);
    if (text === undefined) return undefined;
    if (avoid !== this.#avoid.text) this.#avoid = { text: avoid, bytes: Buffer.from(avoid, "latin1") };
    const options = { attributes: this.#context.xattrs, avoid: this.#avoid.bytes };
    const { found, names, ends, runs } = this.memory;
    if (!this.#context.files.compareDirectory(walk.directory.fd, Buffer.from(name, "latin1"), options, text, keyBytes, this.memory)) return undefined;
    const row = found.subarray(FOUND.row, FOUND.row + ROW_SLOTS);
    const { stat } = new RowFacts(row, 0);
    const count = found[FOUND.count] ?? 0;
    if (found[FOUND.whole] === 1) {
      // Where one is gone, all are looked at again.
      if (this.stored(count) < count) return undefined;
      const maxTimeNs = count === 0 ? stat.mtimeNs : timeNsOf(runs[RUN.seconds] ?? 0, runs[RUN.nanoseconds] ?? 0);
      const size = count === 0 ? 0 : (runs[RUN.bytes] ?? 0);
      return { kind: "same", stat, objectId: parent, summary: { ...NOTHING_ELSE, files: count, size, maxTimeNs } };
    }
    const end = count === 0 ? 0 : (ends[count - 1] ?? 0);
    return {
      ...{ kind: "scanned", stat, text, attributes: row[ROW.attributes] ?? ATTRIBUTES.unknown },
      directory: AnchoredDirectory.take(found[FOUND.fd] ?? -1, walk.directory.pathOf(name)),
      // Their memory is the next directory's.
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
