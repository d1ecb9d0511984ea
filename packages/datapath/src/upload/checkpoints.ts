/**
 * Saves, every few minutes, an incomplete snapshot of what is uploaded so far. It keeps the data reachable for garbage collection, and the next run, on this node or another,
 * goes on from it (kopia-format.md 7.6, 9.2).
 *
 * Checkpoints carry the source but no tags, so that nobody who looks snapshots up by tag takes one for a backup.
 */
import { type Clock, dispositionOf, randomUuid } from "@drayage/base";
import {
  type DirectoryEntry,
  type DirectoryListingWriter,
  emptyStats,
  type Repository,
  type SnapshotSource,
  type WrittenDirectory,
  type WrittenObject,
} from "@drayage/repo";

export const CHECKPOINT = "checkpoint";

/** A directory on its way: enough to make an entry of what there is of it. */
export interface DirectoryUnderWay {
  /** The entry without what only the end of the directory tells. */
  readonly entry: Omit<DirectoryEntry, "objectId" | "summary">;
  readonly listing: DirectoryListingWriter;
  /** Directories in it that are not in the listing yet, in order. */
  readonly children: Set<DirectoryUnderWay>;
  readonly files: Set<FileUnderWay>;
  /** What its entry is going to be, once it is being completed: its listing must then be left alone. */
  closing: Promise<WrittenDirectory> | undefined;
}

export interface FileUnderWay {
  readonly entry: Omit<DirectoryEntry, "objectId">;
  /** An object of what is stored so far; undefined where there is nothing yet. */
  readonly partial: () => Promise<WrittenObject | undefined>;
}

export interface CheckpointOptions {
  readonly repository: Repository;
  readonly clock: Clock;
  readonly source: SnapshotSource;
  readonly description: string;
  readonly startTimeNs: bigint;
  readonly everyMs: number;
  /** Called before a manifest is saved; throws when somebody else has taken over. */
  readonly fence: ((before: "checkpoint") => Promise<void>) | undefined;
  readonly signal: AbortSignal | undefined;
}

export class Checkpoints {
  readonly #options: CheckpointOptions;
  /** The root, while it is under way. */
  root: DirectoryUnderWay | undefined;
  #dueMs: number;
  #saving: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #savedId: string | undefined;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.#dueMs = options.clock.monotonicMs() + options.everyMs;
  }

  /** Saves one when it is time. Cheap when it is not; called between entries and between the pieces of large files. */
  async saveIfDue(): Promise<void> {
    const { clock, everyMs } = this.#options;
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#saving !== undefined || clock.monotonicMs() < this.#dueMs || this.root === undefined) return;
    try {
      this.#saving = this.#save();
      await this.#saving;
    } finally {
      this.#saving = undefined;
      this.#dueMs = clock.monotonicMs() + everyMs;
    }
  }

  /** Saves a last one, of an upload that is to end. Where there is nothing to save one of, what is stored becomes part of the repository all the same, and need not be stored again. */
  async saveLast(): Promise<void> {
    const { repository, signal } = this.#options;
    this.#dueMs = Number.POSITIVE_INFINITY;
    // What is being saved is nearly as young.
    if (this.#saving !== undefined) await this.#saving;
    else if (this.root !== undefined) await this.#save();
    else await repository.flush(signal);
  }

  /** The same for callers that do not wait; a failure is kept for the next that does. */
  saveSoon(): void {
    this.saveIfDue().catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  /** Removes this run's checkpoint once the real manifest is there. Durable with the flush that makes that one durable. */
  async discard(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#savedId !== undefined) await this.#options.repository.snapshots.delete(this.#savedId);
    this.#savedId = undefined;
  }

  async #save(): Promise<void> {
    const { repository, source, description, startTimeNs, clock, fence, signal } = this.#options;
    if (this.root === undefined) return;
    const rootEntry = await this.#entryOf(this.root);
    if (!(await this.#mayBeSaved(fence))) return;
    const previous = this.#savedId;
    this.#savedId = await repository.snapshots.save(
      { source, description, startTimeNs, endTimeNs: clock.nowNs(), stats: emptyStats, incomplete: CHECKPOINT, rootEntry, tags: {}, pins: [] },
      signal,
    );
    if (previous !== undefined) await repository.snapshots.delete(previous, signal);
    await repository.flush(signal);
  }

  /** False when it cannot be told now whether this run is still the one: the next checkpoint is not far. */
  async #mayBeSaved(fence: CheckpointOptions["fence"]): Promise<boolean> {
    try {
      await fence?.("checkpoint");
      return true;
    } catch (error) {
      if (dispositionOf(error) === "retry") return false;
      throw error;
    }
  }

  async #entryOf(directory: DirectoryUnderWay): Promise<DirectoryEntry> {
    const { signal, repository } = this.#options;
    const more: DirectoryEntry[] = [];
    for (const child of directory.children) more.push(await this.#entryOf(child));
    for (const file of directory.files) {
      const written = await file.partial();
      if (written === undefined) continue;
      // Kopia's name for the part of a file; it never equals the name of a real one, so the next run does not take the part for the whole.
      const name = `.checkpointed.${file.entry.name}.${randomUuid(repository.random)}`;
      more.push({ ...file.entry, name, size: written.length, objectId: written.objectId });
    }
    if (directory.closing !== undefined) return { ...directory.entry, ...(await directory.closing) };
    const written = await directory.listing.checkpoint(more, { mtimeNs: directory.entry.mtimeNs }, CHECKPOINT, signal);
    return { ...directory.entry, ...written };
  }
}
