/**
 * Fetches planned ranges and hands them to writers: several at once, within a bound in bytes. That begins low, and rises to its limit while writers wait for ranges of a
 * store that is far away: it needs many on their way, where a disk keeps writers busy with one range ahead.
 *
 *   start(range) ─ wait for memory ─ fetch ─► writers ─► onDone, per target
 *                                     └ gone, too short, damaged: each content by itself ─► writers, or onBadContent
 *
 * What cannot be had as a range is read content by content, by whatever way the source knows: a lost pack costs the files whose contents lay in it and nowhere else.
 */
import { DrayError, hasCode, Semaphore } from "@drayage/base";
import { notGenuine } from "./file-writer.ts";
import { RangeMemory } from "./range-memory.ts";
import type { PlannedRange, WantedContent } from "./range-plan.ts";
import type { RestoreLimits } from "./restore-context.ts";
import type { ContentRef, RestoreSource } from "./restore-source.ts";
import { CONTENT, errorOf, TARGET, type TargetExtras, type WriteJob, type WriteResult } from "./write-job.ts";
import type { WritePool } from "./write-pool.ts";

/** What a target puts into a job. */
export interface JobTarget {
  /** Writes the numbers of TARGET from `row` on, and gives its name. `directoryOf` gives the index of an open directory in the job. */
  encode(numbers: Float64Array, row: number, directoryOf: (directory: { readonly fd: number; readonly path: string }) => number): string;
  extrasOf(content: ContentRef): TargetExtras | undefined;
}

export interface TransferOptions<T extends JobTarget> {
  readonly source: RestoreSource;
  readonly pool: WritePool;
  readonly limits: Pick<RestoreLimits, "threads" | "memoryBytes" | "rangeBytes">;
  readonly check: boolean;
  readonly signal: AbortSignal;
  /** A content is written to its target, or `error` says why not. */
  readonly onDone: (target: T, content: ContentRef, error: unknown) => void;
  readonly onWarning: (target: T, error: unknown) => void;
  readonly onContent: (content: ContentRef) => void;
  /** Something that ends it all: what is under way is still waited for. */
  readonly onFatal: (error: unknown) => void;
}

/** However small ranges are, no store is asked for more at once. */
const RANGES_AT_ONCE = 16;

export interface TransferStatistics {
  /** Ranges fetched. */
  readonly requests: number;
  readonly bytesFetched: number;
  /** Of these, bytes of contents. */
  readonly bytesNeeded: number;
  /** Damaged parts that error correction put right in what was fetched. */
  readonly repairedShards: number;
}

export class PlannedTransfer<T extends JobTarget> {
  readonly #on: TransferOptions<T>;
  /** How many bytes may be under way, and where they lie. */
  readonly #allowed: Semaphore;
  readonly #memory: RangeMemory;
  readonly #slots = new Semaphore(RANGES_AT_ONCE);
  #wanting = 0;
  #writing = 0;
  #written = 0;
  readonly #tasks = new Set<Promise<void>>();
  readonly #statistics = { requests: 0, bytesFetched: 0, bytesNeeded: 0, repairedShards: 0 };

  constructor(options: TransferOptions<T>) {
    this.#on = options;
    this.#allowed = new Semaphore(this.#bytesAhead(options.limits.rangeBytes));
    this.#memory = new RangeMemory(options.limits.memoryBytes);
  }

  get statistics(): TransferStatistics {
    return { ...this.#statistics };
  }

  /** Waits until there is memory for the range, and starts it. */
  async start(range: PlannedRange<T>): Promise<void> {
    const { signal, onFatal } = this.#on;
    // A content may be longer than a range of several: of large files most are.
    this.#allowed.raise(this.#bytesAhead(range.length));
    const releaseSlot = await this.#slots.acquire(1, signal);
    this.#wanting++;
    const releaseMemory = await this.#allowed
      .acquire(range.length, signal)
      .catch((error: unknown) => {
        releaseSlot();
        throw error;
      })
      .finally(() => this.#wanting--);
    const task: Promise<void> = this.#transfer(range)
      .catch(onFatal)
      .finally(() => {
        releaseMemory();
        releaseSlot();
        this.#tasks.delete(task);
      });
    this.#tasks.add(task);
  }

  /** Targets that need no content: empty files. */
  async startEmpty(targets: readonly T[]): Promise<void> {
    if (targets.length === 0) return;
    const content: ContentRef = { id: "", pack: undefined, offset: 0, length: 0, originalLength: 0, form: 0 };
    const task: Promise<void> = this.#write(undefined, new Uint8Array(0), [{ content, targets: [...targets] }], 0)
      .then(() => undefined)
      .catch(this.#on.onFatal)
      .finally(() => this.#tasks.delete(task));
    this.#tasks.add(task);
  }

  /** Waits until nothing is under way. */
  async drain(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  async #transfer(range: PlannedRange<T>): Promise<void> {
    const { pack, offset, length, contents, bytesNeeded } = range;
    const { source, signal } = this.#on;
    if (pack === undefined) return await this.#oneByOne(contents);
    const memory = await this.#memory.take(length);
    try {
      let bytes: Uint8Array;
      try {
        bytes = await source.readRange(pack, offset, length, { signal, into: memory.bytes });
        this.#statistics.requests++;
        this.#statistics.bytesFetched += length;
        this.#statistics.bytesNeeded += bytesNeeded;
        this.#allowMoreWhenIdle();
      } catch (error) {
        if (!isDamage(error)) throw error;
        return await this.#oneByOne(contents);
      }
      const bad = await this.#write(pack, bytes, contents, offset);
      await this.#oneByOne(bad);
    } finally {
      memory.giveBack();
    }
  }

  /** Memory for ranges of this length: one for each writer, and the next. */
  #bytesAhead(length: number): number {
    const { threads, memoryBytes } = this.#on.limits;
    return Math.min(memoryBytes, (Math.max(1, threads) + 1) * length);
  }

  /** Allows another range where one has come from afar to writers of which half or more had nothing to do, while the next waits for memory. */
  #allowMoreWhenIdle(): void {
    if (this.#on.source.isLocal === true) return;
    const { threads, memoryBytes, rangeBytes } = this.#on.limits;
    const areIdle = this.#written > 0 && 2 * this.#writing < Math.max(1, threads);
    if (areIdle && this.#wanting > 0) this.#allowed.raise(Math.min(memoryBytes, this.#allowed.limit + rangeBytes));
  }

  /** The last resort for contents that their range did not give. */
  async #oneByOne(contents: readonly WantedContent<T>[]): Promise<void> {
    const { source, signal, onDone } = this.#on;
    for (const wanted of contents) {
      const { content, targets } = wanted;
      try {
        const plain = await source.readContent(content, signal);
        const bad = await this.#write(undefined, plain, [wanted], 0);
        if (bad.length > 0) throw notGenuine(content.id);
      } catch (error) {
        if (!isDamage(error)) throw error;
        for (const target of targets) onDone(target, content, error);
      }
    }
  }

  /** Gives the contents that could not be decoded. `at` is where in the pack the bytes begin. */
  async #write(pack: string | undefined, bytes: Uint8Array, contents: readonly WantedContent<T>[], at: number): Promise<WantedContent<T>[]> {
    const job = jobOf(pack, bytes, contents, at, this.#on.check);
    this.#writing++;
    const result = await this.#on.pool.run(job).finally(() => this.#writing--);
    this.#written++;
    this.#statistics.repairedShards += result.repairedShards;
    if (result.stopped) {
      this.#on.signal.throwIfAborted();
      throw new DrayError("INVARIANT", "Cannot go on: a writer was stopped that nobody stopped");
    }
    return this.#settle(contents, result);
  }

  #settle(contents: readonly WantedContent<T>[], result: WriteResult): WantedContent<T>[] {
    const { onDone, onWarning, onContent } = this.#on;
    const failures = new Map(result.failures.map(({ target, error }) => [target, error]));
    const warnings = Map.groupBy(result.warnings, ({ target }) => target);
    const badIndexes = new Set(result.badContents.map(({ index }) => index));
    const bad: WantedContent<T>[] = [];
    let index = 0;
    contents.forEach((wanted, which) => {
      if (badIndexes.has(which)) {
        bad.push(wanted);
        index += wanted.targets.length;
        return;
      }
      onContent(wanted.content);
      for (const target of wanted.targets) {
        for (const { error } of warnings.get(index) ?? []) onWarning(target, errorOf(error));
        const failure = failures.get(index++);
        onDone(target, wanted.content, failure === undefined ? undefined : errorOf(failure));
      }
    });
    return bad;
  }
}

/** What is wrong with the repository and not with the way to it. */
export function isDamage(error: unknown): boolean {
  return hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "REPO_UNSUPPORTED", "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE");
}

function jobOf<T extends JobTarget>(pack: string | undefined, bytes: Uint8Array, contents: readonly WantedContent<T>[], at: number, check: boolean): WriteJob {
  const targetCount = contents.reduce((sum, { targets }) => sum + targets.length, 0);
  const contentNumbers = new Float64Array(contents.length * CONTENT.columns);
  const targetNumbers = new Float64Array(targetCount * TARGET.columns);
  const contentIds: string[] = [];
  const names: string[] = [];
  const directories: { readonly fd: number; readonly path: string }[] = [];
  const directoryIndexes = new Map<unknown, number>();
  const extras = new Map<number, TargetExtras>();
  const directoryOf = (directory: { readonly fd: number; readonly path: string }): number => {
    let index = directoryIndexes.get(directory);
    if (index === undefined) {
      index = directories.push({ fd: directory.fd, path: directory.path }) - 1;
      directoryIndexes.set(directory, index);
    }
    return index;
  };
  let row = 0;
  for (const { content, targets } of contents) {
    contentNumbers[row + CONTENT.at] = pack === undefined ? 0 : content.offset - at;
    contentNumbers[row + CONTENT.length] = pack === undefined ? bytes.length : content.length;
    contentNumbers[row + CONTENT.originalLength] = content.originalLength;
    contentNumbers[row + CONTENT.form] = content.form;
    contentNumbers[row + CONTENT.targets] = targets.length;
    row += CONTENT.columns;
    contentIds.push(content.id);
    for (const target of targets) {
      const index = names.length;
      names.push(target.encode(targetNumbers, index * TARGET.columns, directoryOf));
      const extra = target.extrasOf(content);
      if (extra !== undefined) extras.set(index, extra);
    }
  }
  return { bytes, pack, contents: contentNumbers, contentIds, targets: targetNumbers, names, directories, extras, check };
}
