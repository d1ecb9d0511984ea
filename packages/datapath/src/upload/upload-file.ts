/**
 * Uploads the bytes of one regular file.
 *
 * The size is that of the moment of opening: a file that grows is read to there, one that shrinks ends early and is stored as short as it was. Holes are not read.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import type { Extent } from "@drayage/kernels";
import { type Hole, ObjectWriter, PARALLEL_UPLOAD_ABOVE_BYTES } from "@drayage/repo";
import type { AnchoredDirectory } from "../anchored-directory.ts";
import { atPath, pathError } from "../path-errors.ts";
import { feed } from "./feed.ts";
import { PIECE_BYTES, readAhead } from "./read-ahead.ts";
import type { FileStat } from "./source-entry.ts";
import type { Register } from "./store-file.ts";
import { dataObjectOptions, type FileOptions, type UploadContext, type UploadedData } from "./upload-context.ts";

/** Files up to this size are read in one synchronous call; a round trip to the thread pool would cost more than the read. */
export const SMALL_FILE_BYTES = 1 << 20;

export interface OpenFile {
  readonly fd: number;
  /** As it was when the file was opened. */
  readonly stat: FileStat;
  readonly holes: readonly Hole[];
}

/** Opens an entry as a regular file, without following a link and without waiting for a FIFO. Undefined when it has become something else. */
export function openRegularFile(context: UploadContext, directory: AnchoredDirectory, name: string): OpenFile | undefined {
  const path = directory.pathOf(name);
  const fd = atPath("open", path, () => openSync(directory.child(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
  try {
    const stat = atPath("examine", path, () => fstatSync(fd, { bigint: true }));
    if (stat.isFile()) return { fd, stat, holes: holesOf(context, fd, stat, path) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}

/**
 * Stores the file and closes it. `path` is its place below the root, `where` the whole path for messages of errors.
 * Throws PATH_IO and the like for the file, REPO_* and BLOB_* for the repository.
 */
export async function uploadFile(
  context: UploadContext,
  file: OpenFile,
  { path, where }: { readonly path: string; readonly where: string },
  register: Register,
  options?: FileOptions,
): Promise<UploadedData> {
  const { fd, stat } = file;
  const size = Number(stat.size);
  const object = new ObjectWriter(
    context.metadataWriters,
    dataObjectOptions(context, size > PARALLEL_UPLOAD_ABOVE_BYTES ? PARALLEL_UPLOAD_ABOVE_BYTES : undefined, options),
  );
  const unregister = register(() => object.checkpoint(new Uint8Array(0), context.signal));
  try {
    const { length, change } = size <= SMALL_FILE_BYTES ? await uploadSmall(context, object, file, where) : await uploadLarge(context, object, file, where);
    const { objectId } = await object.finish(context.signal);
    if (length < size) context.warnings.add(path, `shrank from ${size} to ${length} bytes while it was read`);
    else if (change) context.warnings.add(path, "changed while it was read");
    return { objectId, size: length };
  } finally {
    unregister();
    object.abandon();
    closeSync(fd);
  }
}

interface Read {
  /** Bytes that were there to be read, up to the size at opening. */
  readonly length: number;
  /** Whether the file was seen to change. */
  readonly change: boolean;
}

async function uploadSmall(context: UploadContext, object: ObjectWriter, { fd, stat }: OpenFile, where: string): Promise<Read> {
  const size = Number(stat.size);
  let done = 0;
  let change = false;
  while (done < size) {
    // One byte more than there should be shows growth without another stat.
    const target = object.reserve(size - done + 1);
    const count = atPath("read", where, () => readSync(fd, target, 0, size - done + 1, done));
    if (count === 0) break;
    change ||= count > size - done;
    const taken = Math.min(count, size - done);
    await object.commit(taken, context.signal);
    done += taken;
  }
  context.meter.counts.bytesDone += size;
  return { length: done, change };
}

async function uploadLarge(context: UploadContext, object: ObjectWriter, { fd, stat, holes }: OpenFile, where: string): Promise<Read> {
  const size = Number(stat.size);
  const { signal, meter } = context;
  let done = 0;
  const reached = async (offset: number): Promise<void> => {
    if (offset <= done) return;
    await object.writeZeros(offset - done, signal);
    meter.counts.bytesDone += offset - done;
    done = offset;
  };
  const pieces = readAhead(fd, dataBetween(holes, size), [new Uint8Array(PIECE_BYTES), new Uint8Array(PIECE_BYTES)]);
  try {
    for (;;) {
      const next = await pieces.next().catch((error: unknown) => {
        throw pathError("read", where, error);
      });
      if (next.done === true) break;
      const { offset, data } = next.value;
      await reached(offset);
      await feed(object, data, signal);
      done += data.length;
      meter.counts.bytesDone += data.length;
      await context.checkpoints.saveIfDue();
      await context.pacer.pace(64);
      if (data.length === 0) break;
    }
  } finally {
    await pieces.return();
  }
  const after = atPath("examine", where, () => fstatSync(fd, { bigint: true }));
  // A hole at the end; a file that shrank keeps the length that it has now.
  if (holes.length > 0) await reached(Math.min(size, Number(after.size)));
  return { length: done, change: after.size !== stat.size || after.mtimeNs !== stat.mtimeNs };
}

/** The ranges that hold data. */
function* dataBetween(holes: readonly Hole[], size: number): Generator<Extent> {
  let at = 0;
  for (const hole of holes) {
    if (hole.offset > at) yield { offset: at, length: hole.offset - at };
    at = hole.offset + hole.length;
  }
  if (at < size) yield { offset: at, length: size - at };
}

const BLOCK_BYTES = 512n;

function holesOf(context: UploadContext, fd: number, stat: FileStat, path: string): Hole[] {
  if (stat.blocks * BLOCK_BYTES >= stat.size) return [];
  const size = Number(stat.size);
  const holes: Hole[] = [];
  let at = 0;
  for (const extent of atPath("find the holes of", path, () => context.system.dataExtents(fd, size))) {
    if (extent.offset > at) holes.push({ offset: at, length: extent.offset - at });
    at = Math.max(at, extent.offset + extent.length);
  }
  if (at < size) holes.push({ offset: at, length: size - at });
  return holes;
}
