/**
 * What is in a directory beside directories, a stretch of names at a time: examined in one call, compared with the parents, and stored in jobs of many small files or by itself.
 */
import { closeSync } from "node:fs";
import { asBuffer, hasCode } from "@drayage/base";
import {
  ATTRIBUTES,
  COMPARED,
  COMPARED_SLOTS,
  COMPARED_STATE,
  type DirectoryNames,
  FILE_STATUS,
  FOUND,
  nameBytes,
  ROW,
  ROW_SLOTS,
  RUN,
  RUN_SLOTS,
} from "@drayage/kernels";
import { type DirectoryEntry, decodeRawEntry, type ObjectId, parseObjectId } from "@drayage/repo";
import { pathError } from "../path-errors.ts";
import type { DirectoryComparison } from "./directory-comparison.ts";
import { FileBatch } from "./file-batch.ts";
import type { InOrder } from "./in-order.ts";
import { type FileExtension, LEFT_TO_WALK } from "./lanes/jobs.ts";
import { systemErrorOf } from "./lanes/transferred-error.ts";
import type { ParentLookup } from "./parent-lookup.ts";
import { below, extensionOf, type FileStat, factsOf, isUnchanged, kindOf, RowFacts, xattrsOf } from "./source-entry.ts";
import { type Register, storeOpenFile } from "./store-file.ts";
import { EncodedRun, StretchListing } from "./stretch-listing.ts";
import { compressorOf, type FileOptions } from "./upload-context.ts";
import { type OpenFile, openRegularFile } from "./upload-file.ts";
import type { Outcome, TreeUpload, Walk } from "./upload-tree.ts";

const BLOCK_BYTES = 512;
/** st_mode of stat(2). */
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
/** Of a parent's listing. One that is longer is left to code that decodes it. */
const USUAL_ENTRY_BYTES = 64 << 10;
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
  readonly slots: Slot[];
  /** What is still being filled, by compressor. */
  readonly batches: Map<string | undefined, FileBatch>;
  /** How every file is stored, where none of them has a say. */
  readonly ofAll: FileOptions | undefined;
}

/** What is known of an entry by its parents: the text of the entry that one of them has, and whom to ask by its name. */
interface Known {
  readonly text: Uint8Array | undefined;
  readonly ask: readonly ParentLookup[];
}

export class DirectoryFiles {
  readonly #tree: TreeUpload;
  readonly #comparison: DirectoryComparison;
  #key: Buffer = Buffer.alloc(0);
  /** A file that was read had attributes that nobody had asked for. */
  #hasMetAttributes = false;

  constructor(tree: TreeUpload, comparison: DirectoryComparison) {
    this.#tree = tree;
    this.#comparison = comparison;
  }

  /**
   * Examines the names [from, to) and starts what they need; the entries reach the listing through `order`.
   * @param scanned - the listing of a parent with which all of them were compared just before; it is none of `walk.parents`
   */
  async stretch(walk: Walk, range: StretchRange, order: InOrder, scanned: Uint8Array | undefined): Promise<void> {
    const { context } = this.#tree;
    const count = range.to - range.from;
    // One stretch is looked at at a time, and what is kept of it is copied.
    const { rows, found } = this.#comparison.memory;
    const stretch: Stretch = { walk, range, slots: [], batches: new Map(), ofAll: walk.rules?.optionsOfAll };
    if (scanned === undefined) context.files.statEntries(walk.directory.fd, walk.names, range, this.#wantsAttributes(walk, range.from, rows), rows);
    for (let i = 0; i < count; ) {
      const text = scanned ?? (await this.#compare(walk, range, i));
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
    const { found, runs, entries } = this.#comparison.memory;
    const { [FOUND.done]: done = 0, [FOUND.same]: same = 0, [FOUND.runs]: runCount = 0 } = found;
    const areStored = this.#comparison.stored(same) === same;
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
        this.countCached(bytes, to - j);
        run++;
        j = to;
        continue;
      }
      const { [COMPARED.state]: state, [COMPARED.start]: start = 0, [COMPARED.end]: end = 0 } = entries.subarray(j * COMPARED_SLOTS);
      if (state === COMPARED_STATE.same && this.#comparison.isStored(sameBefore++)) this.#takeOver(stretch, i + j, text.subarray(start, end));
      else await this.#entry(stretch, i + j, { text: state === COMPARED_STATE.absent ? undefined : text.subarray(start, end), ask: others });
      j++;
    }
  }

  /** Takes over the entry of a file that is as it says. */
  #takeOver({ slots }: Stretch, i: number, text: Uint8Array): void {
    const row = this.#comparison.memory.rows.subarray(i * ROW_SLOTS);
    const { [ROW.size]: size = 0, [ROW.seconds]: seconds = 0, [ROW.nanoseconds]: nanoseconds = 0 } = row;
    this.#runOf(slots).append(text, 0, text.length, size, seconds, nanoseconds);
    this.countCached(size);
  }

  /** Deals with one entry of a stretch that was not taken over as text. */
  async #entry(stretch: Stretch, i: number, known: Known): Promise<void> {
    const { context } = this.#tree;
    const { walk, range, slots, batches, ofAll } = stretch;
    const { rows } = this.#comparison.memory;
    const at = i * ROW_SLOTS;
    const index = range.from + i;
    if (rows[at + ROW.status] === 0 && isRegular(rows[at + ROW.mode] ?? 0)) {
      if (walk.rules?.isTooLarge(rows[at + ROW.size] ?? 0) === true) {
        context.counts.excludedFiles++;
        return;
      }
      const options = ofAll ?? walk.rules?.fileOptions(nameOf(walk.names, index), rows[at + ROW.size] ?? 0);
      if (this.#isForBatch(rows, at) && (options?.splitter === undefined || options.splitter === context.splitter)) {
        const entry = isUnknown(known) ? undefined : await this.#unchanged(walk, nameOf(walk.names, index), new RowFacts(rows, i).stat, known);
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
    slots.push(await this.#single(walk, index, rows, i, known));
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
    const { lanes, xattrs } = this.#tree.context;
    if (lanes === undefined) return;
    await lanes.room();
    batch.result = lanes.files(batch.job(walk.directory.fd, walk.names, xattrs));
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
    if (isPlain && from === 0 && to === batch.indexes.length) {
      listing.run.appendJoined(text, total);
      this.#countRead(total.files, total.bytes);
      return;
    }
    for (let i = from; i < to; i++) {
      const at = i * ROW_SLOTS;
      const status = rows[at + ROW.status] ?? 0;
      if (status !== 0) {
        if (rows[at + ROW.attributes] !== ATTRIBUTES.none && status === LEFT_TO_WALK) this.#hasMetAttributes = true;
        listing.addOutcome(await this.#notStored(walk, batch.indexes[i] ?? 0, status));
        continue;
      }
      const size = rows[at + ROW.size] ?? 0;
      const start = i === 0 ? 0 : (ends[i - 1] ?? 0);
      listing.run.append(text, start === 0 ? 0 : start + 1, ends[i] ?? 0, size, rows[at + ROW.seconds] ?? 0, rows[at + ROW.nanoseconds] ?? 0);
      this.#countRead(1, size);
      if (rows[at + ROW.grew] !== 0) this.#tree.context.warnings.add(below(walk.path, nameOf(walk.names, batch.indexes[i] ?? 0)), "changed while it was read");
    }
  }

  /** A file that a job left: it failed, or it is of another kind by now and is looked at by itself. */
  async #notStored(walk: Walk, index: number, status: number): Promise<Outcome> {
    const name = nameOf(walk.names, index);
    const path = below(walk.path, name);
    if (status === FILE_STATUS.tooLarge || status === FILE_STATUS.hasHoles || status === LEFT_TO_WALK) {
      const outcome = await this.#tree.guard(path, () => this.#read(walk, name, path).then((read) => read.outcome));
      return outcome;
    }
    if (status === FILE_STATUS.notRegular) {
      this.#tree.context.warnings.add(path, "was replaced by something else while the directory was read");
      return undefined;
    }
    return this.#tree.outcomeOf(path, pathError("read", walk.directory.pathOf(name), systemErrorOf(status)));
  }

  /** An entry that is dealt with by itself. */
  async #single(walk: Walk, index: number, rows: Float64Array, i: number, known: Known): Promise<Slot> {
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
        const entry = (await this.#unchanged(walk, name, stat, known)) ?? (await this.#otherName(walk, name, path, stat));
        if (entry !== undefined) return { entry };
        later = (await this.#read(walk, name, path)).outcome;
      }
      return undefined;
    });
    if (later === undefined) return { kind: "outcome", outcome };
    const settled = this.#tree.guard(path, () => later);
    // Awaited in its turn, or by nobody when the walk ends before.
    settled.catch(() => undefined);
    return { kind: "outcome", outcome: settled };
  }

  /** The entry of a file that a parent has as it is. */
  async #unchanged(walk: Walk, name: string, stat: FileStat, { text, ask }: Known): Promise<DirectoryEntry | undefined> {
    const isIt = (found: DirectoryEntry | undefined): found is DirectoryEntry =>
      found !== undefined && isUnchanged(stat, "file", found) && this.#isStored(found.objectId);
    const compared = text === undefined ? undefined : entryOf(text);
    if (isIt(compared)) return this.#cached(walk, name, stat, compared.objectId);
    for (const parent of ask) {
      const found = await parent.find({ name, type: "file" });
      if (isIt(found)) return this.#cached(walk, name, stat, found.objectId);
    }
    return undefined;
  }

  /** The entry of a further name of a file that was read under another one. */
  async #otherName(walk: Walk, name: string, _path: string, stat: FileStat): Promise<DirectoryEntry | undefined> {
    const group = this.#tree.linkGroupOf(stat);
    const shared = group === undefined ? undefined : await this.#tree.metAgain(group);
    return shared !== undefined && shared.size === Number(stat.size) ? this.#cached(walk, name, stat, shared.objectId) : undefined;
  }

  /** Opens a file and starts to store it. The outcome comes when it is stored; the walk need not wait for it. */
  async #read(walk: Walk, name: string, path: string): Promise<{ readonly outcome: Promise<Outcome> }> {
    const { context } = this.#tree;
    await context.lanes?.room();
    const file = openRegularFile(context, walk.directory, name);
    if (file === undefined) {
      context.warnings.add(path, "was replaced by something else while the directory was read");
      return { outcome: Promise.resolve(undefined) };
    }
    // By what was opened: another file may have taken the name since it was looked at, and a restore would give it the bytes of the group.
    const group = this.#tree.linkGroupOf(file.stat);
    const xattrs = xattrsOf(context, walk.directory.child(name), path);
    const extension = extensionOf({ linkGroup: group, holes: file.holes, xattrs });
    const facts = { name, type: "file" as const, ...factsOf(file.stat) };
    const entry = { ...facts, size: Number(file.stat.size), ...extension };
    const where = walk.directory.pathOf(name);
    const register: Register = (partial) => {
      const underWay = { entry, partial };
      walk.underWay.files.add(underWay);
      return () => void walk.underWay.files.delete(underWay);
    };
    const options = walk.rules?.fileOptions(name, Number(file.stat.size));
    const data = storeOpenFile(context, file, { path, where }, register, options);
    if (group !== undefined) this.#tree.remember(group, Number(file.stat.nlink) - 1, data);
    const outcome = data.then(({ objectId, size }): Outcome => {
      this.#countRead(1, size, 0);
      // Holes lie within the size that was stored.
      const isWhole = size === Number(file.stat.size);
      return { entry: { ...facts, size, objectId, ...(isWhole ? extension : extensionOf({ linkGroup: group, holes: [], xattrs })) } };
    });
    outcome.catch(() => undefined);
    // Without lanes one file is read at a time.
    if (context.lanes === undefined) await outcome.catch(() => undefined);
    return { outcome };
  }

  /** An entry whose data is in the repository already. */
  #cached(walk: Walk, name: string, stat: FileStat, objectId: ObjectId): DirectoryEntry {
    const { context } = this.#tree;
    const size = Number(stat.size);
    this.countCached(size);
    const xattrs = xattrsOf(context, walk.directory.child(name), below(walk.path, name));
    const holes = stat.blocks * BigInt(BLOCK_BYTES) < stat.size ? this.#holes(walk, name) : [];
    return { name, type: "file", size, ...factsOf(stat), objectId, ...extensionOf({ linkGroup: this.#tree.linkGroupOf(stat), holes, xattrs }) };
  }

  /** The holes of a file that is not read otherwise: parents are not asked, since Kopia's know none. */
  #holes(walk: Walk, name: string): OpenFile["holes"] {
    const file = openRegularFile(this.#tree.context, walk.directory, name);
    if (file === undefined) return [];
    closeSync(file.fd);
    return file.holes;
  }

  /** Whether the content that an object begins with is in the repository still. */
  #isStored(objectId: string): boolean {
    const { contents } = this.#tree.context.repository;
    // Nearly all objects are one content of file data: no need for text and objects.
    if (contents.hasKey === undefined || !/^[0-9a-f]/.test(objectId)) return contents.info(parseObjectId(objectId).contentId)?.deleted === false;
    const bytes = objectId.length >>> 1;
    if (this.#key.length !== bytes + 1) this.#key = Buffer.alloc(bytes + 1);
    this.#key.write(objectId, 1, "hex");
    return contents.hasKey(this.#key);
  }

  /** Counts files whose data is in the repository already. */
  countCached(size: number, files = 1): void {
    const { counts, meter } = this.#tree.context;
    counts.files += files;
    counts.cachedFiles += files;
    counts.bytes += size;
    counts.cachedBytes += size;
    meter.counts.filesDone += files;
    meter.counts.bytesDone += size;
  }

  /** @param done - bytes that were not told as progress yet */
  #countRead(files: number, size: number, done: number = size): void {
    const { counts, meter } = this.#tree.context;
    counts.files += files;
    counts.bytes += size;
    meter.counts.filesDone += files;
    meter.counts.bytesDone += done;
  }
}

/** An entry of a parent's listing. Undefined for one that cannot be decoded: the file is then read. */
function entryOf(text: Uint8Array): DirectoryEntry | undefined {
  try {
    return decodeRawEntry(asBuffer(text), "a parent's listing");
  } catch (error) {
    if (!hasCode(error, "REPO_CORRUPT")) throw error;
    return undefined;
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
