/**
 * A run: an index in a local file, with what it takes to look into it without reading it, and to tell whether it is whole. Runs are copies; a damaged one is
 * dropped and made again from the repository.
 *
 *   index        of either version, as index blobs hold it
 *   checksums    CRC-32 of each block of entries, u32
 *   filter       key-filter.ts
 *   names        of the index blobs that it speaks for, UTF-8, one a line
 *   footer       44 bytes; integers in the byte order of the machine that made it, which `magic` tells as well
 *
 *   offset  size  field
 *        0     4  magic          "dri1"
 *        4     4  blockEntries   entries of a block
 *        8     8  indexBytes     f64
 *       16     4  checksumBytes
 *       20     4  filterBytes
 *       24     4  nameBytes
 *       28     4  tablesCrc      of the index without its entries
 *       32     4  extrasCrc      of checksums, filter and names
 *       36     4  reserved       0
 *       40     4  footerCrc      of the footer before it
 */
import { closeSync, existsSync, fstatSync, fsyncSync, openSync, readSync, unlinkSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { fromUtf8, utf8, WRITE_BYTES_MAX } from "@drayage/base";
import { BLOCK_BYTES_MAX } from "./block-cache.ts";
import { indexFormatOf } from "./index-codec.ts";
import { KeyFilter, KeyFilterBuilder } from "./key-filter.ts";
import { corruptIndex, type IndexBytes, type IndexFormat } from "./pack-index.ts";

export const RUN_FOOTER_BYTES = 44;
export const RUN_FOOTER_AT = {
  magic: 0,
  blockEntries: 4,
  indexBytes: 8,
  checksumBytes: 16,
  filterBytes: 20,
  nameBytes: 24,
  tablesCrc: 28,
  extrasCrc: 32,
  reserved: 36,
  footerCrc: 40,
} as const;
const MAGIC = 0x31697264;
const NAME_BYTES_MAX = 64 << 20;
/** A run up to this size is checked whole when it is opened; of a larger one each block when it is read first. */
const CHECK_WHOLE_BYTES = 64 << 20;
/** Tables behind the entries are kept in memory up to this size. */
const TABLES_KEPT_BYTES = 2 << 20;
const CHUNK_BYTES = 1 << 20;
/** From here on a run reaches the disk before it gets its name: it is not checked whole when it is opened. */
const SYNC_FROM_BYTES = CHECK_WHOLE_BYTES;

/** An open file. It is closed when nobody holds it any more: lists that are being walked may outlive the index that they are of. */
export class RunFile {
  readonly fd: number;
  /** Its name, for messages; it may have lost it meanwhile. */
  readonly path: string;
  readonly #namedPath: string | undefined;

  /** @param temporary - it goes with this object; where open files can be reached without their name it loses that at once, and nothing stays however the process ends */
  constructor(fd: number, path: string, { temporary = false }: { readonly temporary?: boolean } = {}) {
    this.fd = fd;
    this.path = path;
    const nameless = temporary && existsSync(OPEN_FILES);
    if (nameless) unlinkSync(path);
    this.#namedPath = temporary && !nameless ? path : undefined;
    closeWhenForgotten.register(this, { fd, unlink: this.#namedPath }, this);
  }

  /** Where another thread of this process can open it, for as long as this is open. */
  get sharedPath(): string {
    return existsSync(OPEN_FILES) ? `${OPEN_FILES}/${this.fd}` : this.path;
  }

  close(): void {
    closeWhenForgotten.unregister(this);
    release({ fd: this.fd, unlink: this.#namedPath });
  }
}

/** Every open file of this process, by its number, whatever has become of its name. */
const OPEN_FILES = "/proc/self/fd";

interface Held {
  readonly fd: number;
  readonly unlink: string | undefined;
}

const closeWhenForgotten = new FinalizationRegistry<Held>((held) => {
  release(held);
});

function release({ fd, unlink }: Held): void {
  closeSync(fd);
  if (unlink !== undefined) unlinkSync(unlink);
}

/** What a run consists of besides its file; all of it can be handed to another thread. */
export interface RunParts {
  readonly indexBytes: number;
  readonly blockEntries: number;
  readonly checksums: Uint32Array<SharedArrayBuffer>;
  readonly filter: SharedArrayBuffer;
  /** The index blobs that it speaks for. */
  readonly names: readonly string[];
  /** Whether all of it was looked at when it was opened; otherwise each block is when it is read. */
  readonly checked: boolean;
}

/**
 * Completes a file that holds an index and nothing else: goes through all of it once, and writes what belongs behind it.
 * Throws REPO_CORRUPT when the index is damaged, and what the file system throws.
 */
export function finishRun(file: RunFile, indexBytes: number, names: readonly string[]): RunParts {
  const { fd } = file;
  const format = indexFormatOf(fileBytes(fd, indexBytes, indexBytes));
  const blockEntries = Math.max(1, Math.floor(BLOCK_BYTES_MAX / format.stride));
  const checksums = new Uint32Array(new SharedArrayBuffer(4 * Math.ceil(format.entryCount / blockEntries)));
  const { entriesAt, stride } = format;
  const first = new Uint8Array(1);
  const builder = new KeyFilterBuilder(format, (position) => {
    readFully(fd, first, 1, entriesAt + position * stride);
    return first[0] as number;
  });
  forEachBlock(fd, format, blockEntries, (block, part) => {
    checksums[block] = crc32(part);
    for (let at = 0; at < part.length; at += stride) builder.add(part, at);
  });
  const filter = builder.build();
  const text = utf8(names.join("\n"));
  const extras = [bytesOf(checksums), new Uint8Array(filter.memory), text];
  let at = indexBytes;
  for (const part of extras) {
    writeFully(fd, part, at);
    at += part.length;
  }
  const footer = new Uint32Array(RUN_FOOTER_BYTES / 4);
  const set = (field: number, value: number): void => {
    footer[field / 4] = value;
  };
  set(RUN_FOOTER_AT.magic, MAGIC);
  set(RUN_FOOTER_AT.blockEntries, blockEntries);
  new Float64Array(footer.buffer, RUN_FOOTER_AT.indexBytes, 1)[0] = indexBytes;
  set(RUN_FOOTER_AT.checksumBytes, checksums.byteLength);
  set(RUN_FOOTER_AT.filterBytes, filter.byteLength);
  set(RUN_FOOTER_AT.nameBytes, text.length);
  set(RUN_FOOTER_AT.tablesCrc, tablesCrc(fd, format, indexBytes));
  set(RUN_FOOTER_AT.extrasCrc, crcOf(extras));
  set(RUN_FOOTER_AT.footerCrc, crc32(bytesOf(footer).subarray(0, RUN_FOOTER_AT.footerCrc)));
  writeFully(fd, bytesOf(footer), at);
  if (at > SYNC_FROM_BYTES) fsyncSync(fd);
  return { indexBytes, blockEntries, checksums, filter: filter.memory, names, checked: true };
}

/** Reads what a run consists of. Throws REPO_CORRUPT for one that is damaged, cut off, or something else. */
export function loadRun({ fd }: RunFile, checkWholeBytes: number = CHECK_WHOLE_BYTES): RunParts {
  const { size } = fstatSync(fd);
  if (size < RUN_FOOTER_BYTES) throw corruptIndex("it is cut off");
  const footer = new Uint32Array(RUN_FOOTER_BYTES / 4);
  readFully(fd, bytesOf(footer), RUN_FOOTER_BYTES, size - RUN_FOOTER_BYTES);
  const get = (field: number): number => footer[field / 4] ?? 0;
  if (get(RUN_FOOTER_AT.footerCrc) !== crc32(bytesOf(footer).subarray(0, RUN_FOOTER_AT.footerCrc)) || get(RUN_FOOTER_AT.magic) !== MAGIC) {
    throw corruptIndex("its footer is damaged");
  }
  const [indexBytes = 0] = new Float64Array(footer.buffer, RUN_FOOTER_AT.indexBytes, 1);
  const checksumBytes = get(RUN_FOOTER_AT.checksumBytes);
  const filterBytes = get(RUN_FOOTER_AT.filterBytes);
  const nameBytes = get(RUN_FOOTER_AT.nameBytes);
  if (indexBytes + checksumBytes + filterBytes + nameBytes + RUN_FOOTER_BYTES !== size || nameBytes > NAME_BYTES_MAX || checksumBytes % 4 !== 0) {
    throw corruptIndex("its parts do not fit its length");
  }
  const checksums = new Uint32Array(new SharedArrayBuffer(checksumBytes));
  const filter = new SharedArrayBuffer(filterBytes);
  const text = new Uint8Array(nameBytes);
  const extras = [bytesOf(checksums), new Uint8Array(filter), text];
  let at = indexBytes;
  for (const part of extras) {
    readFully(fd, part, part.length, at);
    at += part.length;
  }
  if (crcOf(extras) !== get(RUN_FOOTER_AT.extrasCrc)) throw corruptIndex("its checksums or its filter are damaged");
  const format = indexFormatOf(fileBytes(fd, indexBytes, indexBytes));
  if (tablesCrc(fd, format, indexBytes) !== get(RUN_FOOTER_AT.tablesCrc)) throw corruptIndex("its tables are damaged");
  const blockEntries = get(RUN_FOOTER_AT.blockEntries);
  if (
    blockEntries !== Math.max(1, Math.floor(BLOCK_BYTES_MAX / format.stride)) ||
    checksums.length !== Math.ceil(format.entryCount / blockEntries) ||
    new KeyFilter(filter).entryCount !== format.entryCount
  ) {
    throw corruptIndex("its parts do not fit each other");
  }
  const checked = size <= checkWholeBytes;
  if (checked) {
    forEachBlock(fd, format, blockEntries, (block, part) => {
      if (crc32(part) !== checksums[block]) throw corruptIndex(`block ${block} of it is damaged`);
    });
  }
  return { indexBytes, blockEntries, checksums, filter, names: nameBytes === 0 ? [] : fromUtf8(text).split("\n"), checked };
}

/** An index in a file. What lies behind its entries is kept in memory when it is small: names of packs are wanted again and again. */
export function formatOfRun({ fd }: RunFile, indexBytes: number): IndexFormat {
  const { entriesAt, stride, entryCount } = indexFormatOf(fileBytes(fd, indexBytes, indexBytes));
  const tablesAt = entriesAt + entryCount * stride;
  return indexFormatOf(fileBytes(fd, indexBytes, indexBytes - tablesAt <= TABLES_KEPT_BYTES ? tablesAt : indexBytes));
}

/** @param keptFrom - what lies behind this is read once and kept */
function fileBytes(fd: number, length: number, keptFrom: number): IndexBytes {
  const kept = keptFrom === length ? undefined : new Uint8Array(length - keptFrom);
  if (kept !== undefined) readFully(fd, kept, kept.length, keptFrom);
  return {
    length,
    read(offset, count) {
      if (kept !== undefined && offset >= keptFrom) return kept.subarray(offset - keptFrom, offset - keptFrom + count);
      const bytes = new Uint8Array(count);
      readFully(fd, bytes, count, offset);
      return bytes;
    },
  };
}

/** Hands out every block of entries in order; the bytes are valid during the call. */
function forEachBlock(
  fd: number,
  { entriesAt, stride, entryCount }: IndexFormat,
  blockEntries: number,
  work: (block: number, bytes: Uint8Array) => void,
): void {
  const blockBytes = blockEntries * stride;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / blockBytes));
  const chunk = new Uint8Array(Math.min(perChunk * blockBytes, entryCount * stride));
  const blockCount = Math.ceil(entryCount / blockEntries);
  for (let first = 0; first < blockCount; first += perChunk) {
    const length = Math.min(chunk.length, (entryCount - first * blockEntries) * stride);
    readFully(fd, chunk, length, entriesAt + first * blockBytes);
    for (let at = 0; at < length; at += blockBytes) work(first + at / blockBytes, chunk.subarray(at, Math.min(at + blockBytes, length)));
  }
}

/** Of everything of an index but its entries. */
function tablesCrc(fd: number, { entriesAt, stride, entryCount }: IndexFormat, indexBytes: number): number {
  const tableBytes = indexBytes - entriesAt - stride * entryCount;
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, Math.max(tableBytes, entriesAt)));
  readFully(fd, chunk, entriesAt, 0);
  let crc = crc32(chunk.subarray(0, entriesAt));
  for (let at = entriesAt + stride * entryCount; at < indexBytes; at += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, indexBytes - at);
    readFully(fd, chunk, length, at);
    crc = crc32(chunk.subarray(0, length), crc);
  }
  return crc;
}

/** Reads the index of a run, which is as long as `into`. Throws REPO_CORRUPT when the file ends before. */
export function readIndex({ fd }: RunFile, into: Uint8Array): void {
  readFully(fd, into, into.length, 0);
}

export function openForReading(path: string): RunFile {
  return new RunFile(openSync(path, "r"), path);
}

export function writeFully(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, Math.min(bytes.length - done, WRITE_BYTES_MAX), position + done);
}

function readFully(fd: number, into: Uint8Array, length: number, position: number): void {
  for (let done = 0; done < length; ) {
    const read = readSync(fd, into, done, length - done, position + done);
    if (read === 0) throw corruptIndex("it is cut off");
    done += read;
  }
}

function crcOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((crc, part) => crc32(part, crc), 0);
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}
