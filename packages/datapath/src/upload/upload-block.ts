/**
 * Uploads a block device in the form of Velero's file-system mover: a directory named after the device, holding one file of that name (slashes included) with all its bytes
 * (velero.md 8.3). Always read whole; runs of zeros cost next to nothing.
 *
 * The device is read with direct I/O where it takes it: a whole disk must not drive everything else out of the page cache, which counts against the pod's memory.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { type DirectoryEntry, DirectoryListingWriter, ObjectWriter, type WrittenObject } from "@drayage/repo";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import type { DirectoryUnderWay, FileUnderWay } from "./checkpoints.ts";
import { feed } from "./feed.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";
import { PIECE_BYTES, readAhead } from "./read-ahead.ts";
import { type PartialData, partialObject, type StoredData, storeFile } from "./store-file.ts";
import { compressorOf, countContent, dataObjectOptions, type UploadContext } from "./upload-context.ts";

const MODE = 0o777;
/** What Go's zero time becomes in 64 bits of nanoseconds: the time of Velero's virtual directory. */
const NO_TIME_NS = -6_795_364_578_871_345_152n;

/**
 * Stores the device and gives the root entry. `path` is a byte string.
 * Throws PATH_NOT_FOUND, NOT_PERMITTED, PATH_IO: a device that cannot be read to its end has no snapshot.
 */
export async function uploadBlockDevice(context: UploadContext, path: string): Promise<DirectoryEntry> {
  const { fd, direct } = openDevice(path);
  try {
    const size = atPath("get the size of", path, () => context.system.blockDeviceSize(fd));
    context.meter.counts.bytesTotal = size;
    context.meter.counts.filesTotal = 1;
    context.meter.counts.totalIsExact = true;
    return await storeDevice(context, path, { fd, direct, size });
  } finally {
    closeSync(fd);
  }
}

async function storeDevice(
  context: UploadContext,
  path: string,
  { fd, direct, size }: { readonly fd: number; readonly direct: boolean; readonly size: number },
): Promise<DirectoryEntry> {
  const { repository, signal, clock, meter, counts } = context;
  const facts = { name: path, mode: MODE, uid: 0, gid: 0 };
  const listing = new DirectoryListingWriter(repository.objectWriters, countContent(meter));
  const object = new ObjectWriter(repository.objectWriters, dataObjectOptions(context));
  const root = { ...facts, type: "directory" as const, size: 0, mtimeNs: NO_TIME_NS };
  const file = { ...facts, type: "file" as const, size, mtimeNs: clock.nowNs() };
  let partial: FileUnderWay["partial"] = () => object.checkpoint(new Uint8Array(0), signal);
  const underWay: DirectoryUnderWay = {
    entry: root,
    listing,
    children: new Set(),
    files: new Set([{ entry: file, partial: () => partial() }]),
    closing: undefined,
  };
  context.checkpoints.root = underWay;
  try {
    const { objectId, length } =
      context.lanes === undefined
        ? await readDevice(context, path, fd, size, object)
        : await storeThroughLanes(context, context.lanes, { path, fd, size, direct }, (stored) => {
            partial = () => partialObject(context, stored);
          });
    underWay.files.clear();
    await listing.add({ ...file, size: length, objectId }, signal);
    counts.files++;
    counts.bytes += length;
    meter.counts.filesDone++;
    counts.directories++;
    return { ...root, ...(await listing.finish({ mtimeNs: root.mtimeNs }, signal)) };
  } finally {
    context.checkpoints.root = undefined;
    object.abandon();
    listing.abandon();
  }
}

async function storeThroughLanes(
  context: UploadContext,
  lanes: UploadLanes,
  { path, fd, size, direct }: { readonly path: string; readonly fd: number; readonly size: number; readonly direct: boolean },
  onPartial: (partial: PartialData) => void,
): Promise<StoredData> {
  const stored = await storeFile(context, lanes, {
    ...{ fd, size, holes: [], direct, onPartial, splitter: context.splitter, compressor: compressorOf(context, undefined) },
    onProgress: (bytes) => {
      context.meter.counts.bytesDone += bytes;
      context.checkpoints.saveSoon();
    },
  }).catch((error: unknown) => {
    throw pathError("read", path, error);
  });
  checkLength(path, stored.length, size);
  return stored;
}

async function readDevice(context: UploadContext, path: string, fd: number, size: number, object: ObjectWriter): Promise<WrittenObject> {
  const buffers = [context.system.alignedBuffer(PIECE_BYTES), context.system.alignedBuffer(PIECE_BYTES)] as const;
  const pieces = readAhead(fd, [{ offset: 0, length: size }], buffers);
  let done = 0;
  try {
    for (;;) {
      const next = await pieces.next().catch((error: unknown) => {
        throw pathError("read", path, error);
      });
      if (next.done === true) break;
      await feed(object, next.value.data, context.signal);
      done += next.value.data.length;
      context.meter.counts.bytesDone += next.value.data.length;
      await context.checkpoints.saveIfDue();
      await context.pacer.pace(64);
    }
  } finally {
    await pieces.return();
  }
  checkLength(path, done, size);
  return await object.finish(context.signal);
}

function checkLength(path: string, done: number, size: number): void {
  if (done !== size) throw new DrayError("PATH_IO", `Cannot read "${path}" to its end: it ended after ${done} bytes, ${size} were there when it was opened`);
}

function openDevice(path: string): { readonly fd: number; readonly direct: boolean } {
  const at = Buffer.from(path, "latin1");
  const open = (flags: number): number => openSync(at, constants.O_RDONLY | flags);
  const { fd, direct } = atPath("open device", path, () => {
    try {
      return { fd: open(constants.O_DIRECT), direct: true };
    } catch (error) {
      if (!hasErrno(error, "EINVAL")) throw error;
      return { fd: open(0), direct: false };
    }
  });
  if (!fstatSync(fd).isBlockDevice()) {
    closeSync(fd);
    throw new DrayError("USAGE", `Cannot upload "${path}" as a block device: it is none`, { hint: "Leave the block option out to back up a directory." });
  }
  return { fd, direct };
}
