/**
 * What is in a directory beside directories, a stretch of names at a time: examined in one call, compared with the parents, and stored in jobs of many small files or by itself.
 */
import { asBuffer } from "@drayage/base";
import {
  ATTRIBUTES,
  COMPARED,
  COMPARED_SLOTS,
  COMPARED_STATE,
  type ComparedDirectory,
  type DirectoryNames,
  FILE_STATUS,
  FOUND,
  nameBytes,
  ROW,
  ROW_SLOTS,
  RUN,
  RUN_SLOTS,
} from "@drayage/kernels";
import { pathError } from "../path-errors.ts";
import type { DirectoryComparison, ScannedDirectory } from "./directory-comparison.ts";
import { FileBatch } from "./file-batch.ts";
import type { InOrder } from "./in-order.ts";
import { type FileExtension, LEFT_TO_WALK } from "./lanes/jobs.ts";
import { systemErrorOf } from "./lanes/transferred-error.ts";
import type { ParentLookup } from "./parent-lookup.ts";
import type { Known, SingleFiles } from "./single-files.ts";
import { BLOCK_BYTES, below, extensionOf, type FileStat, kindOf, RowFacts, xattrsOf } from "./source-entry.ts";
import { EncodedRun, StretchListing } from "./stretch-listing.ts";
import { compressorOf, type FileOptions } from "./upload-context.ts";
import type { Outcome, TreeUpload, Walk } from "./upload-tree.ts";

/** st_mode of stat(2). */
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
/** Of a parent's listing. One that is longer is left to code that decodes it. */
const USUAL_ENTRY_BYTES = 64 << 10;
/** What a file is taken to have before any was read. */
const FIRST_FILE_BYTES = 64 << 10;
const NO_TEXT = new Uint8Array(0);

/** What takes the place of an entry in the listing. */
type Slot =
  | { readonly kind: "outcome"; readonly outcome: Promise<Outcome> | Outcome }
  | { readonly kind: "text"; readonly run: EncodedRun }
  /** Files [from, to) of a batch. */
  | { readonly kind: "batch"; readonly batch: FileBatch; readonly from: number; to: number };

/** Positions within a stretch, or among the names of a directory. */
interface StretchRange {
  readonly from: number;
  readonly to: number;
}

/** A stretch that is being dealt with. */
interface Stretch {
  readonly walk: Walk;
  readonly range: StretchRange;
  /** What is found of it: of one stretch at a time, and what is kept of it is copied. */
  readonly memory: ComparedDirectory;
  readonly slots: Slot[];
  /** What is still being filled, by compressor. */
  readonly batches: Map<string | undefined, FileBatch>;
  /** How every file is stored, where none of them has a say. */
  readonly ofAll: FileOptions | undefined;
}

export class DirectoryFiles {
  readonly #tree: TreeUpload;
  readonly #comparison: DirectoryComparison;
  readonly #single: SingleFiles;
  /** A file that was read had attributes that nobody had asked for. */
  #hasMetAttributes = false;
  /** The same of further names. */
  #hasMetLinks = false;
  /** Of files that were read in jobs, for the size of those that nobody looked at. */
  readonly #read = { files: 0, bytes: 0 };
  /** Files that jobs left are opened one after the other. */
  #opening: Promise<unknown> = Promise.resolve();

  constructor(tree: TreeUpload, comparison: DirectoryComparison, single: SingleFiles) {
    this.#tree = tree;
    this.#comparison = comparison;
    this.#single = single;
  }

  /**
   * Examines the names [from, to) and starts what they need; the entries reach the listing through `order`.
   * @param scanned - what they were compared with just before, which is none of `walk.parents`
   */
  async stretch(walk: Walk, range: StretchRange, order: InOrder, scanned: ScannedDirectory | undefined): Promise<void> {
    const { context } = this.#tree;
    const count = range.to - range.from;
    const memory = scanned?.memory ?? this.#comparison.memory;
    const { rows, found } = memory;
    const stretch: Stretch = { walk, range, memory, slots: [], batches: new Map(), ofAll: walk.rules?.optionsOfAll };
    const attributes = scanned === undefined && this.#wantsAttributes(walk, range.from, rows);
    const isUnseen = scanned === undefined && !attributes && this.#canGoUnseen(stretch);
    if (isUnseen) await this.#sendUnseen(stretch);
    else if (scanned === undefined) context.files.statEntries(walk.directory.fd, walk.names, range, attributes, rows);
    for (let i = isUnseen ? count : 0; i < count; ) {
      const text = scanned?.text ?? (await this.#compare(walk, range, i));
      const done = text === undefined ? 0 : (found[FOUND.done] ?? 0);
      if (text !== undefined) await this.#takePart(stretch, i, text, scanned === undefined ? walk.parents.slice(1) : walk.parents);
      i += done;
      if (done > 0 || i === count) continue;
      // Left to code that decodes: the rest where there is nothing to compare with, else one entry.
      const to = text === undefined ? count : i + 1;
      for (; i < to; i++) await this.#entry(stretch, i, { text: undefined, ask: walk.parents });
    }
    for (const batch of stretch.batches.values()) await this.#send(walk, batch);
    await this.#tree.rest(count / 16);
    order.push(this.#complete(walk, stretch.slots), (listing) =>
      listing.writeTo(walk.underWay.listing, (outcome) => this.#tree.take(walk, outcome), context.signal),
    );
  }

  /**
   * Compares what is left of a stretch from its i-th entry on with the first parent, as far as can be; `found` then says how far, and the text is that of the parent.
   * Undefined where there is nothing to compare with.
   */
  async #compare(walk: Walk, range: StretchRange, i: number): Promise<Uint8Array | undefined> {
    const { files } = this.#tree.context;
    const { memory, keyBytes } = this.#comparison;
    const [parent] = walk.parents;
    if (parent === undefined || keyBytes === undefined || walk.rules?.isTooLarge(Number.POSITIVE_INFINITY) === true) return undefined;
    const left = { from: range.from + i, to: range.to };
    const into = i === 0 ? memory : { ...memory, rows: memory.rows.subarray(i * ROW_SLOTS) };
    for (;;) {
      const text = await parent.text();
      if (text === undefined) return parent.isAsText ? this.#nothingLeft(left) : undefined;
      files.compareEntries(walk.names, left, text, keyBytes, into);
      const { [FOUND.done]: done = 0, [FOUND.at]: at = 0, [FOUND.ended]: ended } = memory.found;
      parent.moveTo(at, ended === 1);
      if (done > 0 || text.bytes.length - at >= USUAL_ENTRY_BYTES || !(await parent.more())) return text.bytes;
    }
  }

  /** Says of entries that the parent has none of them. */
  #nothingLeft({ from, to }: StretchRange): Uint8Array {
    const { entries, found } = this.#comparison.memory;
    entries.fill(0, 0, (to - from) * COMPARED_SLOTS);
    found[FOUND.done] = to - from;
    found[FOUND.same] = 0;
    found[FOUND.runs] = 0;
    return NO_TEXT;
  }

  /**
   * Deals with the entries of a stretch that were compared, of which the i-th was the first.
   * @param others - parents besides the one that they were compared with
   */
  async #takePart(stretch: Stretch, i: number, text: Uint8Array, others: readonly ParentLookup[]): Promise<void> {
    const { memory } = stretch;
    const { found, runs, entries } = memory;
    const { [FOUND.done]: done = 0, [FOUND.same]: same = 0, [FOUND.runs]: runCount = 0 } = found;
    const areStored = this.#comparison.stored(memory, same) === same;
    let run = 0;
    let sameBefore = 0;
    for (let j = 0; j < done; ) {
      const at = run * RUN_SLOTS;
      if (areStored && run < runCount && runs[at + RUN.from] === j) {
        const {
          [RUN.to]: to = 0,
          [RUN.start]: start,
          [RUN.end]: end,
          [RUN.bytes]: bytes = 0,
          [RUN.seconds]: seconds = 0,
          [RUN.nanoseconds]: nanoseconds = 0,
        } = runs.subarray(at);
        // A copy: the parent's memory is not kept for it.
        this.#runOf(stretch.slots).appendJoined(text.slice(start, end), { files: to - j, bytes, seconds, nanoseconds });
        this.#single.countCached(bytes, to - j);
        run++;
        j = to;
        continue;
      }
      const { [COMPARED.state]: state, [COMPARED.start]: start = 0, [COMPARED.end]: end = 0 } = entries.subarray(j * COMPARED_SLOTS);
      if (state === COMPARED_STATE.same && this.#comparison.isStored(memory, sameBefore++)) this.#takeOver(stretch, i + j, text.subarray(start, end));
      else await this.#entry(stretch, i + j, { text: state === COMPARED_STATE.absent ? undefined : text.subarray(start, end), ask: others });
      j++;
    }
  }

  /** Takes over the entry of a file that is as it says. */
  #takeOver({ slots, memory }: Stretch, i: number, text: Uint8Array): void {
    const row = memory.rows.subarray(i * ROW_SLOTS);
    const { [ROW.size]: size = 0, [ROW.seconds]: seconds = 0, [ROW.nanoseconds]: nanoseconds = 0 } = row;
    this.#runOf(slots).append(text, 0, text.length, size, seconds, nanoseconds);
    this.#single.countCached(size);
  }

  /** Deals with one entry of a stretch that was not taken over as text. */
  async #entry(stretch: Stretch, i: number, known: Known): Promise<void> {
    const { context } = this.#tree;
    const { walk, range, slots, batches, ofAll } = stretch;
    const { rows } = stretch.memory;
    const at = i * ROW_SLOTS;
    const index = range.from + i;
    if (rows[at + ROW.status] === 0 && isRegular(rows[at + ROW.mode] ?? 0)) {
      if (walk.rules?.isTooLarge(rows[at + ROW.size] ?? 0) === true) {
        context.counts.excludedFiles++;
        return;
      }
      const options = ofAll ?? walk.rules?.fileOptions(nameOf(walk.names, index), rows[at + ROW.size] ?? 0);
      if (this.#isForBatch(rows, at) && (options?.splitter === undefined || options.splitter === context.splitter)) {
        const entry = isUnknown(known) ? undefined : await this.#single.unchanged(walk, nameOf(walk.names, index), new RowFacts(rows, i).stat, known);
        if (entry !== undefined) {
          slots.push({ kind: "outcome", outcome: { entry } });
          return;
        }
        const compressor = compressorOf(context, options);
        const batch = batches.get(compressor) ?? new FileBatch(compressor);
        this.#addToBatch(walk, index, rows, at, batch, slots);
        if (batch.isFull) {
          batches.delete(compressor);
          await this.#send(walk, batch);
        } else batches.set(compressor, batch);
        return;
      }
    }
    slots.push(await this.#alone(walk, index, rows, i, known));
    await this.#tree.rest();
  }

  /**
   * Whether the attributes of a stretch have to be known before its files are read. Parents are compared with them. Otherwise each file tells when it is read; where files have
   * some, which is to be seen of the first or was seen before, asking first saves reading them one by one.
   */
  #wantsAttributes(walk: Walk, first: number, rows: Float64Array): boolean {
    const { xattrs, lanes, files } = this.#tree.context;
    // Where no lanes are, attributes are read as each file is.
    if (!xattrs || lanes === undefined) return false;
    if (walk.parents.length > 0 || this.#hasMetAttributes) return true;
    files.statEntries(walk.directory.fd, walk.names, { from: first, to: first + 1 }, true, rows);
    return rows[ROW.status] !== 0 || rows[ROW.attributes] !== ATTRIBUTES.none;
  }

  /**
   * Whether files can go into jobs without a look at each before: where all of them are read whatever it would show, and stored in one way. The job leaves to the walk what is not for
   * it; where files have several names, of which only one is to be read, looking first saves reading the others.
   */
  #canGoUnseen({ walk, ofAll }: Stretch): boolean {
    const { lanes, splitter } = this.#tree.context;
    if (lanes === undefined || this.#hasMetLinks || walk.parents.length > 0 || walk.names.areFiles !== true) return false;
    if (walk.rules === undefined) return true;
    return ofAll !== undefined && (ofAll.splitter === undefined || ofAll.splitter === splitter) && !walk.rules.isTooLarge(Number.POSITIVE_INFINITY);
  }

  async #sendUnseen({ walk, range, slots, ofAll }: Stretch): Promise<void> {
    const { files, bytes } = this.#read;
    const expected = files === 0 ? FIRST_FILE_BYTES : bytes / files;
    for (let next = range.from; next < range.to; ) {
      const batch = new FileBatch(compressorOf(this.#tree.context, ofAll));
      for (; next < range.to && !batch.isFull; next++) batch.add(next, expected);
      slots.push({ kind: "batch", batch, from: 0, to: batch.indexes.length });
      await this.#send(walk, batch);
    }
  }

  /** The run of text at the end of what there is. */
  #runOf(slots: Slot[]): EncodedRun {
    const last = slots.at(-1);
    if (last?.kind === "text") return last.run;
    const run = new EncodedRun();
    slots.push({ kind: "text", run });
    return run;
  }

  /** Whether a file goes into a job with others: it is one content, and nothing about it needs it open before. */
  #isForBatch(rows: Float64Array, at: number): boolean {
    const { context } = this.#tree;
    const size = rows[at + ROW.size] ?? 0;
    return (
      context.lanes !== undefined &&
      size < context.smallFileBytes &&
      (rows[at + ROW.links] ?? 1) < 2 &&
      rows[at + ROW.attributes] !== ATTRIBUTES.unknown &&
      (rows[at + ROW.blocks] ?? 0) * BLOCK_BYTES >= size
    );
  }

  #addToBatch(walk: Walk, index: number, rows: Float64Array, at: number, batch: FileBatch, slots: Slot[]): void {
    const extension = rows[at + ROW.attributes] === ATTRIBUTES.some ? this.#extensionOf(walk, nameOf(walk.names, index)) : undefined;
    batch.add(index, rows[at + ROW.size] ?? 0, extension);
    const last = slots.at(-1);
    const count = batch.indexes.length;
    if (last?.kind === "batch" && last.batch === batch) last.to = count;
    else slots.push({ kind: "batch", batch, from: count - 1, to: count });
  }

  #extensionOf(walk: Walk, name: string): FileExtension | undefined {
    const xattrs = xattrsOf(this.#tree.context, walk.directory.child(name), below(walk.path, name));
    const { extension } = extensionOf({ linkGroup: undefined, holes: [], xattrs });
    return extension === undefined ? undefined : { extension };
  }

  async #send(walk: Walk, batch: FileBatch): Promise<void> {
    const { lanes, xattrs, smallFileBytes } = this.#tree.context;
    if (lanes === undefined) return;
    await lanes.room();
    batch.result = lanes.files(batch.job(walk.directory.fd, walk.names, { attributes: xattrs, bytesMax: smallFileBytes }));
  }

  /** Waits for what a stretch needs, and puts it together in its order. */
  async #complete(walk: Walk, slots: readonly Slot[]): Promise<StretchListing> {
    const listing = new StretchListing();
    for (const slot of slots) {
      if (slot.kind === "text") listing.addRun(slot.run);
      else if (slot.kind === "outcome") listing.addOutcome(await slot.outcome);
      else await this.#completeBatch(walk, slot, listing);
    }
    return listing;
  }

  async #completeBatch(walk: Walk, { batch, from, to }: Extract<Slot, { kind: "batch" }>, listing: StretchListing): Promise<void> {
    if (batch.result === undefined) return;
    const { rows, text, ends, total, isPlain } = await batch.result;
    this.#read.files += total.files;
    this.#read.bytes += total.bytes;
    if (isPlain && from === 0 && to === batch.indexes.length) {
      listing.run.appendJoined(text, total);
      this.#single.countRead(total.files, total.bytes);
      return;
    }
    const left = new Map<number, Promise<Outcome>>();
    for (let i = from; i < to; i++) if (rows[i * ROW_SLOTS + ROW.status] !== 0) left.set(i, this.#notStored(walk, batch.indexes[i] ?? 0, rows, i));
    // Whatever becomes of one: nobody may go on reading in a directory that is given up.
    await Promise.allSettled(left.values());
    for (let i = from; i < to; i++) {
      const at = i * ROW_SLOTS;
      if (left.has(i)) {
        listing.addOutcome(await left.get(i));
        continue;
      }
      const size = rows[at + ROW.size] ?? 0;
      const start = i === 0 ? 0 : (ends[i - 1] ?? 0);
      listing.run.append(text, start === 0 ? 0 : start + 1, ends[i] ?? 0, size, rows[at + ROW.seconds] ?? 0, rows[at + ROW.nanoseconds] ?? 0);
      this.#single.countRead(1, size);
      if (rows[at + ROW.grew] !== 0) this.#tree.context.warnings.add(below(walk.path, nameOf(walk.names, batch.indexes[i] ?? 0)), "changed while it was read");
    }
  }

  /** A file that a job left: it failed, or it is of another kind by now and is looked at by itself. */
  async #notStored(walk: Walk, index: number, rows: Float64Array, i: number): Promise<Outcome> {
    const name = nameOf(walk.names, index);
    const path = below(walk.path, name);
    const status = rows[i * ROW_SLOTS + ROW.status] ?? 0;
    if (status === FILE_STATUS.tooLarge || status === FILE_STATUS.hasHoles || status === LEFT_TO_WALK) {
      this.#hasMetAttributes ||= status === LEFT_TO_WALK && rows[i * ROW_SLOTS + ROW.attributes] !== ATTRIBUTES.none;
      this.#hasMetLinks ||= (rows[i * ROW_SLOTS + ROW.links] ?? 1) > 1;
      return await this.#tree.guard(path, () => this.#readLeft(walk, name, path, new RowFacts(rows, i).stat));
    }
    if (status === FILE_STATUS.notRegular) {
      this.#tree.context.warnings.add(path, "was replaced by something else while the directory was read");
      return undefined;
    }
    return this.#tree.outcomeOf(path, pathError("read", walk.directory.pathOf(name), systemErrorOf(status)));
  }

  /** Reads a file that a job left, unless it was read under another name. Each waits for room before it is opened, and for those before it. */
  async #readLeft(walk: Walk, name: string, path: string, stat: FileStat): Promise<Outcome> {
    const opened = this.#opening.then(async () => {
      const entry = await this.#single.otherName(walk, name, stat);
      return entry === undefined ? await this.#single.open(walk, name, path) : { outcome: { entry } };
    });
    this.#opening = opened.catch(() => undefined);
    return await (await opened).outcome;
  }

  /** An entry that is dealt with by itself. */
  async #alone(walk: Walk, index: number, rows: Float64Array, i: number, known: Known): Promise<Slot> {
    const name = nameOf(walk.names, index);
    const path = below(walk.path, name);
    let later: Promise<Outcome> | undefined;
    const outcome = await this.#tree.guard(path, async (): Promise<Outcome> => {
      this.#tree.checkRow(walk, rows, i * ROW_SLOTS, name);
      const { stat } = new RowFacts(rows, i);
      const kind = kindOf(Number(stat.mode));
      if (kind === "symlink") return { entry: await this.#tree.symlink(walk, name, path, stat) };
      if (kind === "directory") this.#tree.context.warnings.add(path, "was replaced by a directory while the directory was read");
      else if (kind !== "file") this.#tree.special(walk, name, path, stat, kind);
      else {
        const entry = (await this.#single.unchanged(walk, name, stat, known)) ?? (await this.#single.otherName(walk, name, stat));
        if (entry !== undefined) return { entry };
        later = (await this.#single.open(walk, name, path)).outcome;
      }
      return undefined;
    });
    if (later === undefined) return { kind: "outcome", outcome };
    const settled = this.#tree.guard(path, () => later);
    // Awaited in its turn, or by nobody when the walk ends before.
    settled.catch(() => undefined);
    return { kind: "outcome", outcome: settled };
  }
}

function isUnknown({ text, ask }: Known): boolean {
  return text === undefined && ask.length === 0;
}

function isRegular(mode: number): boolean {
  return (mode & S_IFMT) === S_IFREG;
}

function nameOf(names: DirectoryNames, index: number): string {
  return asBuffer(nameBytes(names, index)).toString("latin1");
}
