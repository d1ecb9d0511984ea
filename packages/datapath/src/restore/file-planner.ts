/**
 * Brings files to their contents: gathers what is wanted in a window of bounded size, has it fetched and written in the order of the packs, and tells of each file when it is there.
 *
 * Windows follow the tree, so that directories are finished and closed on the way. While one is being written the next is planned. A large file may span windows: it stays open.
 */
import { DrayError } from "@drayage/base";
import { textOfByteString } from "@drayage/repo";
import { PlannedTransfer, type TransferStatistics } from "./planned-transfer.ts";
import { RangePlan } from "./range-plan.ts";
import type { RestoreContext } from "./restore-context.ts";
import type { ContentRef, Piece } from "./restore-source.ts";
import { type FileTask, PartTarget, type RestoreTarget, WholeTarget } from "./restore-target.ts";
import type { WritePool } from "./write-pool.ts";

/** More than these in one range would hold up a cancellation. */
const RANGE_TARGETS_MAX = 2048;

export interface FilePlannerOptions {
  readonly context: RestoreContext;
  readonly pool: WritePool;
  /** A file is whole and has its attributes, or `error` says why it is not there. Once for each file. */
  readonly onSettled: (task: FileTask, error: unknown) => void;
  readonly onFatal: (error: unknown) => void;
}

export class FilePlanner {
  readonly #on: FilePlannerOptions;
  readonly #transfer: PlannedTransfer<RestoreTarget>;
  readonly #open = new Set<FileTask>();
  #plan = new RangePlan<RestoreTarget>();
  #empty: RestoreTarget[] = [];

  constructor(options: FilePlannerOptions) {
    this.#on = options;
    const { context, pool, onFatal } = options;
    this.#transfer = new PlannedTransfer<RestoreTarget>({
      ...{ source: context.source, pool, limits: context.limits, check: false, signal: context.signal, onFatal },
      onDone: (target, content, error) => this.#done(target, content, error),
      onWarning: (target, error) => void context.warnings.add(target.task?.path ?? "", error),
      onContent: ({ length }) => {
        context.meter.counts.bytesUploaded += length;
      },
    });
  }

  get statistics(): TransferStatistics {
    return this.#transfer.statistics;
  }

  /** Plans a file or link. What is wrong with it is told through `onSettled`; throws what ends the restore. */
  async add(task: FileTask): Promise<void> {
    const { source, signal } = this.#on.context;
    try {
      task.node.directory.checkName(task.entry.name);
      const pieces = source.pieces(task.entry, signal);
      if (isArray(pieces) && pieces.length <= 1) this.#addWhole(task, pieces[0]);
      else await this.#addParts(task, pieces);
    } catch (error) {
      signal.throwIfAborted();
      this.#settlePart(task, error);
    }
    if (this.#isFull()) await this.flush();
  }

  /** Starts everything planned so far. Ends when all of it is under way or done. */
  async flush(): Promise<void> {
    const { gapBytes, rangeBytes, openFiles } = this.#on.context.limits;
    const plan = this.#plan;
    const empty = this.#empty;
    this.#plan = new RangePlan();
    this.#empty = [];
    await this.#transfer.startEmpty(empty);
    for (const range of plan.ranges({ gapBytesMax: gapBytes, rangeBytesMax: rangeBytes, targetsMax: RANGE_TARGETS_MAX })) await this.#transfer.start(range);
    if (this.#open.size >= openFiles) await this.drain();
  }

  /** Waits for what is under way. Files whose planning goes on stay open. */
  async drain(): Promise<void> {
    await this.#transfer.drain();
  }

  /** Removes files that are half written, when nothing is under way any more. */
  abandon(): void {
    for (const task of this.#open) task.remove();
    this.#open.clear();
  }

  #isFull(): boolean {
    const { windowTargets, windowBytes, openFiles } = this.#on.context.limits;
    return this.#plan.targets + this.#empty.length >= windowTargets || this.#plan.bytes >= windowBytes || this.#open.size >= openFiles;
  }

  #addWhole(task: FileTask, piece: Piece | undefined): void {
    const { entry } = task;
    const length = piece?.content.originalLength ?? 0;
    // The size of a link's entry is not relied on: its target is the content, whatever that says.
    if (length !== entry.size && entry.type === "file") throw wrongLength(task, length > entry.size ? `more than ${entry.size}` : String(length));
    const target = new WholeTarget(task);
    if (piece === undefined) this.#empty.push(target);
    else this.#plan.want(piece.content, target);
  }

  async #addParts(task: FileTask, pieces: readonly Piece[] | AsyncIterable<Piece>): Promise<void> {
    const { context } = this.#on;
    let first: Piece | undefined;
    let end = 0;
    for await (const piece of pieces) {
      context.signal.throwIfAborted();
      if (piece.offset !== end) throw wrongLength(task, `a gap at ${end}, or less`);
      end += piece.content.originalLength;
      if (end > task.entry.size) throw wrongLength(task, `more than ${task.entry.size}`);
      if (first === undefined) {
        first = piece;
        continue;
      }
      if (!task.isOpen) {
        if (task.entry.type === "symlink") throw wrongLength(task, "more than one content, too many for a link");
        task.create(context.overwrite);
        this.#open.add(task);
        this.#addPart(task, first);
      }
      this.#addPart(task, piece);
      if (this.#isFull()) await this.flush();
      // A part that failed meanwhile: the others need not be fetched.
      if (task.failed) break;
      await context.pacer.pace();
    }
    if (!task.isOpen) {
      this.#addWhole(task, first);
      return;
    }
    if (end !== task.entry.size && !task.failed) throw wrongLength(task, String(end));
    this.#settlePart(task, undefined);
  }

  #addPart(task: FileTask, { offset, content }: Piece): void {
    task.findRoom(offset + content.originalLength, this.#on.context);
    task.pending++;
    this.#plan.want(content, new PartTarget(task, offset));
  }

  #done(target: RestoreTarget, content: ContentRef, error: unknown): void {
    const { task } = target;
    if (task === undefined) return;
    if (error === undefined && task.entry.type === "file") this.#on.context.meter.counts.bytesDone += content.originalLength;
    this.#settlePart(task, error);
  }

  /** One thing less is under way for a file. The first failure is the one that is told. */
  #settlePart(task: FileTask, error: unknown): void {
    const { context, onSettled, onFatal } = this.#on;
    try {
      task.pending--;
      if (error !== undefined && !task.failed) {
        task.failed = true;
        task.error = error;
      }
      if (task.pending > 0) return;
      if (!task.failed) {
        try {
          task.finish(context);
        } catch (late) {
          task.failed = true;
          task.error = late;
        }
      }
      if (task.failed) task.remove();
      this.#open.delete(task);
      if (!task.failed && task.entry.type === "file") context.meter.counts.filesDone++;
      onSettled(task, task.error);
    } catch (fatal) {
      onFatal(fatal);
    }
  }
}

function isArray(pieces: readonly Piece[] | AsyncIterable<Piece>): pieces is readonly Piece[] {
  return Array.isArray(pieces);
}

function wrongLength({ entry, where }: FileTask, length: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot restore "${textOfByteString(where)}": its object has ${length} bytes, ${entry.size} were wanted`, {
    context: { object: String(entry.ref) },
  });
}
