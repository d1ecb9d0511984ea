/** Stores the data of one opened file through the lanes: its parts are ranges that are cut by themselves, and their chunks are joined in order. */
import { closeSync, fstatSync } from "node:fs";
import type { Extent } from "@drayage/kernels";
import { ChunkList, type ObjectId, PARALLEL_UPLOAD_ABOVE_BYTES, type WrittenObject, writeIndirectList } from "@drayage/repo";
import { atPath, pathError } from "../path-errors.ts";
import type { RangeChunks } from "./lanes/jobs.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";
import { appendChunks, STITCHED_FROM_BYTES, StitchedObject, within } from "./stitched-object.ts";
import { compressorOf, type FileOptions, type UploadContext, type UploadedData } from "./upload-context.ts";
import { type OpenFile, uploadFile } from "./upload-file.ts";

/** Makes known what is stored of a file that is under way; what it gives back ends that. */
export type Register = (partial: () => Promise<WrittenObject | undefined>) => () => void;

/**
 * Stores an opened file and closes it. `path` is its place below the root, `where` the whole path for messages of errors.
 * Throws PATH_IO and the like for the file, REPO_* and BLOB_* for the repository.
 */
export async function storeOpenFile(
  context: UploadContext,
  file: OpenFile,
  { path, where }: { readonly path: string; readonly where: string },
  register: Register,
  options?: FileOptions,
): Promise<UploadedData> {
  const { lanes, meter, checkpoints } = context;
  if (lanes === undefined) return await uploadFile(context, file, { path, where }, register, options);
  const size = Number(file.stat.size);
  let unregister: () => void = () => undefined;
  try {
    const { objectId, length } = await storeFile(context, lanes, {
      ...{ fd: file.fd, size, holes: file.holes, splitter: options?.splitter ?? context.splitter, compressor: compressorOf(context, options) },
      ...(size > PARALLEL_UPLOAD_ABOVE_BYTES ? { partBytes: PARALLEL_UPLOAD_ABOVE_BYTES } : {}),
      onProgress: (bytes) => {
        meter.counts.bytesDone += bytes;
        checkpoints.saveSoon();
      },
      onPartial: (partial) => {
        unregister = register(() => partialObject(context, partial));
      },
    }).catch((error: unknown) => {
      throw pathError("read", where, error);
    });
    const after = atPath("examine", where, () => fstatSync(file.fd, { bigint: true }));
    if (length < size) context.warnings.add(path, `shrank from ${size} to ${length} bytes while it was read`);
    else if (after.size !== file.stat.size || after.mtimeNs !== file.stat.mtimeNs) context.warnings.add(path, "changed while it was read");
    return { objectId, size: length };
  } finally {
    unregister();
    closeSync(file.fd);
  }
}

/** An object of the chunks that are stored so far; undefined where there are none. */
export async function partialObject(context: UploadContext, partial: PartialData, join = objectOf): Promise<WrittenObject | undefined> {
  const chunks = partial.chunks();
  return chunks.count === 0 ? undefined : { objectId: await join(context, chunks), length: chunks.totalLength };
}

export interface StoredData {
  readonly objectId: ObjectId;
  /** Where the data ended. */
  readonly length: number;
}

/** What of a file is stored so far, for a checkpoint. */
export interface PartialData {
  /** The chunks of its beginning. */
  chunks(): ChunkList;
}

export interface StoreFileOptions {
  readonly fd: number;
  readonly size: number;
  readonly holes: readonly Extent[];
  /** The object is cut afresh after every so many bytes. */
  readonly partBytes?: number;
  readonly direct?: boolean;
  /** Bytes of a device. @default 0, for a file */
  readonly deviceBytes?: number;
  readonly splitter: string;
  readonly compressor: string | undefined;
  readonly onProgress: (bytes: number) => void;
  readonly onPartial?: (partial: PartialData) => void;
  /** @default the one chunk, or a list of them */
  readonly join?: (context: UploadContext, chunks: ChunkList) => Promise<ObjectId>;
}

/** Throws what reading throws, with `code`; REPO_*, BLOB_*. The file stays open. */
export async function storeFile(context: UploadContext, lanes: UploadLanes, options: StoreFileOptions): Promise<StoredData> {
  const { fd, size, holes, splitter, compressor, partBytes = Number.POSITIVE_INFINITY, direct = false, deviceBytes = 0 } = options;
  if (lanes.threads > 1 && size >= STITCHED_FROM_BYTES && size < partBytes) return await storeStitched(context, lanes, options);
  const parts: ChunkList[] = [];
  const running: Promise<{ readonly end: number }>[] = [];
  options.onPartial?.({ chunks: () => joined(parts) });
  try {
    // A file that fills its parts ends in an empty one, as Kopia has it.
    for (let from = 0; from <= size; from += partBytes) {
      const to = Math.min(from + partBytes, size);
      const chunks = new ChunkList();
      parts.push(chunks);
      await lanes.room();
      const onChunks = (cut: RangeChunks): void => {
        appendChunks(chunks, cut);
        options.onProgress(cut.lengths.reduce((sum, length) => sum + length, 0));
      };
      const job = { kind: "range", fd, from, to, lead: 0, isOpen: false, holes: within(holes, from, to), splitter, compressor, direct, deviceBytes } as const;
      running.push(lanes.range(job, onChunks));
    }
    let whole = 0;
    for (const [i, part] of running.entries()) {
      whole = i + 1;
      // What lies behind the end of a file that shrank would be put in the wrong place.
      if ((await part).end < Math.min((i + 1) * partBytes, size)) break;
    }
    const chunks = joined(parts.slice(0, whole));
    return { objectId: await (options.join ?? objectOf)(context, chunks), length: chunks.totalLength };
  } finally {
    // Nobody may read on from a descriptor that is about to be closed.
    await Promise.allSettled(running);
  }
}

/** The same of a large one, cut by several threads. */
async function storeStitched(context: UploadContext, lanes: UploadLanes, options: StoreFileOptions): Promise<StoredData> {
  const { size, direct = false, deviceBytes = 0, onProgress, onPartial } = options;
  const maxChunkBytes = context.repository.objectWriters.createSplitter(options.splitter).maxChunkBytes;
  const stitched = new StitchedObject(lanes, { ...options, from: 0, to: size, direct, deviceBytes, maxChunkBytes, onProgress: (bytes) => onProgress(bytes) });
  onPartial?.({ chunks: () => stitched.chunks });
  const chunks = await stitched.run();
  return { objectId: await (options.join ?? objectOf)(context, chunks), length: chunks.totalLength };
}

/** The object of these chunks. */
export async function objectOf(context: UploadContext, chunks: ChunkList): Promise<ObjectId> {
  return chunks.count === 1 ? chunks.at(0).objectId : await writeIndirectList(context.metadataWriters, chunks, {}, context.signal);
}

/** The parts of the beginning that have chunks. */
function joined(parts: readonly ChunkList[]): ChunkList {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const all = new ChunkList();
  for (const part of parts) for (const chunk of part) all.append(chunk.objectId, chunk.length);
  return all;
}
