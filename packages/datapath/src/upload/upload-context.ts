/** What every part of one upload shares. */
import type { Clock, Logger } from "@drayage/base";
import type { BatchFiles, DirectoryScan, Kernels, RewriteOptions, SystemCalls } from "@drayage/kernels";
import type { ObjectId, ObjectWriterContext, ObjectWriterOptions, PolicyTree, Repository, WrittenContent } from "@drayage/repo";
import type { ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";
import type { DeviceReading } from "./changed-blocks.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { StoreCounts } from "./lanes/jobs.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";

export interface UploadContext {
  readonly repository: Repository;
  readonly system: SystemCalls;
  /** Directories and small files many at a time. */
  readonly files: BatchFiles;
  /** What stores file data beside the walk; undefined where contents lie in no packs. */
  readonly lanes: UploadLanes | undefined;
  /** Name of the repository's splitter. */
  readonly splitter: string;
  /** Files that are shorter than this are one content. */
  readonly smallFileBytes: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal | undefined;
  readonly pacer: Pacer;
  readonly meter: ProgressMeter;
  /** Entries that are missing from the snapshot. */
  readonly problems: ProblemList;
  /** Entries that are in it, but not as they were: files that changed while they were read, attributes that could not be. */
  readonly warnings: ProblemList;
  readonly counts: UploadCounts;
  /** Of a device, what is read of it, and how long it is. */
  deviceReading: DeviceReading | undefined;
  deviceBytes: number | undefined;
  readonly checkpoints: Checkpoints;
  /** Compressor of file data, whatever policies say; none when undefined and no policy names one. */
  readonly compressor: string | undefined;
  readonly xattrs: boolean;
  /** What was seen of the source before the repository was open. */
  readonly scan: DirectoryScan | undefined;
  /** What the policies of the source say; undefined: everything is stored, by one compressor. */
  readonly policies: PolicyTree | undefined;
  /** What listings and lists of contents are written with. Made once: one object for each directory costs more than writing to it. */
  readonly metadataWriters: ObjectWriterContext;
  /** How listings of which little has changed are written anew in one call; undefined where nothing does that. */
  readonly rewrite: ListingRewrite | undefined;
}

export interface ListingRewrite extends RewriteOptions {
  /** Of what is compressed. */
  readonly headerId: number;
}

export interface UploadCounts {
  files: number;
  cachedFiles: number;
  directories: number;
  bytes: number;
  /** Of these, bytes of files that a parent, or another name of the file, had already. */
  cachedBytes: number;
  /** Left out because policies or ignore files say so. */
  excludedFiles: number;
  excludedDirectories: number;
  /** Of the problems, those that a policy does not count as errors. */
  ignoredErrors: number;
}

/** How one file is stored, where policies say so. */
export interface FileOptions {
  readonly compressor: string | undefined;
  readonly splitter: string | undefined;
}

/** Adds a content to the counters of progress. */
export function countContent(meter: ProgressMeter): (written: WrittenContent, length: number) => void {
  return (written, length) => {
    meter.counts.bytesHashed += length;
    if (written.isNew) meter.counts.bytesUploaded += written.packedLength;
    else meter.counts.bytesDeduplicated += length;
  };
}

/** The same for contents that were stored beside the walk. */
export function countStored(meter: ProgressMeter): (counts: StoreCounts) => void {
  return ({ hashed, known, packed, readMs, workMs, waitMs }) => {
    meter.spend({ reading: readMs, processor: workMs, storage: waitMs });
    meter.counts.bytesHashed += hashed;
    meter.counts.bytesDeduplicated += known;
    meter.counts.bytesUploaded += packed;
  };
}

/** What objects are written with: the repository's own, but for the compressor of listings and lists, of which the policy of the source has a say. */
export function objectWritersOf({ repository, policies }: Pick<UploadContext, "repository" | "policies">): ObjectWriterContext {
  const { objectWriters } = repository;
  // Where the index cannot say that a content is compressed none is.
  if (policies === undefined || objectWriters.metadataCompressor === undefined) return objectWriters;
  return { ...objectWriters, metadataCompressor: policies.effective.metadataCompressor };
}

/** How listings are written anew by the addon: where it makes the very contents that are written otherwise. */
export function rewriteOf(
  {
    files,
    contents,
    smallFileBytes,
    metadataCompressor,
  }: { readonly contents: Repository["contents"] } & Pick<Kernels, "files"> &
    Pick<UploadContext, "smallFileBytes"> &
    Pick<ObjectWriterContext, "metadataCompressor">,
  kernels: Kernels,
): ListingRewrite | undefined {
  const { hasher } = contents;
  const key = hasher?.blake2bKey;
  if (files !== kernels.files || hasher === undefined || key === undefined || contents.takesReady !== true) return undefined;
  const isCompressed = metadataCompressor !== undefined && metadataCompressor !== "" && metadataCompressor !== "none";
  const { zstdLevel: level, headerId } = isCompressed ? kernels.compressor(metadataCompressor) : NOT_COMPRESSED;
  return level === undefined ? undefined : { key, digestBytes: hasher.digestBytes, level, bytesMax: smallFileBytes, headerId };
}

const NOT_COMPRESSED = { zstdLevel: 0, headerId: 0 } as const;

/** The compressor of a file's data, undefined for none. */
export function compressorOf(context: UploadContext, options: FileOptions | undefined): string | undefined {
  const compressor = context.compressor ?? options?.compressor;
  return compressor === "none" || compressor === "" ? undefined : compressor;
}

/** Options for writing file data. */
export function dataObjectOptions(context: UploadContext, partBytes?: number, options?: FileOptions): ObjectWriterOptions {
  const compressor = compressorOf(context, options);
  return {
    onContent: countContent(context.meter),
    ...(compressor === undefined ? {} : { compressor }),
    ...(options?.splitter === undefined ? {} : { splitter: options.splitter }),
    ...(partBytes === undefined ? {} : { partBytes }),
  };
}

export interface UploadedData {
  readonly objectId: ObjectId;
  /** Bytes stored. */
  readonly size: number;
}
