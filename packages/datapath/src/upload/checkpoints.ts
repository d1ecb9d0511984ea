/**
 * Saves, every few minutes, an incomplete snapshot of what is uploaded so far. It keeps the data reachable for garbage collection, and the next run, on this node or another,
 * goes on from it (kopia-format.md 7.6, 9.2).
 *
 * Checkpoints carry the source but no tags, so that nobody who looks snapshots up by tag takes one for a backup.
 */
import { type Clock, randomUuid } from "@drayage/base";
import { type DirectoryEntry, type DirectoryListingWriter, emptyStats, type ObjectWriter, type Repository, type SnapshotSource } from "@drayage/repo";

export const CHECKPOINT = "checkpoint";

/** A directory, or a file, on its way: enough to make an entry of what there is of it. */
export interface DirectoryUnderWay {
  /** The entry without what only the end of the directory tells. */
  readonly entry: Omit<DirectoryEntry, "objectId" | "summary">;
  readonly listing: DirectoryListingWriter;
  readonly files: Set<FileUnderWay>;
}

export interface FileUnderWay {
  readonly entry: Omit<DirectoryEntry, "objectId">;
  readonly object: ObjectWriter;
}

export interface CheckpointOptions {
  readonly repository: Repository;
  readonly clock: Clock;
  readonly source: SnapshotSource;
  readonly description: string;
  readonly startTimeNs: bigint;
  readonly everyMs: number;
  /** Called before a manifest is saved; throws when somebody else has taken over. */
  readonly fence: (() => Promise<void>) | undefined;
  readonly signal: AbortSignal | undefined;
}

export class Checkpoints {
  readonly #options: CheckpointOptions;
  /** From the root down. */
  readonly stack: DirectoryUnderWay[] = [];
  #dueMs: number;
  #running = false;
  #savedId: string | undefined;

  constructor(options: CheckpointOptions) {
    this.#options = options;
    this.#dueMs = options.clock.monotonicMs() + options.everyMs;
  }

  /** Saves one when it is time. Cheap when it is not; called between entries and between the pieces of large files. */
  async saveIfDue(): Promise<void> {
    const { clock, everyMs } = this.#options;
    if (this.#running || clock.monotonicMs() < this.#dueMs || this.stack.length === 0) return;
    this.#running = true;
    try {
      await this.#save();
    } finally {
      this.#running = false;
      this.#dueMs = clock.monotonicMs() + everyMs;
    }
  }

  /** Removes this run's checkpoint once the real manifest is there. Durable with the flush that makes that one durable. */
  async discard(): Promise<void> {
    if (this.#savedId !== undefined) await this.#options.repository.snapshots.delete(this.#savedId);
    this.#savedId = undefined;
  }

  async #save(): Promise<void> {
    const { repository, source, description, startTimeNs, clock, fence, signal } = this.#options;
    let child: DirectoryEntry | undefined;
    for (const level of this.stack.toReversed()) {
      const more: DirectoryEntry[] = child === undefined ? [] : [child];
      for (const file of level.files) {
        const { objectId, length } = await file.object.checkpoint(new Uint8Array(0), signal);
        // Kopia's name for the part of a file; it never equals the name of a real one, so the next run does not take the part for the whole.
        const name = `.checkpointed.${file.entry.name}.${randomUuid(repository.random)}`;
        more.push({ ...file.entry, name, size: length, objectId });
      }
      const written = await level.listing.checkpoint(more, { mtimeNs: level.entry.mtimeNs }, CHECKPOINT, signal);
      child = { ...level.entry, ...written };
    }
    if (child === undefined) return;
    await fence?.();
    const previous = this.#savedId;
    this.#savedId = await repository.snapshots.save(
      { source, description, startTimeNs, endTimeNs: clock.nowNs(), stats: emptyStats, incomplete: CHECKPOINT, rootEntry: child, tags: {}, pins: [] },
      signal,
    );
    if (previous !== undefined) await repository.snapshots.delete(previous, signal);
    await repository.flush(signal);
  }
}
