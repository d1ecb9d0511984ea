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
import { dataObjectOptions, type UploadContext, type UploadedData } from "./upload-context.ts";

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

/** Stores the file and closes it. Throws PATH_IO and the like for the file, REPO_* and BLOB_* for the repository. */
export async function uploadFile(context: UploadContext, file: OpenFile, path: string, register: (object: ObjectWriter) => () => void): Promise<UploadedData> {
  const { fd, stat } = file;
  const size = Number(stat.size);
  const object = new ObjectWriter(
    context.repository.objectWriters,
    dataObjectOptions(context, size > PARALLEL_UPLOAD_ABOVE_BYTES ? PARALLEL_UPLOAD_ABOVE_BYTES : undefined),
  );
  const unregister = register(object);
  try {
    const length = size <= SMALL_FILE_BYTES ? await uploadSmall(context, object, file, path) : await uploadLarge(context, object, file, path);
    const { objectId } = await object.finish(context.signal);
    noteChange(context, fd, stat, length, path);
    return { objectId, size: length };
  } finally {
    unregister();
    object.abandon();
    closeSync(fd);
  }
}

async function uploadSmall(context: UploadContext, object: ObjectWriter, { fd, stat }: OpenFile, path: string): Promise<number> {
  const size = Number(stat.size);
  let done = 0;
  while (done < size) {
    const target = object.reserve(size - done);
    const count = atPath("read", path, () => readSync(fd, target, 0, size - done, done));
    if (count === 0) break;
    await object.commit(count, context.signal);
    done += count;
  }
  context.meter.counts.bytesDone += size;
  return done;
}

async function uploadLarge(context: UploadContext, object: ObjectWriter, { fd, stat, holes }: OpenFile, path: string): Promise<number> {
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
  for (;;) {
    const next = await pieces.next().catch((error: unknown) => {
      throw pathError("read", path, error);
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
  // A hole at the end; a file that shrank keeps the length that it has now.
  const end = Math.min(size, Number(atPath("examine", path, () => fstatSync(fd, { bigint: true })).size));
  if (holes.at(-1) !== undefined) await reached(end);
  return done;
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

function noteChange(context: UploadContext, fd: number, before: FileStat, length: number, path: string): void {
  const after = atPath("examine", path, () => fstatSync(fd, { bigint: true }));
  if (length < Number(before.size)) context.warnings.add(path, `shrank from ${before.size} to ${length} bytes while it was read`);
  else if (after.size !== before.size || after.mtimeNs !== before.mtimeNs) context.warnings.add(path, "changed while it was read");
}
