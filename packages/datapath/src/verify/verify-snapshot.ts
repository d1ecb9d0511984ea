/**
 * Can a snapshot be restored? Walks its tree and checks that everything it needs is there, and with `full` that every byte can be read.
 *
 *   quick   every listing is read; every content of every file is in the index, and its pack is in the store with all its bytes
 *   full    besides, every content is read: decrypted, authenticated, hashed again and compared with its id
 *   sample  as quick, and of the files a part, chosen anew each time, as full
 *
 * What is read is read as a restore does it: in the order of the packs, each content once, however many files and snapshots have it.
 */
import { type Clock, DrayError, systemClock } from "@drayage/base";
import { systemCalls } from "@drayage/kernels";
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
import { KopiaSource } from "../restore/kopia-source.ts";
import { isDamage } from "../restore/planned-transfer.ts";
import type { RestoreLimits } from "../restore/restore-context.ts";
import { restoreLimits, withWritePool } from "../restore/restore-limits.ts";
import type { WritePool } from "../restore/write-pool.ts";
import { below } from "../upload/source-entry.ts";
import { type CheckNode, ContentChecks } from "./content-checks.ts";
import { KnownIds } from "./known-ids.ts";

export type VerifyMode = "quick" | "full" | "sample";

export interface VerifySnapshotOptions {
  readonly repository: Repository;
  readonly snapshots: readonly Snapshot[];
  /** @default "quick" */
  readonly mode?: VerifyMode;
  /** Of a hundred files so many are read, on average, by mode `sample`. */
  readonly samplePercent?: number;
  /** Threads that decode and hash. @default the CPUs that this process may use, 4 at most */
  readonly parallel?: number;
  /** Bytes that the process may take. @default 352 MiB */
  readonly memoryBudget?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Told of every problem; the report keeps the first thousand. */
  readonly onProblem?: (problem: EntryProblem) => void;
  readonly clock?: Clock;
  readonly limits?: Partial<RestoreLimits>;
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
  /** Contents that were read and are good, and their bytes. */
  readonly contentsRead: number;
  readonly bytesRead: number;
  /** Snapshots with something wrong, and how much. */
  readonly damaged: readonly { readonly snapshotId: string; readonly problems: number }[];
  /** What is wrong, by path below the snapshot's id; the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  /** Damaged parts that error correction put right, in everything read since the repository was opened: the data is whole, the store is not. */
  readonly repairedShards: number;
  readonly progress: DataPathProgress;
}

/** Objects that were found good and are not looked at again when another snapshot shares them: at most 96 MiB of them. */
const REMEMBERED_MAX = 3 << 20;
const PACK_PREFIXES = ["p", "q"];

/**
 * Verifies snapshots. What is wrong with them is in the report; throws only when the store cannot be asked (BLOB_*), and the signal's reason within a second of its abort.
 * Memory: one listing for each level of the tree, the names of the packs, ranges under way within the budget, and what is remembered of three million objects, at 21 to 32 bytes each.
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
    const packs = await packLengths(options.repository, options.signal);
    meter.enter("verifying");
    const report = await withChecks(options, meter, async (checks) => {
      const verification = new Verification(options, { clock, meter, packs, checks });
      for (const snapshot of options.snapshots) await verification.snapshot(snapshot);
      await checks.finish();
      return verification.report(options.snapshots.length);
    });
    endedWell = true;
    meter.close(true);
    return { ...report, progress: meter.progress };
  } finally {
    if (!endedWell) meter.close(false);
  }
}

async function withChecks<T>(options: VerifySnapshotOptions, meter: ProgressMeter, work: (checks: ContentChecks) => Promise<T>): Promise<T> {
  const { mode = "quick", samplePercent = 0, clock = systemClock } = options;
  const source = new KopiaSource(options.repository);
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const share = mode === "full" ? 1 : mode === "sample" ? samplePercent / 100 : 0;
  const expected = { bytes: meter.counts.bytesTotal * share, files: meter.counts.filesTotal * share };
  const limits = restoreLimits({ ...options, expected, ...(mode === "quick" ? { limits: { threads: 0 } } : {}) });
  const context = { source, system: systemCalls, clock, signal, overwrite: false, sparse: false, verify: false, limits };
  return await withWritePool(context, options, async (pool: WritePool) => {
    const checks = new ContentChecks({ source, pool, signal, stop, limits, meter });
    try {
      return await work(checks);
    } finally {
      // Threads are not ended in the middle of something.
      await checks.drain();
    }
  });
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

interface VerificationParts {
  readonly clock: Clock;
  readonly meter: ProgressMeter;
  readonly packs: ReadonlyMap<string, number>;
  readonly checks: ContentChecks;
}

class Verification {
  readonly #options: VerifySnapshotOptions;
  readonly #on: VerificationParts;
  readonly #pacer: Pacer;
  readonly #problems = new ProblemList();
  readonly #good = new KnownIds(REMEMBERED_MAX);
  /** Files whose contents are being read. */
  readonly #reading = new Set<ObjectId>();
  #directories = 0;
  #files = 0;
  #bytes = 0;
  #filesRead = 0;
  /** By snapshot; kept for those that have any. */
  readonly #damaged = new Map<string, number>();
  #snapshotId = "";

  constructor(options: VerifySnapshotOptions, parts: VerificationParts) {
    this.#options = options;
    this.#on = parts;
    this.#pacer = new Pacer(parts.clock, options.signal);
  }

  async snapshot({ id, rootEntry }: Snapshot): Promise<void> {
    this.#snapshotId = id;
    const root = this.#node(id, undefined, undefined);
    if (rootEntry === undefined) root.fail(new DrayError("REPO_CORRUPT", "its manifest names no root"));
    else if (rootEntry.type === "directory") await this.#directory(rootEntry.objectId, id, root);
    else await this.#file(rootEntry, id, root);
    root.release();
  }

  report(snapshots: number): Omit<VerifyReport, "progress"> {
    const { checks } = this.#on;
    return {
      mode: this.#options.mode ?? "quick",
      snapshots,
      directories: this.#directories,
      files: this.#files,
      bytes: this.#bytes,
      filesRead: this.#filesRead,
      contentsRead: checks.contents,
      bytesRead: checks.bytes,
      damaged: [...this.#damaged].map(([snapshotId, count]) => ({ snapshotId, problems: count })),
      problems: this.#problems.kept,
      problemCount: this.#problems.count,
      repairedShards: this.#options.repository.contents.repairedShards + checks.repairedShards,
    };
  }

  async #directory(objectId: ObjectId, path: string, parent: CheckNode): Promise<void> {
    if (this.#good.has(objectId)) return;
    const { repository, signal } = this.#options;
    const node = this.#node(path, parent, () => this.#remember(objectId));
    const subdirectories: DirectoryEntry[] = [];
    await this.#guard(node, async () => {
      await this.#contents(objectId, node, this.#options.mode === "full");
      const listing = new DirectoryListing(repository.objects, objectId, signal);
      for await (const batch of listing.batches()) {
        for (const entry of batch) {
          if (entry.type === "directory") subdirectories.push(entry);
          else if (!this.#isPlainlyGood(entry)) await this.#file(entry, below(path, entry.name), node);
          if (this.#pacer.isDue()) await this.#pacer.turn();
        }
      }
      // What was added is read with the listing; a damaged addition shows here.
      void listing.extension;
    });
    for (const entry of subdirectories) await this.#directory(entry.objectId, below(path, entry.name), node);
    this.#directories++;
    node.release();
  }

  /** Most files have one content, and of most it is only asked whether it is stored: that takes no more than a look into the index. What is wrong in any way is left to `#file`. */
  #isPlainlyGood(entry: DirectoryEntry): boolean {
    if ((this.#options.mode ?? "quick") !== "quick") return false;
    const { objectId, size } = entry;
    if (!this.#good.has(objectId)) {
      const { indirection, compressed, contentId } = parseObjectId(objectId);
      if (indirection > 0 || compressed) return false;
      const info = this.#options.repository.contents.info(contentId);
      if (info === undefined || info.deleted || info.originalLength !== size || contentProblem(info, this.#on.packs) !== undefined) return false;
    }
    this.#count(entry);
    return true;
  }

  /** One more good file. */
  #count({ objectId, size }: DirectoryEntry): void {
    this.#remember(objectId);
    this.#files++;
    this.#bytes += size;
    this.#on.meter.counts.filesDone++;
    this.#on.meter.counts.bytesDone += size;
  }

  async #file(entry: DirectoryEntry, path: string, parent: CheckNode): Promise<void> {
    const { objectId, size, name } = entry;
    const onGood = (): void => this.#count(entry);
    const node = this.#node(path, parent, onGood, () => void this.#reading.delete(objectId));
    if (!this.#good.has(objectId)) {
      await this.#guard(node, async () => {
        const isRead = this.#isRead();
        if (isRead && !this.#reading.has(objectId)) this.#filesRead++;
        if (isRead) this.#reading.add(objectId);
        const length = await this.#contents(objectId, node, isRead);
        // The part of a file in a checkpoint of Kopia's is shorter than the file.
        if (length !== size && !name.startsWith(CHECKPOINTED)) {
          throw new DrayError("REPO_CORRUPT", `Cannot use object "${objectId}": it has ${length} bytes, ${size} were wanted`);
        }
      });
    }
    node.release();
  }

  /** Checks that every content of an object is stored, lists included, has those read that are to be, and gives the object's length. */
  async #contents(objectId: ObjectId, node: CheckNode, isRead: boolean): Promise<number> {
    const { signal } = this.#options;
    const { checks } = this.#on;
    let end = 0;
    let list: ObjectId = objectId;
    for (; list.startsWith("I"); list = list.slice(1) as ObjectId) {
      if (list.startsWith("II")) continue;
      const direct = list.slice(1) as ObjectId;
      this.#stored(parseObjectId(direct).contentId);
      if (isRead) for await (const { content } of checks.pieces(direct, signal)) await checks.want(content, node);
    }
    for await (const { offset, content } of checks.pieces(objectId, signal)) {
      this.#stored(parseObjectId(content.id).contentId);
      end = offset + content.originalLength;
      if (isRead) await checks.want(content, node);
      await this.#pacer.pace();
    }
    return end;
  }

  #isRead(): boolean {
    const { mode = "quick", samplePercent = 0, repository } = this.#options;
    return mode === "full" || (mode === "sample" && repository.random.fraction() * 100 < samplePercent);
  }

  #stored(id: ContentId): void {
    const info = this.#options.repository.contents.info(id);
    if (info === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot find content "${id}": no index names it`);
    const problem = info.deleted ? `content "${id}" is marked deleted` : contentProblem(info, this.#on.packs);
    if (problem !== undefined) throw new DrayError("REPO_CORRUPT", `Cannot use what is stored: ${problem}`);
  }

  #node(path: string, parent: CheckNode | undefined, onGood: (() => void) | undefined, onEnd?: () => void): CheckNode {
    const snapshotId = this.#snapshotId;
    return this.#on.checks.node({
      ...{ parent, onGood },
      ...(onEnd === undefined ? {} : { onEnd }),
      onBad: (error) => {
        const problem = this.#problems.add(path, error);
        this.#options.onProblem?.(problem);
        this.#damaged.set(snapshotId, (this.#damaged.get(snapshotId) ?? 0) + 1);
        this.#on.meter.counts.errors++;
      },
    });
  }

  async #guard(node: CheckNode, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!isDamage(error)) throw error;
      node.fail(error);
    }
  }

  #remember(objectId: ObjectId): void {
    this.#good.add(objectId);
  }
}

/** What the name of a file begins with that a checkpoint has a part of. */
const CHECKPOINTED = ".checkpointed.";
