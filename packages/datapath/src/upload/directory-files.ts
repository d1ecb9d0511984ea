/**
 * What is in a directory beside directories, a stretch of names at a time: examined in one call, compared with the parents, and stored in jobs of many small files or by itself.
 */
import { closeSync } from "node:fs";
import { asBuffer } from "@drayage/base";
import { ATTRIBUTES, type DirectoryNames, FILE_STATUS, nameBytes, ROW, ROW_SLOTS } from "@drayage/kernels";
import { type DirectoryEntry, type ObjectId, parseObjectId, type RawMatch } from "@drayage/repo";
import { pathError } from "../path-errors.ts";
import { FileBatch } from "./file-batch.ts";
import type { InOrder } from "./in-order.ts";
import { indexesFrom } from "./lanes/indexes.ts";
import { type FileExtension, LEFT_TO_WALK } from "./lanes/jobs.ts";
import { systemErrorOf } from "./lanes/transferred-error.ts";
import { readHex } from "./read-hex.ts";
import { below, extensionOf, type FileStat, factsOf, isUnchanged, kindOf, RowFacts, xattrsOf } from "./source-entry.ts";
import { type Register, storeOpenFile } from "./store-file.ts";
import { EncodedRun, StretchListing } from "./stretch-listing.ts";
import { compressorOf } from "./upload-context.ts";
import { type OpenFile, openRegularFile } from "./upload-file.ts";
import { type Outcome, STRETCH, type TreeUpload, type Walk } from "./upload-tree.ts";

const BLOCK_BYTES = 512;
/** st_mode of stat(2). */
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const ENTRY_BYTES_BESIDE_NAME = 400;

/** What takes the place of an entry in the listing. */
type Slot =
  | { readonly kind: "outcome"; readonly outcome: Promise<Outcome> | Outcome }
  | { readonly kind: "text"; readonly run: EncodedRun }
  /** Files [from, to) of a batch. */
  | { readonly kind: "batch"; readonly batch: FileBatch; readonly from: number; to: number };

interface Prefixes {
  readonly text: Buffer;
  readonly ends: Uint32Array;
}

export class DirectoryFiles {
  readonly #tree: TreeUpload;
  #key: Buffer = Buffer.alloc(0);
  readonly #rows: Float64Array = new Float64Array(STRETCH * ROW_SLOTS);
  readonly #ends: Uint32Array = new Uint32Array(STRETCH);
  #text: Buffer = Buffer.alloc(0);
  /** A file that was read had attributes that nobody had asked for. */
  #hasMetAttributes = false;

  constructor(tree: TreeUpload) {
    this.#tree = tree;
  }

  /** Examines the names [from, to) and starts what they need; the entries reach the listing through `order`. */
  async stretch(walk: Walk, range: { readonly from: number; readonly to: number }, order: InOrder): Promise<void> {
    const { context } = this.#tree;
    const { names } = walk;
    const count = range.to - range.from;
    // One stretch is looked at at a time, and what is kept of it is copied.
    const rows = this.#rows;
    context.files.statEntries(walk.directory.fd, names, range, this.#wantsAttributes(walk, range.from, rows), rows);
    const slots: Slot[] = [];
    const prefixes = walk.parents.length === 0 ? undefined : this.#prefixes(names, range, rows);
    const batches = new Map<string | undefined, FileBatch>();
    // Asked once, where no file has a say.
    const ofAll = walk.rules?.optionsOfAll;
    for (let i = 0; i < count; i++) {
      const at = i * ROW_SLOTS;
      const index = range.from + i;
      if (rows[at + ROW.status] === 0 && isRegular(rows[at + ROW.mode] ?? 0)) {
        if (walk.rules?.isTooLarge(rows[at + ROW.size] ?? 0) === true) {
          context.counts.excludedFiles++;
          continue;
        }
        if (prefixes !== undefined) {
          // A promise for each file would cost more than the file.
          const taken = this.#takeOver(walk, rows, at, prefixes, i, slots);
          if (typeof taken === "boolean" ? taken : await taken) continue;
        }
        const options = ofAll ?? walk.rules?.fileOptions(nameOf(names, index), rows[at + ROW.size] ?? 0);
        if (this.#isForBatch(rows, at) && (options?.splitter === undefined || options.splitter === context.splitter)) {
          const known = walk.parents.length === 0 ? undefined : await this.#unchanged(walk, nameOf(names, index), new RowFacts(rows, i).stat);
          if (known !== undefined) {
            slots.push({ kind: "outcome", outcome: { entry: known } });
            continue;
          }
          const compressor = compressorOf(context, options);
          const batch = batches.get(compressor) ?? new FileBatch(compressor);
          this.#addToBatch(walk, index, rows, at, batch, slots);
          if (batch.isFull) {
            batches.delete(compressor);
            await this.#send(walk, batch);
          } else batches.set(compressor, batch);
          continue;
        }
      }
      slots.push(await this.#single(walk, index, rows, i));
      await this.#tree.rest();
    }
    for (const batch of batches.values()) await this.#send(walk, batch);
    await this.#tree.rest(count / 16);
    order.push(this.#complete(walk, slots), (listing) => listing.writeTo(walk.underWay.listing, (outcome) => this.#tree.take(walk, outcome), context.signal));
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

  /** The beginnings of all entries, as text. */
  #prefixes(names: DirectoryNames, { from, to }: { readonly from: number; readonly to: number }, rows: Float64Array): Prefixes {
    const bytes = (names.ends[to - 1] ?? 0) - (from === 0 ? 0 : (names.ends[from - 1] ?? 0)) + (to - from) * ENTRY_BYTES_BESIDE_NAME;
    if (this.#text.length < bytes) this.#text = Buffer.alloc(bytes);
    const text = this.#text;
    const ends = this.#ends;
    this.#tree.context.files.encodeEntries(names, indexesFrom(from, to), rows, text, ends);
    return { text, ends };
  }

  /** Takes over a parent's entry as text when the file is as it says, in every byte of the entry; true when it did. A promise only when a listing must be read on. */
  #takeOver(walk: Walk, rows: Float64Array, at: number, { text, ends }: Prefixes, i: number, slots: Slot[]): boolean | Promise<boolean> {
    const start = i === 0 ? 0 : (ends[i - 1] ?? 0);
    const end = ends[i] ?? 0;
    // An entry with more in it than facts is compared fact by fact.
    if (end === start || !isPlain(rows, at) || this.#tree.context.lanes === undefined) return false;
    for (const parent of walk.parents) {
      const can = parent.canMatch(end - start);
      // From the first parent on: what it found not to match it finds so again.
      if (typeof can !== "boolean") return can.then(() => this.#takeOver(walk, rows, at, { text, ends }, i, slots));
      if (!can) continue;
      const found = parent.match(text, start, end);
      if (found === undefined || !this.#isStoredAt(found)) continue;
      const last = slots.at(-1);
      const run = last?.kind === "text" ? last.run : new EncodedRun();
      if (last?.kind !== "text") slots.push({ kind: "text", run });
      const size = rows[at + ROW.size] ?? 0;
      run.append(found.bytes, found.start, found.end, size, rows[at + ROW.seconds] ?? 0, rows[at + ROW.nanoseconds] ?? 0);
      this.#countCached(size);
      return true;
    }
    return false;
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
  async #single(walk: Walk, index: number, rows: Float64Array, i: number): Promise<Slot> {
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
        const known = (await this.#unchanged(walk, name, stat)) ?? (await this.#otherName(walk, name, path, stat));
        if (known !== undefined) return { entry: known };
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
  async #unchanged(walk: Walk, name: string, stat: FileStat): Promise<DirectoryEntry | undefined> {
    const key = { name, type: "file" as const };
    for (const parent of walk.parents) {
      const found = await parent.find(key);
      if (found !== undefined && isUnchanged(stat, "file", found) && this.#isStored(found.objectId)) return this.#cached(walk, name, stat, found.objectId);
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
    this.#countCached(size);
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

  /** The same as `#isStored` of the object id of an entry that was matched, without making text of it where it is the content of a small file. */
  #isStoredAt({ bytes, idStart, idEnd }: RawMatch): boolean {
    const { contents } = this.#tree.context.repository;
    const length = (idEnd - idStart) >>> 1;
    if (this.#key.length !== length + 1) this.#key = Buffer.alloc(length + 1);
    if (contents.hasKey === undefined || length === 0 || (idEnd - idStart) % 2 !== 0 || !readHex(bytes, idStart, idEnd, this.#key)) {
      return this.#isStored(bytes.toString("latin1", idStart, idEnd));
    }
    return contents.hasKey(this.#key);
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

  #countCached(size: number): void {
    const { counts, meter } = this.#tree.context;
    counts.files++;
    counts.cachedFiles++;
    counts.bytes += size;
    counts.cachedBytes += size;
    meter.counts.filesDone++;
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

/** Whether an entry has nothing but facts: one name, no attributes, no holes. */
function isPlain(rows: Float64Array, at: number): boolean {
  return (
    (rows[at + ROW.links] ?? 1) < 2 && rows[at + ROW.attributes] === ATTRIBUTES.none && (rows[at + ROW.blocks] ?? 0) * BLOCK_BYTES >= (rows[at + ROW.size] ?? 0)
  );
}

function isRegular(mode: number): boolean {
  return (mode & S_IFMT) === S_IFREG;
}

function nameOf(names: DirectoryNames, index: number): string {
  return asBuffer(nameBytes(names, index)).toString("latin1");
}
