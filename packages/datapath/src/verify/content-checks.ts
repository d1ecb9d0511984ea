/** Contents that are to be read and hashed: gathered in windows, fetched in the order of the packs, checked by threads. What is wrong is told to whatever needs the content. */
import type { ObjectId } from "@drayage/repo";
import type { ProgressMeter } from "../progress.ts";
import type { KopiaSource } from "../restore/kopia-source.ts";
import { type JobTarget, PlannedTransfer } from "../restore/planned-transfer.ts";
import { RangePlan } from "../restore/range-plan.ts";
import type { RestoreLimits } from "../restore/restore-context.ts";
import type { ContentRef, Piece } from "../restore/restore-source.ts";
import { CHECK, TARGET } from "../restore/write-job.ts";
import type { WritePool } from "../restore/write-pool.ts";
import { KnownIds } from "./known-ids.ts";

/** Contents that were found good: at most 48 MiB of them. */
const REMEMBERED_MAX = 3 << 19;
const RANGE_TARGETS_MAX = 2048;

export interface CheckNodeOptions {
  readonly parent: CheckNode | undefined;
  /** Everything in it and below it is good. */
  readonly onGood: (() => void) | undefined;
  /** Everything in it and below it is looked at, whatever came of it. */
  readonly onEnd?: () => void;
  /** The first thing that is wrong with it itself. */
  readonly onBad: (error: unknown) => void;
}

/** A file or a directory: good when everything in it and below it is. */
export class CheckNode {
  readonly #on: CheckNodeOptions;
  #pending = 1;
  #told = false;
  #isBad = false;

  constructor(options: CheckNodeOptions) {
    this.#on = options;
    options.parent?.hold();
  }

  hold(): void {
    this.#pending++;
  }

  fail(error: unknown): void {
    if (!this.#told) this.#on.onBad(error);
    this.#told = true;
    this.#isBad = true;
  }

  /** One thing less is to be checked in it. */
  release(): void {
    this.#pending--;
    if (this.#pending > 0) return;
    const { parent, onGood, onEnd } = this.#on;
    onEnd?.();
    if (this.#isBad) parent?.spoil();
    else onGood?.();
    parent?.release();
  }

  /** Something below it is bad, which was told where it is. */
  spoil(): void {
    this.#isBad = true;
  }
}

class CheckTarget implements JobTarget {
  readonly node: CheckNode;

  constructor(node: CheckNode) {
    this.node = node;
  }

  encode(numbers: Float64Array, row: number): string {
    numbers[row + TARGET.kind] = CHECK;
    return "";
  }

  extrasOf(): undefined {
    return undefined;
  }
}

export interface ContentChecksOptions {
  readonly source: KopiaSource;
  readonly pool: WritePool;
  readonly signal: AbortSignal;
  readonly stop: AbortController;
  readonly limits: RestoreLimits;
  readonly meter: ProgressMeter;
}

export class ContentChecks {
  readonly #on: ContentChecksOptions;
  readonly #transfer: PlannedTransfer<CheckTarget>;
  readonly #good = new KnownIds(REMEMBERED_MAX);
  #plan = new RangePlan<CheckTarget>();
  #fatal: { readonly error: unknown } | undefined;
  #contents = 0;
  #bytes = 0;

  constructor(options: ContentChecksOptions) {
    this.#on = options;
    const { source, pool, signal, limits } = options;
    this.#transfer = new PlannedTransfer<CheckTarget>({
      ...{ source, pool, signal, check: true, limits },
      onDone: ({ node }, { id }, error) => {
        if (error !== undefined) node.fail(error);
        else this.#good.add(id);
        node.release();
      },
      onWarning: () => undefined,
      onContent: ({ originalLength }) => {
        this.#contents++;
        this.#bytes += originalLength;
        options.meter.counts.bytesHashed += originalLength;
      },
      onFatal: (error) => {
        this.#fatal ??= { error };
        options.stop.abort(error);
      },
    });
  }

  /** Contents that were read and are good. */
  get contents(): number {
    return this.#contents;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Damaged parts that error correction put right in what was read here. */
  get repairedShards(): number {
    return this.#transfer.statistics.repairedShards;
  }

  node(options: CheckNodeOptions): CheckNode {
    return new CheckNode(options);
  }

  /** The contents of an object, in order. */
  pieces(objectId: ObjectId, signal?: AbortSignal): readonly Piece[] | AsyncIterable<Piece> {
    return this.#on.source.piecesOf(objectId, signal);
  }

  /** Has a content read, unless it is known to be good; the node waits for it. */
  async want(content: ContentRef, node: CheckNode): Promise<void> {
    if (this.#good.has(content.id)) return;
    node.hold();
    this.#plan.want(content, new CheckTarget(node));
    const { windowTargets, windowBytes } = this.#on.limits;
    if (this.#plan.targets >= windowTargets || this.#plan.bytes >= windowBytes) await this.#flush();
  }

  /** Waits until everything is checked. Throws what ended it. */
  async finish(): Promise<void> {
    await this.#flush();
    await this.drain();
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }

  /** Waits for what is under way. */
  async drain(): Promise<void> {
    await this.#transfer.drain();
  }

  async #flush(): Promise<void> {
    const { gapBytes, rangeBytes } = this.#on.limits;
    const ranges = this.#plan.ranges({ gapBytesMax: gapBytes, rangeBytesMax: rangeBytes, targetsMax: RANGE_TARGETS_MAX });
    this.#plan = new RangePlan();
    for (const range of ranges) await this.#transfer.start(range);
    if (this.#fatal !== undefined) throw this.#fatal.error;
  }
}
