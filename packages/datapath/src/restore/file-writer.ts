/**
 * Decodes the contents of a range and writes them where they are wanted, one call after the other: this runs in threads of its own. Small files are made, written, given their
 * attributes and closed in one go; contents of large files and of devices are written at their offsets.
 *
 * Invariants: an entry is made through the descriptor of its directory, exclusively, following no link; a file that fails on the way is removed; the scratch memory is reused for
 * every content, so nothing is allocated for one.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, symlinkSync, unlinkSync, writeSync } from "node:fs";
import { DIRECT_BLOCK_BYTES, DrayError, WRITE_BYTES_MAX } from "@drayage/base";
import { type CreateFiles, isPageAligned, type SystemCalls } from "@drayage/kernels";
import { textOfByteString } from "@drayage/repo";
import { entryPathPrefix } from "../anchored-directory.ts";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import { DecodeAhead } from "./decode-ahead.ts";
import { DeviceWriter } from "./device-writer.ts";
import { DIRECT_STRETCH_BYTES_MIN, wholeBlocksOf } from "./direct-files.ts";
import { type AttributeSink, applyAttributes } from "./entry-attributes.ts";
import { HoleMap, isZero, stretchesToWrite } from "./hole-map.ts";
import type { ContentDecoder } from "./restore-source.ts";
import { SMALL_FILE_BYTES_MAX, SmallFiles } from "./small-files.ts";
import {
  CHECK,
  CONTENT,
  DEVICE_PART,
  LINK,
  PART,
  type PlainError,
  plainErrorOf,
  TARGET,
  type TargetExtras,
  WHOLE_FILE,
  type WriteJob,
  type WriteResult,
} from "./write-job.ts";

export interface WriterOptions {
  readonly overwrite: boolean;
  /** Leave every block of zeros as a hole, not only those that were holes. */
  readonly sparse: boolean;
  /** Read back what was written. */
  readonly verify: boolean;
}

/** Linux takes no longer target of a link. */
export const LINK_BYTES_MAX = 4096;
const NS_PER_S = 1_000_000_000n;
const SCRATCH_STEP_BYTES = 1 << 20;
/** A content of 8 MiB, and what it has around it. */
const LONG_SCRATCH_BYTES = 9 << 20;
const noExtras: TargetExtras = {};

interface WrittenPart {
  readonly target: number;
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
  readonly digest: Buffer;
}

/** One job under way. */
interface Run {
  readonly job: WriteJob;
  readonly badContents: { readonly index: number; readonly error: PlainError }[];
  readonly failures: { readonly target: number; readonly error: PlainError }[];
  /** To be read back. */
  readonly parts: WrittenPart[];
  /** Whose files are that are made in a directory. */
  readonly owners: Map<number, FileOwner>;
}

export class FileWriter {
  readonly #decoder: ContentDecoder;
  readonly #options: WriterOptions;
  readonly #sink: AttributeSink;
  readonly #device: DeviceWriter;
  readonly #isStopped: () => boolean;
  readonly #small: SmallFiles | undefined;
  readonly #ahead: DecodeAhead | undefined;
  /** On a page, so that what is decoded into it can go to a disk as it is. */
  #scratch: Uint8Array = new Uint8Array(0);
  #warnings: { target: number; error: PlainError }[] = [];
  #target = 0;
  #zeroSeen: { readonly of: Uint8Array; readonly isZero: boolean } | undefined;

  /** @param createFiles - makes many small files with one call, where there is such a call */
  constructor(decoder: ContentDecoder, options: WriterOptions, system: SystemCalls, isStopped: () => boolean, createFiles?: CreateFiles) {
    this.#decoder = decoder;
    // Looking for zeros and reading back are done file by file.
    this.#small = createFiles === undefined || options.sparse || options.verify ? undefined : new SmallFiles(createFiles, options.overwrite);
    this.#ahead = decoder.decodeMany === undefined ? undefined : new DecodeAhead(decoder.decodeMany);
    this.#options = options;
    this.#isStopped = isStopped;
    this.#device = new DeviceWriter(system);
    this.#sink = { system, warnings: { add: (_path, error) => this.#warnings.push({ target: this.#target, error: plainErrorOf(error) }) } };
  }

  /** Never throws: what goes wrong is in the result. */
  run(job: WriteJob): WriteResult {
    const run: Run = { job, badContents: [], failures: [], parts: [], owners: new Map() };
    this.#warnings = [];
    const repairedBefore = this.#decoder.repairedShards ?? 0;
    const stopped = !this.#runContents(run);
    this.#ahead?.forget();
    if (stopped) this.#small?.forget();
    else this.#makeSmall(run);
    if (!stopped) this.#readBackParts(run);
    const repairedShards = (this.#decoder.repairedShards ?? 0) - repairedBefore;
    return { badContents: run.badContents, failures: run.failures, warnings: this.#warnings, repairedShards, stopped };
  }

  /** False when it was stopped on the way. */
  #runContents(run: Run): boolean {
    const { job } = run;
    let target = 0;
    for (let index = 0; index < job.contentIds.length; index++) {
      const end = target + (job.contents[index * CONTENT.columns + CONTENT.targets] ?? 0);
      this.#zeroSeen = undefined;
      try {
        const small = this.#roomForSmall(run, index, target);
        let plain = this.#ahead?.take(job, index) ?? this.#decode(job, index, target, small);
        let start = small === undefined ? -1 : this.#keepSmall(plain, small);
        for (; target < end; target++) {
          if (this.#isStopped()) return false;
          if (start >= 0 && this.#small?.isFull === true) {
            this.#makeSmall(run);
            plain = this.#small.keepAgain(start, plain.length);
            start = 0;
          }
          if (start < 0 || !this.#addSmall(run, target, start, plain.length)) this.#guarded(run, target, plain);
        }
      } catch (error) {
        run.badContents.push({ index, error: plainErrorOf(error) });
        target = end;
      }
    }
    return true;
  }

  #guarded(run: Run, target: number, plain: Uint8Array): void {
    this.#target = target;
    try {
      this.#write(run, target, plain);
    } catch (error) {
      run.failures.push({ target, error: plainErrorOf(error) });
    }
  }

  /** Memory for a content that small files are made of, having made those that were in the way. */
  #roomForSmall(run: Run, index: number, target: number): Uint8Array | undefined {
    const { job } = run;
    const row = index * CONTENT.columns;
    const length = Math.max(job.contents[row + CONTENT.length] ?? 0, job.contents[row + CONTENT.originalLength] ?? 0);
    if (this.#small?.isUseful !== true || length > SMALL_FILE_BYTES_MAX || job.targets[target * TARGET.columns + TARGET.kind] !== WHOLE_FILE) return undefined;
    const room = this.#small.room(length);
    if (room !== undefined) return room;
    this.#makeSmall(run);
    return this.#small.room(length);
  }

  #keepSmall(plain: Uint8Array, room: Uint8Array): number {
    // What was expanded, or decoded by the portable build, lies elsewhere.
    if (plain.buffer !== room.buffer || plain.byteOffset !== room.byteOffset) room.set(plain);
    return this.#small?.keep(plain.length) ?? -1;
  }

  /** Makes the small files that wait. */
  #makeSmall(run: Run): void {
    this.#small?.flush((target, plain) => this.#guarded(run, target, plain));
  }

  /** Whether the target is a small file that will be made with others. */
  #addSmall(run: Run, target: number, start: number, length: number): boolean {
    const small = this.#small;
    if (small === undefined || run.job.extras.has(target) || run.job.targets[target * TARGET.columns + TARGET.kind] !== WHOLE_FILE) return false;
    return small.add(run.job, target, start, length);
  }

  #decode(job: WriteJob, index: number, firstTarget: number, room: Uint8Array | undefined): Uint8Array {
    const row = index * CONTENT.columns;
    const numbers = job.contents;
    const at = numbers[row + CONTENT.at] ?? 0;
    const length = numbers[row + CONTENT.length] ?? 0;
    const originalLength = numbers[row + CONTENT.originalLength] ?? 0;
    const stored = job.bytes.subarray(at, at + length);
    const id = job.contentIds[index] ?? "";
    if (job.pack === undefined) {
      if (job.check && !this.#decoder.isGenuine(stored, id)) throw notGenuine(id);
      return stored;
    }
    const lead = leadOf(job.targets, firstTarget * TARGET.columns);
    const scratch = room ?? this.#scratchOf(Math.max(length, originalLength) + lead).subarray(lead);
    const plain = this.#decoder.decode(stored, { id, pack: job.pack, originalLength, form: numbers[row + CONTENT.form] ?? 0 }, scratch);
    if (job.check && !this.#decoder.isGenuine(plain, id)) throw notGenuine(id);
    return plain;
  }

  #scratchOf(length: number): Uint8Array {
    if (this.#scratch.length < length) {
      const bytes = Math.ceil(length / SCRATCH_STEP_BYTES) * SCRATCH_STEP_BYTES;
      // What is outgrown stays until the collector comes: where contents are long, one of the usual largest will follow. Pages that nothing was written to are none.
      this.#scratch = this.#sink.system.alignedBuffer(bytes > SCRATCH_STEP_BYTES ? Math.max(bytes, LONG_SCRATCH_BYTES) : bytes);
    }
    return this.#scratch;
  }

  #write({ job, parts, owners }: Run, target: number, plain: Uint8Array): void {
    const row = target * TARGET.columns;
    const kind = job.targets[row + TARGET.kind];
    if (kind === CHECK) return;
    const place = job.targets[row + TARGET.place] ?? 0;
    const offset = job.targets[row + TARGET.offset] ?? 0;
    const name = job.names[target] ?? "";
    if (kind === DEVICE_PART) {
      const wanted = plain.subarray(0, job.targets[row + TARGET.length]);
      this.#device.write({ direct: place, buffered: job.targets[row + TARGET.mode] ?? 0 }, offset, wanted, name);
      return;
    }
    const extras = job.extras.get(target) ?? noExtras;
    if (kind === PART) {
      this.#writeData(place, offset, plain, extras, name, job.targets[row + TARGET.mode]);
      if (this.#options.verify) parts.push({ target, fd: place, offset, length: plain.length, digest: digestOf(plain) });
      return;
    }
    const directory = job.directories[place];
    if (directory === undefined) throw new DrayError("INVARIANT", `Cannot write "${textOfByteString(name)}": its directory is not in the job`);
    const at = Buffer.from(entryPathPrefix(directory) + name, "latin1");
    const where = `${directory.path === "/" ? "" : directory.path}/${name}`;
    const attributes = attributesOf(job.targets, row);
    if (kind === LINK) this.#makeLink(at, where, plain, attributes, extras);
    else this.#makeFile(at, where, plain, attributes, extras, owners, place);
  }

  #makeFile(
    at: Buffer,
    where: string,
    plain: Uint8Array,
    attributes: ReturnType<typeof attributesOf>,
    extras: TargetExtras,
    owners: Map<number, FileOwner>,
    directory: number,
  ): void {
    if (this.#options.overwrite) removeExisting(at, where);
    const fd = createFile(at, where);
    let isWhole = false;
    try {
      this.#writeData(fd, 0, plain, extras, where);
      if (extras.holes !== undefined || this.#options.sparse) atPath("write", where, () => this.#endAt(fd, plain.length));
      if (this.#options.verify) {
        atPath("flush", where, () => fsyncSync(fd));
        readBack(fd, 0, plain.length, digestOf(plain), where);
      }
      // Files that are made in one directory get one owner: asking once is enough.
      let owner = owners.get(directory);
      if (owner === undefined) {
        owner = atPath("look at", where, () => fstatSync(fd));
        owners.set(directory, owner);
      }
      applyAttributes(this.#sink, { at, path: "", where, fd, owner }, attributes, extras.xattrs ?? []);
      isWhole = true;
    } finally {
      closeSync(fd);
      if (!isWhole) removeQuietly(at);
    }
  }

  /** Gives a file its length where its end was left as a hole. */
  #endAt(fd: number, length: number): void {
    if (fstatSync(fd).size < length) ftruncateSync(fd, length);
  }

  #makeLink(at: Buffer, where: string, plain: Uint8Array, attributes: ReturnType<typeof attributesOf>, extras: TargetExtras): void {
    makeSymlink(this.#sink, { at, where, overwrite: this.#options.overwrite }, plain, attributes, extras.xattrs ?? []);
  }

  /** `direct` is a second descriptor of the file, for writes past the cache, or -1. */
  #writeData(fd: number, offset: number, plain: Uint8Array, extras: TargetExtras, where: string, direct = -1): void {
    if (!this.#options.sparse && extras.holes === undefined) {
      writeStretch(fd, direct, plain, offset, where);
      return;
    }
    const holes = new HoleMap(extras.holes ?? []);
    if ((this.#options.sparse || holes.covers(offset, plain.length)) && this.#allZero(plain)) return;
    for (const stretch of stretchesToWrite(offset, plain, holes, this.#options.sparse)) writeStretch(fd, direct, stretch.bytes, stretch.offset, where);
  }

  /** One content of zeros may be wanted for every stretch of a hole: it is looked at once. */
  #allZero(plain: Uint8Array): boolean {
    if (this.#zeroSeen?.of !== plain) this.#zeroSeen = { of: plain, isZero: isZero(plain) };
    return this.#zeroSeen.isZero;
  }

  /** Compares what files hold, once the device has it, with what was written. */
  #readBackParts({ job, parts, failures }: Run): void {
    const flushed = new Set<number>();
    for (const { target, fd, offset, length, digest } of parts) {
      const where = job.names[target] ?? "";
      try {
        if (!flushed.has(fd)) atPath("flush", where, () => fdatasyncSync(fd));
        flushed.add(fd);
        readBack(fd, offset, length, digest, where);
      } catch (error) {
        failures.push({ target, error: plainErrorOf(error) });
      }
    }
  }
}

interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

function attributesOf(numbers: Float64Array, row: number) {
  return {
    mode: numbers[row + TARGET.mode] ?? 0,
    uid: numbers[row + TARGET.uid] ?? 0,
    gid: numbers[row + TARGET.gid] ?? 0,
    mtimeNs: BigInt(numbers[row + TARGET.seconds] ?? 0) * NS_PER_S + BigInt(numbers[row + TARGET.nanoseconds] ?? 0),
  };
}

/** A content that was stored under an id that is not its own: authentication cannot show that. */
export function notGenuine(id: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot use content "${id}": its bytes are whole, and not those that the id was made of`, {
    context: { contentId: id },
  });
}

/** A new file that only its owner can open. Throws PATH_*. */
export function createFile(at: Buffer, where: string): number {
  return atPath("create", where, () => openSync(at, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600));
}

/** A symbolic link with its attributes. Throws REPO_CORRUPT when the target can be none. */
export function makeSymlink(
  sink: AttributeSink,
  { at, where, overwrite, path = "" }: { readonly at: Buffer; readonly where: string; readonly overwrite: boolean; readonly path?: string },
  target: Uint8Array,
  attributes: Parameters<typeof applyAttributes>[2],
  xattrs: Parameters<typeof applyAttributes>[3],
): void {
  if (target.length === 0 || target.length > LINK_BYTES_MAX || target.includes(0)) {
    throw new DrayError("REPO_CORRUPT", `Cannot restore symbolic link "${textOfByteString(where)}": its target is empty, too long or holds a NUL byte`);
  }
  if (overwrite) removeExisting(at, where);
  atPath("create symbolic link", where, () => symlinkSync(Buffer.from(target), at));
  applyAttributes(sink, { at, path, where, isSymlink: true }, attributes, xattrs);
}

/** Removes what is at a place, unless it is a directory, which is not replaced by something else. */
export function removeExisting(at: Buffer, path: string): void {
  try {
    unlinkSync(at);
  } catch (error) {
    if (hasErrno(error, "ENOENT")) return;
    throw pathError("replace", path, error);
  }
}

/** What went wrong before is what the caller should hear of. */
export function removeQuietly(at: Buffer): void {
  try {
    unlinkSync(at);
  } catch {
    // Nothing more can be done about it.
  }
}

/** How far behind a page memory should begin for the first place of a content: it then lies in memory as it will on the disk, within a block, and can go there from where it is. */
function leadOf(targets: Float64Array, row: number): number {
  const kind = targets[row + TARGET.kind];
  return kind === DEVICE_PART || kind === PART ? (targets[row + TARGET.offset] ?? 0) % DIRECT_BLOCK_BYTES : 0;
}

/** Writes whole blocks past the cache where that can be done, and what is left at the ends through it. */
function writeStretch(fd: number, direct: number, bytes: Uint8Array, offset: number, path: string): void {
  const { head, inner } = wholeBlocksOf(offset, bytes.length);
  let end = 0;
  if (direct >= 0 && inner >= DIRECT_STRETCH_BYTES_MIN && isPageAligned(bytes.subarray(head))) {
    writeAt(fd, bytes.subarray(0, head), offset, path);
    end = head;
    try {
      while (end < head + inner) end += writeSync(direct, bytes, end, head + inner - end, offset + end);
    } catch (error) {
      // What the disk does not take so goes through the cache.
      if (!hasErrno(error, "EINVAL")) throw pathError("write", path, error);
    }
  }
  writeAt(fd, bytes.subarray(end), offset + end, path);
}

function writeAt(fd: number, bytes: Uint8Array, offset: number, path: string): void {
  for (let done = 0; done < bytes.length; ) {
    const from = done;
    done += atPath("write", path, () => writeSync(fd, bytes, from, Math.min(bytes.length - from, WRITE_BYTES_MAX), offset + from));
  }
}

function digestOf(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

function readBack(fd: number, offset: number, length: number, digest: Buffer, path: string): void {
  const data = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const from = done;
    const count = atPath("read back", path, () => readSync(fd, data, from, length - from, offset + from));
    if (count === 0) break;
    done += count;
  }
  if (digestOf(data.subarray(0, done)).equals(digest)) return;
  throw new DrayError("PATH_IO", `Cannot restore "${textOfByteString(path)}": ${length} bytes from ${offset} read back differently from what was written`, {
    context: { size: fstatSync(fd).size },
    hint: "The target's disk or memory is not reliable; restore to another one.",
  });
}
