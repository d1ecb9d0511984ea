/**
 * One file or device that several threads cut: the object is the very one that reading it from front to back would give.
 *
 *   ranges   |— 1 ———————————|          each is cut by itself, from where it begins
 *                     |· 2 ——————————|  the first chunks of a range that begins anywhere are no chunks of the object: its cuts fall in step with the true ones soon
 *   object   | a | b | c | d | e | f |  chunks of 1, and from the first cut that both have on those of 2; where there is none, what is between is cut again
 *
 * In a run of zeros ranges are never in step: each cuts it into chunks of one length from where it came to it. But all of these chunks are one, so the object goes on with as many of its own.
 *
 *   range    | z | z | z | z | d |
 *   object     | z | z | z | z'  |       wherever it is in two of them, it is at a chunk of zeros
 *
 * With a parent of which only some parts have changed, its chunks are taken wherever the object is at one of its cuts and the chunk is not touched; ranges are around the changes:
 *
 *   parent   |  a  |   b   |    c    |  d  |
 *   changed               ▒▒
 *   object   |  a  |   b   | c' | c" |  d  |
 */
import type { Extent } from "@drayage/kernels";
import { ChunkList, type ContentId, directObjectId, type ObjectId } from "@drayage/repo";
import type { BlockMap } from "./changed-blocks.ts";
import type { RangeChunks } from "./lanes/jobs.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";

export interface StitchedObjectOptions {
  readonly fd: number;
  /** The bytes `[from, to)` of the file or device are the object. */
  readonly from: number;
  readonly to: number;
  /** Offset and length, in order: what reads as zeros. What lies behind the end of a device is a hole. */
  readonly holes: readonly Extent[];
  /** Bytes of the device, 0 for a file: it has no other way to tell. */
  readonly deviceBytes: number;
  readonly direct: boolean;
  readonly splitter: string;
  readonly maxChunkBytes: number;
  readonly compressor: string | undefined;
  /** @default the share of what is left for each range that is cut ahead, between 256 MiB and 1 GiB */
  readonly rangeBytes?: number;
  /** The object before, and what of it has changed; `from` is 0 then. */
  readonly parent?: { readonly chunks: ChunkList; readonly changed: BlockMap };
  /** Bytes that are done, and of these those that were read. */
  readonly onProgress: (bytes: number, read: number) => void;
}

/** A range that one thread cuts. */
interface Range {
  readonly from: number;
  readonly to: number;
  /** Chunks that begin in it are not told. */
  readonly lead: number;
  /** Where the first of its chunks begins: known when there is one. */
  start: number;
  readonly chunks: ChunkList;
  isDone: boolean;
  /** Where its data ended. */
  end: number;
}

/** A range has a lead, which is found twice: it is long enough for that to cost next to nothing, and no longer than progress may wait for. */
const RANGE_BYTES_MIN = 256 << 20;
const RANGE_BYTES_MAX = 1 << 30;
/** From so many bytes on an object is worth cutting with several threads. */
export const STITCHED_FROM_BYTES: number = 2 * RANGE_BYTES_MIN;
/** Chunks of the largest size after which cuts are in step, nearly always: a range of zeros may last longer. */
const LEAD_CHUNKS = 3;
/** What is cut again when they are not. */
const AGAIN_CHUNKS = 2;
/** Ranges that wait or are being cut, for each thread: what is left is divided among so many. */
const UNDER_WAY_PER_THREAD = 2;
/** Ranges that are there before the object has come to them, for each thread: a thread whose range is long, or slow to read, must not leave the others without work. */
const AHEAD_PER_THREAD = 4;

export class StitchedObject {
  readonly #lanes: UploadLanes;
  readonly #options: StitchedObjectOptions;
  readonly #object = new ChunkList();
  /** What is to be read, in order. */
  readonly #plan: Iterator<PlannedRange, undefined>;
  #planned: PlannedRange | undefined;
  readonly #ranges: Range[] = [];
  readonly #running = new Set<Promise<unknown>>();
  /** The parent's chunk that the object comes to next. */
  #parentIndex = 0;
  readonly #changes: Iterator<Extent, undefined>;
  #change: Extent | undefined;
  #wake: () => void = () => undefined;
  #failure: { readonly error: unknown } | undefined;
  /** The chunk that a run of zeros is cut into, once one was met. */
  #zeros: { readonly objectId: ObjectId; readonly length: number } | undefined;
  /** Where a file ended before its time. */
  #end: number;

  constructor(lanes: UploadLanes, options: StitchedObjectOptions) {
    this.#lanes = lanes;
    this.#options = options;
    this.#end = options.to;
    this.#changes = changesOf(options);
    this.#change = this.#changes.next().value;
    this.#plan = planOf({ ...options, shares: UNDER_WAY_PER_THREAD * this.#threads });
    this.#planned = this.#plan.next().value;
  }

  get #threads(): number {
    return Math.max(1, this.#lanes.threads);
  }

  /** The chunks so far, from the beginning. */
  get chunks(): ChunkList {
    return this.#object;
  }

  /** The chunks of the object, which is shorter where a file has shrunk. Throws what reading throws, with `code`; REPO_*, BLOB_*. */
  async run(): Promise<ChunkList> {
    try {
      for (let at = this.#options.from; at < this.#end; at = this.#options.from + this.#object.totalLength) {
        if (this.#takeOfParent(at)) continue;
        await this.#readAhead(at);
        if (!this.#takeOfRange(at) && !this.#takeZeros(at)) await this.#waitOrCutAgain(at);
      }
      return this.#object;
    } finally {
      await this.settled();
    }
  }

  /** Nobody may read on from a descriptor that is about to be closed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  /** The parent's chunk, where the object is at a cut of it and nothing of it has changed. */
  #takeOfParent(at: number): boolean {
    const { parent, to } = this.#options;
    if (parent === undefined) return false;
    const { chunks } = parent;
    while (this.#parentIndex < chunks.count && chunks.at(this.#parentIndex).offset < at) this.#parentIndex++;
    while (this.#change !== undefined && endOf(this.#change) <= at) this.#change = this.#changes.next().value;
    const chunk = this.#parentIndex < chunks.count ? chunks.at(this.#parentIndex) : undefined;
    if (chunk?.offset !== at || endOf(chunk) > Math.min(this.#change?.offset ?? to, to)) return false;
    this.#object.append(chunk.objectId, chunk.length);
    this.#options.onProgress(chunk.length, 0);
    return true;
  }

  /** The chunks of a range from where the object has come to, if there are any. */
  #takeOfRange(at: number): boolean {
    for (const { start, chunks } of this.#ranges) {
      if (chunks.count === 0 || at < start || at >= start + chunks.totalLength) continue;
      const index = chunks.indexAt(at - start);
      const chunk = chunks.at(index);
      if (start + chunk.offset !== at) continue;
      this.#object.append(chunk.objectId, chunk.length);
      this.#options.onProgress(chunk.length, chunk.length);
      return true;
    }
    return false;
  }

  /** A chunk of zeros, where a range has two of them from before here on: what they have between them is zeros, too. */
  #takeZeros(at: number): boolean {
    const zeros = this.#zeros;
    if (zeros === undefined) return false;
    for (const { start, chunks } of this.#ranges) {
      if (chunks.count === 0 || at < start) continue;
      const index = chunks.indexAt(at - start);
      if (index + 1 >= chunks.count || [index, index + 1].some((each) => chunks.at(each).objectId !== zeros.objectId)) continue;
      this.#object.append(zeros.objectId, zeros.length);
      this.#options.onProgress(zeros.length, zeros.length);
      return true;
    }
    return false;
  }

  /** Whether a range that is being cut may still have a chunk that begins there, or zeros that go on from there. */
  #mayComeTo({ from, lead, start, chunks, isDone }: Range, at: number): boolean {
    if (isDone || at < from + lead) return false;
    if (chunks.count === 0) return true;
    const last = chunks.at(chunks.count - 1);
    return start + (last.objectId === this.#zeros?.objectId ? last.offset : chunks.totalLength) <= at;
  }

  async #waitOrCutAgain(at: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    const covering = this.#ranges.filter((range) => range.from <= at && at < range.to);
    const ended = covering.find(({ isDone, end, to }) => isDone && end < to);
    if (ended !== undefined) {
      // The file is shorter by now: what was cut last is its end, or what is left of it is less than a chunk.
      this.#end = Math.max(ended.end, at);
      if (this.#end > at) await this.#cut({ from: at, lead: 0, to: this.#end }, true);
      return;
    }
    if (covering.some((range) => this.#mayComeTo(range, at))) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      return;
    }
    const { maxChunkBytes, to } = this.#options;
    const tried = Math.max(at, ...covering.filter(({ from }) => from === at).map((range) => range.to));
    await this.#cut({ from: at, lead: 0, to: Math.min(tried + AGAIN_CHUNKS * maxChunkBytes, to) });
  }

  async #readAhead(at: number): Promise<void> {
    const kept = this.#ranges.filter(({ to, isDone }) => to > at || !isDone);
    if (kept.length < this.#ranges.length) this.#ranges.splice(0, this.#ranges.length, ...kept);
    const hasRoom = (): boolean => this.#running.size < UNDER_WAY_PER_THREAD * this.#threads && this.#ranges.length < AHEAD_PER_THREAD * this.#threads;
    while (this.#planned !== undefined && hasRoom()) {
      const next = this.#planned;
      this.#planned = this.#plan.next().value;
      // What was cut again may have come to here already.
      if (next.to > at) await this.#cut(next);
    }
  }

  async #cut({ from, lead, to }: PlannedRange, isLast = to === this.#options.to): Promise<void> {
    await this.#lanes.room();
    const { fd, holes, deviceBytes, direct, splitter, compressor } = this.#options;
    const range: Range = { from, to, lead, start: from, chunks: new ChunkList(), isDone: false, end: to };
    const onChunks = (cut: RangeChunks): void => {
      if (range.chunks.count === 0) range.start = cut.offset;
      appendChunks(range.chunks, cut);
      this.#zeros ??= zerosOf(cut);
      this.#wake();
    };
    const job = { kind: "range", fd, from, to, lead, isOpen: !isLast, holes: within(holes, from, to), deviceBytes, direct, splitter, compressor } as const;
    this.#ranges.push(range);
    const done = this.#lanes
      .range(job, onChunks)
      .then(({ end }) => {
        range.end = end;
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        range.isDone = true;
        this.#running.delete(done);
        this.#wake();
      });
    this.#running.add(done);
  }
}

interface PlannedRange {
  readonly from: number;
  /** Chunks that begin before so many bytes of it are found, and not stored. */
  readonly lead: number;
  readonly to: number;
}

type PlanOptions = StitchedObjectOptions & { readonly shares: number };

function* planOf(options: PlanOptions): Generator<PlannedRange, undefined> {
  const { from, to, parent } = options;
  if (parent === undefined) {
    yield* partsOf(from, to, options);
    return;
  }
  const { chunks } = parent;
  let end = 0;
  const changes = changesOf(options);
  for (let change = changes.next().value; change !== undefined; ) {
    const first = chunks.indexAt(change.offset);
    const start = first < chunks.count ? chunks.at(first).offset : chunks.totalLength;
    let stop = syncAt(chunks, endOf(change), to);
    for (change = changes.next().value; change !== undefined && startOf(chunks, change.offset) <= stop; change = changes.next().value)
      stop = syncAt(chunks, endOf(change), to);
    if (stop > end) yield* partsOf(Math.max(start, end), stop, options);
    end = stop;
  }
}

/** A range as several threads can cut it: long parts, and shorter ones towards the end, so that no thread is left with a long one while the others have nothing to do. */
function* partsOf(from: number, to: number, { maxChunkBytes, splitter, to: objectEnd, rangeBytes, shares }: PlanOptions): Generator<PlannedRange> {
  // Cuts at fixed places are in step from the first on.
  const lead = splitter.startsWith("FIXED-") ? 0 : LEAD_CHUNKS * maxChunkBytes;
  let step = 0;
  for (let at = from; at < to; at += step) {
    const wanted = rangeBytes ?? Math.min(Math.max((to - at) / shares, RANGE_BYTES_MIN), RANGE_BYTES_MAX);
    step = Math.ceil(wanted / maxChunkBytes) * maxChunkBytes;
    const isLast = at + step >= to;
    yield { from: at, lead: at === from ? 0 : lead, to: isLast ? to : Math.min(at + step + lead + maxChunkBytes, objectEnd) };
  }
}

/** What has changed, with everything behind the end of the parent, whose last chunk ended only for want of more. */
function* changesOf({ parent, to }: StitchedObjectOptions): Generator<Extent, undefined> {
  if (parent === undefined) return;
  const { chunks, changed } = parent;
  const rest = chunks.totalLength === to ? to : Math.min(chunks.count === 0 ? 0 : chunks.at(chunks.count - 1).offset, to);
  for (const { offset, length } of changed.runs()) {
    if (offset >= rest) break;
    yield { offset, length: Math.min(length, rest - offset) };
  }
  if (rest < to) yield { offset: rest, length: to - rest };
}

/** The first cut of the parent at or behind an offset; the object's end where there is none. */
function syncAt(chunks: ChunkList, offset: number, objectEnd: number): number {
  const index = chunks.indexAt(offset);
  if (index >= chunks.count) return objectEnd;
  const chunk = chunks.at(index);
  const end = chunk.offset === offset ? offset : endOf(chunk);
  return end >= Math.min(chunks.totalLength, objectEnd) ? objectEnd : end;
}

function startOf(chunks: ChunkList, offset: number): number {
  const index = chunks.indexAt(offset);
  return index < chunks.count ? chunks.at(index).offset : chunks.totalLength;
}

function endOf({ offset, length }: Extent): number {
  return offset + length;
}

/** The chunk of zeros among those that a thread tells. */
function zerosOf({ hashes, lengths, zeroHash }: RangeChunks): { readonly objectId: ObjectId; readonly length: number } | undefined {
  if (zeroHash === undefined) return undefined;
  const told = new ChunkList();
  appendChunks(told, { hashes, lengths });
  const objectId = directObjectId(Buffer.from(zeroHash).toString("hex") as ContentId);
  for (const { objectId: each, length } of told) if (each === objectId) return { objectId, length };
  return undefined;
}

/** Adds chunks as a thread tells them. */
export function appendChunks(chunks: ChunkList, { hashes, lengths }: Pick<RangeChunks, "hashes" | "lengths">): void {
  const digestBytes = hashes.length / lengths.length;
  const text = Buffer.from(hashes.buffer, hashes.byteOffset, hashes.length);
  for (const [i, length] of lengths.entries()) chunks.append(directObjectId(text.toString("hex", i * digestBytes, (i + 1) * digestBytes) as ContentId), length);
}

/** The holes of a range, as offsets and lengths. */
export function within(holes: readonly Extent[], from: number, to: number): number[] {
  const inside: number[] = [];
  for (const { offset, length } of holes) {
    const start = Math.max(offset, from);
    const end = Math.min(offset + length, to);
    if (end > start) inside.push(start, end - start);
  }
  return inside;
}
