/**
 * Can a snapshot be restored? Walks its tree and checks that everything it needs is there, and with `full` that every byte can be read.
 *
 *   quick   every listing is read; every content of every file is in the index, and its pack is in the store with all its bytes
 *   full    besides, every file is read from front to back: decrypted, authenticated, of the stated length
 *   sample  as quick, and of the files a part, chosen anew each time, as full
 */
import { type Clock, DrayError, forEachLimit, hasCode, systemClock } from "@drayage/base";
import {
  type ContentId,
  type ContentInfo,
  type DirectoryEntry,
  DirectoryListing,
  type ObjectId,
  parseObjectId,
  type Repository,
  type Snapshot,
} from "@drayage/repo";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { below } from "../upload/source-entry.ts";

export type VerifyMode = "quick" | "full" | "sample";

export interface VerifySnapshotOptions {
  readonly repository: Repository;
  readonly snapshots: readonly Snapshot[];
  /** @default "quick" */
  readonly mode?: VerifyMode;
  /** Of a hundred files so many are read, on average, by mode `sample`. */
  readonly samplePercent?: number;
  /** Files being read side by side. @default 4 */
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Told of every problem; the report keeps the first thousand. */
  readonly onProblem?: (problem: EntryProblem) => void;
  readonly clock?: Clock;
}

export interface VerifyReport {
  readonly mode: VerifyMode;
  readonly snapshots: number;
  readonly directories: number;
  readonly files: number;
  /** Bytes of the files that were checked. */
  readonly bytes: number;
  /** Files that were read from front to back: each content of a file counts once, however many snapshots share it. */
  readonly filesRead: number;
  /** Snapshots with something wrong, and how much. */
  readonly damaged: readonly { readonly snapshotId: string; readonly problems: number }[];
  /** What is wrong, by path below the snapshot's id; the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  /** Damaged parts that error correction put right, in everything read since the repository was opened: the data is whole, the store is not. */
  readonly repairedShards: number;
  readonly progress: DataPathProgress;
}

const DEFAULT_PARALLEL = 4;
/** Objects that were found good and are not looked at again when another snapshot shares them: some 60 bytes each. */
const REMEMBERED_MAX = 1_000_000;
const PACK_PREFIXES = ["p", "q"];

/**
 * Verifies snapshots. What is wrong with them is in the report; throws only when the store cannot be asked (BLOB_*), and the signal's reason within a second of its abort.
 * Memory: one listing for each level of the tree, the names of the packs, and a few contents for each file read side by side.
 */
export async function verifySnapshots(options: VerifySnapshotOptions): Promise<VerifyReport> {
  const clock = options.clock ?? systemClock;
  const meter = new ProgressMeter(clock, options.onProgress);
  let endedWell = false;
  try {
    meter.enter("preparing");
    for (const { rootEntry } of options.snapshots) {
      meter.counts.bytesTotal += rootEntry?.summary?.size ?? 0;
      meter.counts.filesTotal += rootEntry?.summary?.files ?? 0;
    }
    const verification = new Verification(options, clock, meter, await packLengths(options.repository, options.signal));
    meter.enter("verifying");
    for (const snapshot of options.snapshots) await verification.snapshot(snapshot);
    endedWell = true;
    meter.close(true);
    return verification.report(options.snapshots.length);
  } finally {
    if (!endedWell) meter.close(false);
  }
}

/** Bytes of every pack in the store. */
export async function packLengths(repository: Repository, signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const lengths = new Map<string, number>();
  for (const prefix of PACK_PREFIXES) for await (const blob of repository.storage.list(prefix, signal)) lengths.set(blob.id, blob.length);
  return lengths;
}

/** What is wrong with where a content is stored, or undefined. */
export function contentProblem(info: ContentInfo, packs: ReadonlyMap<string, number>): string | undefined {
  const length = packs.get(info.packBlobId);
  const end = info.packOffset + info.packedLength;
  if (length === undefined) return `content "${info.id}" is in pack "${info.packBlobId}", which is not in the store`;
  if (length < end) return `content "${info.id}" ends at byte ${end} of pack "${info.packBlobId}", which has ${length}`;
  return undefined;
}

class Verification {
  readonly #options: VerifySnapshotOptions;
  readonly #meter: ProgressMeter;
  readonly #packs: ReadonlyMap<string, number>;
  readonly #pacer: Pacer;
  readonly #problems = new ProblemList();
  readonly #good = new Set<ObjectId>();
  #directories = 0;
  #files = 0;
  #bytes = 0;
  #filesRead = 0;
  readonly #damaged: { snapshotId: string; problems: number }[] = [];

  constructor(options: VerifySnapshotOptions, clock: Clock, meter: ProgressMeter, packs: ReadonlyMap<string, number>) {
    this.#options = options;
    this.#meter = meter;
    this.#packs = packs;
    this.#pacer = new Pacer(clock, options.signal);
  }

  async snapshot({ id, rootEntry }: Snapshot): Promise<void> {
    const before = this.#problems.count;
    if (rootEntry === undefined) this.#bad(id, new DrayError("REPO_CORRUPT", "its manifest names no root"));
    else if (rootEntry.type === "directory") await this.#directory(rootEntry.objectId, id);
    else await this.#guard(id, () => this.#file(rootEntry));
    if (this.#problems.count > before) this.#damaged.push({ snapshotId: id, problems: this.#problems.count - before });
  }

  report(snapshots: number): VerifyReport {
    return {
      mode: this.#options.mode ?? "quick",
      snapshots,
      directories: this.#directories,
      files: this.#files,
      bytes: this.#bytes,
      filesRead: this.#filesRead,
      damaged: this.#damaged,
      problems: this.#problems.kept,
      problemCount: this.#problems.count,
      repairedShards: this.#options.repository.contents.repairedShards,
      progress: this.#meter.progress,
    };
  }

  async #directory(objectId: ObjectId, path: string): Promise<void> {
    if (this.#good.has(objectId)) return;
    const { repository, signal, parallel } = this.#options;
    const before = this.#problems.count;
    const subdirectories: DirectoryEntry[] = [];
    await this.#guard(path, async () => {
      await this.#contents(objectId);
      const listing = new DirectoryListing(repository.objects, objectId, signal);
      for await (const batch of listing.batches()) {
        for (const entry of batch) if (entry.type === "directory") subdirectories.push(entry);
        const others = batch.filter((entry) => entry.type !== "directory");
        await forEachLimit(others, parallel ?? DEFAULT_PARALLEL, (entry) => this.#guard(below(path, entry.name), () => this.#file(entry)), signal);
        await this.#pacer.pace(batch.length);
      }
      // What was added is read with the listing; a damaged addition shows here.
      void listing.extension;
    });
    for (const entry of subdirectories) await this.#directory(entry.objectId, below(path, entry.name));
    this.#directories++;
    if (this.#problems.count === before) this.#remember(objectId);
  }

  async #file(entry: DirectoryEntry): Promise<void> {
    const { repository, signal } = this.#options;
    if (!this.#good.has(entry.objectId)) {
      let length = await this.#contents(entry.objectId);
      if (this.#isRead()) {
        this.#filesRead++;
        length = 0;
        for await (const piece of repository.objects.pieces(entry.objectId, signal === undefined ? {} : { signal })) {
          length += piece.length;
          this.#meter.counts.bytesHashed += piece.length;
          await this.#pacer.pace(64);
        }
      }
      // The part of a file in a checkpoint of Kopia's is shorter than the file.
      if (length !== entry.size && !entry.name.startsWith(".checkpointed.")) {
        throw new DrayError("REPO_CORRUPT", `Cannot use object "${entry.objectId}": it has ${length} bytes, ${entry.size} were wanted`);
      }
      this.#remember(entry.objectId);
    }
    this.#files++;
    this.#bytes += entry.size;
    this.#meter.counts.filesDone++;
    this.#meter.counts.bytesDone += entry.size;
  }

  #isRead(): boolean {
    const { mode = "quick", samplePercent = 0, repository } = this.#options;
    return mode === "full" || (mode === "sample" && repository.random.fraction() * 100 < samplePercent);
  }

  /** Checks that every content of an object is stored, lists included, and gives the object's length. */
  async #contents(objectId: ObjectId): Promise<number> {
    const { repository, signal } = this.#options;
    let end = 0;
    let list: ObjectId = objectId;
    for (; list.startsWith("I"); list = list.slice(1) as ObjectId) if (!list.startsWith("II")) this.#stored(parseObjectId(list).contentId);
    for await (const chunk of repository.objects.chunks(objectId, signal)) {
      this.#stored(parseObjectId(chunk.objectId).contentId);
      end = chunk.offset + chunk.length;
      await this.#pacer.pace();
    }
    return end;
  }

  #stored(id: ContentId): void {
    const info = this.#options.repository.contents.info(id);
    if (info === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot find content "${id}": no index names it`);
    const problem = info.deleted ? `content "${id}" is marked deleted` : contentProblem(info, this.#packs);
    if (problem !== undefined) throw new DrayError("REPO_CORRUPT", `Cannot use what is stored: ${problem}`);
  }

  async #guard(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE")) throw error;
      this.#bad(path, error);
    }
  }

  #bad(path: string, error: unknown): void {
    const problem = this.#problems.add(path, error);
    this.#options.onProblem?.(problem);
    this.#meter.counts.errors++;
  }

  #remember(objectId: ObjectId): void {
    if (this.#good.size < REMEMBERED_MAX) this.#good.add(objectId);
  }
}
