/** What every part of one upload shares. */
import type { Clock, Logger } from "@drayage/base";
import type { SystemCalls } from "@drayage/kernels";
import type { ObjectId, ObjectWriterOptions, Repository, WrittenContent } from "@drayage/repo";
import type { ProblemList } from "../entry-problems.ts";
import type { Pacer } from "../pacer.ts";
import type { ProgressMeter } from "../progress.ts";
import type { Checkpoints } from "./checkpoints.ts";

export interface UploadContext {
  readonly repository: Repository;
  readonly system: SystemCalls;
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
  readonly checkpoints: Checkpoints;
  /** Files being read at once. */
  readonly parallel: number;
  /** Compressor of file data; none when undefined. */
  readonly compressor: string | undefined;
  readonly xattrs: boolean;
}

export interface UploadCounts {
  files: number;
  cachedFiles: number;
  directories: number;
  bytes: number;
  /** Of these, bytes of files that a parent, or another name of the file, had already. */
  cachedBytes: number;
}

/** Adds a content to the counters of progress. */
export function countContent(meter: ProgressMeter): (written: WrittenContent, length: number) => void {
  return (written, length) => {
    meter.counts.bytesHashed += length;
    if (written.isNew) meter.counts.bytesUploaded += written.packedLength;
    else meter.counts.bytesDeduplicated += length;
  };
}

/** Options for writing file data. */
export function dataObjectOptions(context: UploadContext, partBytes?: number): ObjectWriterOptions {
  return {
    onContent: countContent(context.meter),
    ...(context.compressor === undefined ? {} : { compressor: context.compressor }),
    ...(partBytes === undefined ? {} : { partBytes }),
  };
}

export interface UploadedData {
  readonly objectId: ObjectId;
  /** Bytes stored. */
  readonly size: number;
}
