/**
 * Uploads a block device: a directory that holds one file with all its bytes, in the form of Velero's file-system mover or of its block mover (block-form.ts). Runs of zeros cost
 * next to nothing, and where the storage tells what has changed the rest is not read at all.
 *
 * The device is read with direct I/O where it takes it: a whole disk must not drive everything else out of the page cache, which counts against the pod's memory.
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { DrayError, errorFields } from "@drayage/base";
import type { Extent } from "@drayage/kernels";
import { ChunkList, type DirectoryEntry, DirectoryListingWriter, ObjectWriter, type Snapshot, type SnapshotSource, type WrittenObject } from "@drayage/repo";
import { atPath, hasErrno, pathError } from "../path-errors.ts";
import { blockFileOf } from "../restore/block-snapshot.ts";
import { BLOCK_FORMS, type BlockForm, type BlockFormName, NO_TIME_NS } from "./block-form.ts";
import { type BlockMap, CHANGE_TAGS, type ChangedBlocks, mapOf } from "./changed-blocks.ts";
import type { DirectoryUnderWay, FileUnderWay } from "./checkpoints.ts";
import { feed } from "./feed.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";
import { PIECE_BYTES, readAhead } from "./read-ahead.ts";
import { appendChunks, StitchedObject, type StitchedObjectOptions } from "./stitched-object.ts";
import { type PartialData, partialObject, type StoredData, type StoreFileOptions, storeFile } from "./store-file.ts";
import { compressorOf, countContent, dataObjectOptions, type UploadContext } from "./upload-context.ts";

const MODE = 0o777;

/** Unchanged contents that are read and compared all the same. */
const CHECKED_MAX = 8;

export interface BlockUploadOptions {
  /** Tells what has to be read. */
  readonly changedBlocks?: ChangedBlocks;
  /** The snapshot before. */
  readonly parent: Snapshot | undefined;
  readonly form: BlockFormName;
  readonly snapshotSource: SnapshotSource;
}

export interface StoredDevice {
  readonly rootEntry: DirectoryEntry;
  readonly deviceBytes: number;
}

interface Device {
  readonly path: string;
  readonly fd: number;
  readonly direct: boolean;
  /** Bytes of the device. */
  readonly size: number;
  /** Bytes of its object: as many, or padded. */
  readonly objectBytes: number;
  readonly form: BlockForm;
}

/** What need not be read: all but what changed since a parent, or what was never written. */
type Known = { readonly parent: ChunkList; readonly changed: BlockMap } | { readonly holes: readonly Extent[] };

/**
 * Stores the device. `path` is a byte string.
 * Throws PATH_NOT_FOUND, NOT_PERMITTED, PATH_IO: a device that cannot be read to its end has no snapshot.
 */
export async function uploadBlockDevice(context: UploadContext, path: string, options: BlockUploadOptions): Promise<StoredDevice> {
  const { fd, direct } = openDevice(path);
  const form = BLOCK_FORMS[options.form];
  try {
    const size = atPath("get the size of", path, () => context.system.blockDeviceSize(fd));
    const objectBytes = form.objectBytes(size);
    context.meter.counts.bytesTotal = objectBytes;
    context.meter.counts.filesTotal = 1;
    context.meter.counts.totalIsExact = true;
    return { rootEntry: await storeDevice(context, { path, fd, direct, size, objectBytes, form }, options), deviceBytes: size };
  } finally {
    closeSync(fd);
  }
}

async function storeDevice(context: UploadContext, device: Device, options: BlockUploadOptions): Promise<DirectoryEntry> {
  const { path, objectBytes, form } = device;
  const { repository, signal, clock, meter, counts } = context;
  const facts = { mode: MODE, uid: 0, gid: 0 };
  const listing = new DirectoryListingWriter(repository.objectWriters, countContent(meter));
  const object = new ObjectWriter(repository.objectWriters, dataObjectOptions(context, undefined, { compressor: undefined, splitter: form.splitter }));
  const root = { ...facts, name: path, type: "directory" as const, size: 0, mtimeNs: NO_TIME_NS };
  const name = form.fileName(path, options.snapshotSource);
  const file = { ...facts, name, type: "file" as const, size: objectBytes, mtimeNs: form.fileTimeNs(clock.nowNs()) };
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
        ? await readDevice(context, device, object)
        : await storeThroughLanes(context, context.lanes, device, options, (stored) => {
            partial = () => partialObject(context, stored, form.join);
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
  device: Device,
  options: BlockUploadOptions,
  onPartial: (partial: PartialData) => void,
): Promise<StoredData> {
  const { path, fd, size, direct, objectBytes, form } = device;
  const onProgress = (bytes: number): void => {
    context.meter.counts.bytesDone += bytes;
    context.checkpoints.saveSoon();
  };
  const known = await whatIsKnown(context, lanes, device, options);
  context.deviceReading = known === undefined ? "everything" : "parent" in known ? "changed" : "written";
  const padding = objectBytes > size ? [{ offset: size, length: objectBytes - size }] : [];
  const holes = [...(known !== undefined && "holes" in known ? known.holes : []), ...padding];
  const common = { fd, direct, holes, splitter: splitterOf(context, device), compressor: compressorOf(context, undefined), deviceBytes: size, join: form.join };
  const stored = await (known !== undefined && "parent" in known
    ? storeChanges(context, lanes, { ...common, to: objectBytes, parent: { chunks: known.parent, changed: known.changed }, onProgress, onPartial })
    : storeFile(context, lanes, { ...common, size: objectBytes, onPartial, onProgress })
  ).catch((error: unknown) => {
    throw pathError("read", path, error);
  });
  checkLength(path, stored.length, objectBytes);
  return stored;
}

function splitterOf(context: UploadContext, { form }: Device): string {
  return form.splitter ?? context.splitter;
}

async function storeChanges(
  context: UploadContext,
  lanes: UploadLanes,
  options: Omit<StitchedObjectOptions, "from" | "maxChunkBytes"> & Required<Pick<StoreFileOptions, "onPartial" | "join">>,
): Promise<StoredData> {
  const { maxChunkBytes } = context.repository.objectWriters.createSplitter(options.splitter);
  const { onProgress } = options;
  const stitched = new StitchedObject(lanes, {
    ...{ ...options, from: 0, maxChunkBytes },
    onProgress: (bytes, read) => {
      context.counts.cachedBytes += bytes - read;
      onProgress(bytes, read);
    },
  });
  options.onPartial({ chunks: () => stitched.chunks });
  const chunks = await stitched.run();
  return { objectId: await options.join(context, chunks), length: chunks.totalLength };
}

/** Undefined when the device is to be read whole, whatever the reason: it is in the log. */
async function whatIsKnown(context: UploadContext, lanes: UploadLanes, device: Device, options: BlockUploadOptions): Promise<Known | undefined> {
  const { changedBlocks, parent } = options;
  if (changedBlocks === undefined) return undefined;
  const { logger, signal } = context;
  const base = parent?.tags[CHANGE_TAGS.volumeId] === changedBlocks.volumeId ? parent.tags[CHANGE_TAGS.changeId] : undefined;
  try {
    if (base !== undefined && parent?.rootEntry !== undefined) {
      const chunks = await chunksOf(context, parent);
      device.form.checkParent(chunks);
      const changed = await mapOf(changedBlocks.ranges(base, signal), device.size);
      await checkUnchanged(context, lanes, device, chunks, changed);
      logger.info("Only what changed on the device is read", { bytes: changed.bytes, size: device.size, base, parent: parent.id });
      return { parent: chunks, changed };
    }
  } catch (error) {
    signal?.throwIfAborted();
    logger.warn("What changed since the last backup is not known, the device is read as if there were none", { base, ...errorFields(error) });
  }
  try {
    const written = await mapOf(changedBlocks.ranges(undefined, signal), device.size);
    logger.info("Only what was ever written to the device is read", { bytes: written.bytes, size: device.size });
    return { holes: [...written.runs(false)] };
  } catch (error) {
    signal?.throwIfAborted();
    logger.warn("Which parts of the device were ever written is not known, all of it is read", errorFields(error));
    return undefined;
  }
}

async function chunksOf({ repository, signal }: UploadContext, parent: Snapshot): Promise<ChunkList> {
  const root = parent.rootEntry?.objectId;
  const file = root === undefined ? undefined : await blockFileOf(repository, root, signal);
  if (file?.objectId === undefined) throw new DrayError("REPO_CORRUPT", `Cannot go on from snapshot "${parent.id}": it is not that of a device`);
  const chunks = new ChunkList();
  for await (const { objectId, length } of repository.objects.chunks(file.objectId, { signal })) chunks.append(objectId, length);
  return chunks;
}

/** A storage that forgets a change would spoil this backup and all that follow: some of what it says is unchanged is read. Throws PATH_IO when it is not as it was. */
async function checkUnchanged(context: UploadContext, lanes: UploadLanes, device: Device, chunks: ChunkList, changed: BlockMap): Promise<void> {
  const { fd, direct, size } = device;
  const unchanged: number[] = [];
  for (const { offset, length } of changed.runs(false)) {
    for (let i = chunks.indexAt(offset); i < chunks.count; i++) {
      const chunk = chunks.at(i);
      // The last one ended with the device of then.
      if (chunk.offset + chunk.length > offset + length || i === chunks.count - 1) break;
      if (chunk.offset >= offset && !chunk.objectId.startsWith("Z")) unchanged.push(i);
    }
  }
  // Other ones each time: whoever forgets changes is found out sooner or later.
  const first = Number(context.clock.nowNs() % BigInt(Math.max(1, unchanged.length)));
  const step = Math.max(1, Math.floor(unchanged.length / CHECKED_MAX));
  for (let i = 0; i < Math.min(CHECKED_MAX, unchanged.length); i++) {
    const chunk = chunks.at(unchanged[(first + i * step) % unchanged.length] ?? 0);
    const [from, to] = [chunk.offset, chunk.offset + chunk.length];
    const read = new ChunkList();
    await lanes.room();
    const job = { kind: "range", fd, from, to, lead: 0, isOpen: false, holes: [], deviceBytes: size, direct } as const;
    await lanes.range({ ...job, splitter: splitterOf(context, device), compressor: compressorOf(context, undefined) }, (cut) => appendChunks(read, cut));
    if (read.count !== 1 || read.at(0).objectId !== chunk.objectId)
      throw new DrayError("PATH_IO", `Cannot trust the changed blocks of the storage: what is at ${from} has changed, and they do not have it`);
  }
}

async function readDevice(context: UploadContext, { path, fd, size, objectBytes, form }: Device, object: ObjectWriter): Promise<WrittenObject> {
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
  if (objectBytes > size) await object.writeZeros(objectBytes - size, context.signal);
  const written = await object.finish(context.signal);
  if (form.splitter === undefined || written.objectId.startsWith("I")) return written;
  const only = new ChunkList();
  only.append(written.objectId, written.length);
  return { ...written, objectId: await form.join(context, only) };
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
