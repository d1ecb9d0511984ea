/**
 * Writes one file: its chunks side by side at their offsets, holes left as holes, attributes last. A file that fails on the way is removed, so that what is there is whole.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, unlinkSync, write, writeSync } from "node:fs";
import { asBuffer, DrayError, forEachLimit } from "@drayage/base";
import { type Chunk, type DirectoryEntry, type Hole, parseObjectId, textOfByteString } from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import { applyAttributes } from "./entry-attributes.ts";
import type { RestoreContext } from "./restore-context.ts";

/** Chunks of one file that are fetched and written at once. */
const CHUNKS_PER_FILE = 4;
/** Larger writes go through the thread pool, beside the decryption of the next chunk. */
const SYNC_WRITE_BYTES = 256 << 10;
/** Granularity in which zeros are looked for. */
const BLOCK_BYTES = 4096;
const zeroBlock = Buffer.alloc(BLOCK_BYTES);

/** Throws PATH_* for the target, REPO_* for the content. `path` is the entry's place below the root; messages name the whole path. */
export async function restoreFile(context: RestoreContext, directory: AnchoredDirectory, entry: DirectoryEntry, path: string): Promise<void> {
  const at = directory.child(entry.name);
  const where = directory.pathOf(entry.name);
  if (context.overwrite) removeExisting(at, where);
  const fd = atPath("create", where, () => openSync(at, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600));
  let isWhole = false;
  try {
    await writeData(context, fd, entry, where);
    applyAttributes(context, { at, path, where, fd }, entry, entry.extension?.xattrs ?? []);
    isWhole = true;
  } finally {
    closeSync(fd);
    if (!isWhole) removeQuietly(at);
  }
  context.meter.counts.filesDone++;
}

/** What went wrong before is what the caller should hear of. */
function removeQuietly(at: Buffer): void {
  try {
    unlinkSync(at);
  } catch {
    // Nothing more can be done about it.
  }
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

async function writeData(context: RestoreContext, fd: number, entry: DirectoryEntry, path: string): Promise<void> {
  const { objects } = context.repository;
  const { signal } = context;
  // The whole length at once: what is not written is a hole, and a full device shows on the first block.
  if (entry.size > 0) atPath("write", path, () => ftruncateSync(fd, entry.size));
  const digests: { readonly chunk: Chunk; readonly digest: Buffer }[] = [];
  const holes = new HoleCursor(entry.extension?.holes ?? []);
  let end = 0;
  const restoreChunk = async (chunk: Chunk): Promise<void> => {
    // Empty by what the index says: there is nothing to read.
    if (chunk.length === 0) return;
    const release = await context.chunkBytes.acquire(chunk.length, signal);
    try {
      const isHole = holes.covers(chunk.offset, chunk.length);
      if (!(isHole && context.zeroObjects.has(chunk.objectId))) {
        const data = await objects.readChunk(chunk, signal);
        if (isHole && isZero(data)) context.zeroObjects.add(chunk.objectId);
        context.meter.counts.bytesUploaded += context.repository.contents.info(parseObjectId(chunk.objectId).contentId)?.packedLength ?? 0;
        for (const { offset, bytes } of partsToWrite(chunk.offset, data, holes, context.sparse)) await writeAt(fd, bytes, offset, path);
        if (context.verify) digests.push({ chunk, digest: digestOf(data) });
      }
      context.meter.counts.bytesDone += chunk.length;
      await context.pacer.pace(8);
    } finally {
      release();
    }
  };
  async function* chunksWithin(): AsyncGenerator<Chunk> {
    for await (const chunk of objects.chunks(entry.objectId, signal)) {
      end = chunk.offset + chunk.length;
      if (end > entry.size) throw wrongLength(entry, path, `more than ${entry.size}`);
      yield chunk;
    }
  }
  await forEachLimit(chunksWithin(), CHUNKS_PER_FILE, restoreChunk, signal);
  if (end !== entry.size) throw wrongLength(entry, path, String(end));
  if (context.verify) readBack(fd, digests, path);
}

function wrongLength(entry: DirectoryEntry, path: string, length: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot restore "${textOfByteString(path)}": object "${entry.objectId}" has ${length} bytes, ${entry.size} were wanted`);
}

interface Part {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** The stretches of a chunk that must be written: all of it but the zeros that may be left as holes. */
function* partsToWrite(at: number, data: Uint8Array, holes: HoleCursor, sparse: boolean): Generator<Part> {
  if (!sparse && !holes.touches(at, data.length)) {
    if (data.length > 0) yield { offset: at, bytes: data };
    return;
  }
  const bytes = asBuffer(data);
  let start = -1;
  for (let offset = 0; offset < bytes.length; ) {
    // In steps that end where blocks of the file do, since holes are made of those.
    const end = Math.min(bytes.length, offset + BLOCK_BYTES - ((at + offset) % BLOCK_BYTES));
    const mayBeHole = sparse || holes.covers(at + offset, end - offset);
    if (mayBeHole && isZero(bytes.subarray(offset, end))) {
      if (start >= 0) yield { offset: at + start, bytes: bytes.subarray(start, offset) };
      start = -1;
    } else if (start < 0) start = offset;
    offset = end;
  }
  if (start >= 0) yield { offset: at + start, bytes: bytes.subarray(start) };
}

/** Answers whether a range lies in holes. */
class HoleCursor {
  readonly #holes: readonly Hole[];

  constructor(holes: readonly Hole[]) {
    this.#holes = holes;
  }

  covers(offset: number, length: number): boolean {
    const hole = this.#holes[this.#firstEndingAfter(offset)];
    return hole !== undefined && hole.offset <= offset && offset + length <= hole.offset + hole.length;
  }

  touches(offset: number, length: number): boolean {
    const hole = this.#holes[this.#firstEndingAfter(offset)];
    return hole !== undefined && hole.offset < offset + length;
  }

  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#holes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const hole = this.#holes[middle];
      if (hole !== undefined && hole.offset + hole.length > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Whether there are only zeros. */
export function isZero(data: Uint8Array): boolean {
  const bytes = asBuffer(data);
  if (bytes.length > 0 && bytes[0] !== 0) return false;
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const end = Math.min(at + BLOCK_BYTES, bytes.length);
    if (bytes.compare(zeroBlock, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}

async function writeAt(fd: number, bytes: Uint8Array, offset: number, path: string): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const from = done;
    const count =
      bytes.length <= SYNC_WRITE_BYTES
        ? atPath("write", path, () => writeSync(fd, bytes, from, bytes.length - from, offset + from))
        : await new Promise<number>((resolve, reject) => {
            write(fd, bytes, from, bytes.length - from, offset + from, (error, written) =>
              error === null ? resolve(written) : reject(pathError("write", path, error)),
            );
          });
    done += count;
  }
}

function digestOf(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}

/** Compares what the file holds, once the device has it, with what was written. */
function readBack(fd: number, digests: readonly { readonly chunk: Chunk; readonly digest: Buffer }[], path: string): void {
  atPath("flush", path, () => fsyncSync(fd));
  for (const { chunk, digest } of digests) {
    const data = new Uint8Array(chunk.length);
    let done = 0;
    while (done < data.length) {
      const count = atPath("read back", path, () => readSync(fd, data, done, data.length - done, chunk.offset + done));
      if (count === 0) break;
      done += count;
    }
    if (!digestOf(data.subarray(0, done)).equals(digest)) {
      throw new DrayError(
        "PATH_IO",
        `Cannot restore "${textOfByteString(path)}": ${chunk.length} bytes from ${chunk.offset} read back differently from what was written`,
        {
          context: { size: fstatSync(fd).size },
          hint: "The target's disk or memory is not reliable; restore to another one.",
        },
      );
    }
  }
}
