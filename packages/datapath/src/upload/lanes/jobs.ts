/** What the walk asks of the threads that read, hash and seal, and what they answer. All of it can be passed between threads. */
import type { EntryExtension, KnownToLane, LaneOptions, SealedPack } from "@drayage/repo/sealing-lane";

/** Small files of one directory: each becomes one content, and its entry of the listing. */
export interface FilesJob {
  readonly kind: "files";
  /** Of the open directory. Descriptors belong to the process: every thread may use them. */
  readonly directory: number;
  readonly names: Uint8Array<ArrayBuffer>;
  readonly ends: Uint32Array<ArrayBuffer>;
  /** What the files are likely to have in all. */
  readonly bytes: number;
  readonly compressor: string | undefined;
  /** Whether extended attributes are asked for. */
  readonly attributes: boolean;
  /** Files of so many bytes are left to the walk: they are more than one content. */
  readonly bytesMax: number;
  /** What an entry has besides: for files with several names or with attributes. A file that turns out to have some and is not named here is left to the walk. */
  readonly extensions?: readonly (FileExtension | undefined)[];
}

export interface FileExtension {
  readonly extension: EntryExtension;
  /** Of a file with several names, which one of them it must still be. */
  readonly inode?: bigint;
}

/** More than FILE_STATUS has: the file is not the one, or not of the kind, that the job is for. */
export const LEFT_TO_WALK = -4;

export interface FilesResult {
  /** A row for each file (batch-files.ts). Status 0: stored; its size is what was stored. */
  readonly rows: Float64Array<ArrayBuffer>;
  /** The entries of the files that were stored, with a comma between each two; `ends[i]` is where that of file i ends. A file that was not stored has none. */
  readonly text: Uint8Array<ArrayBuffer>;
  readonly ends: Uint32Array<ArrayBuffer>;
  /** Of the files that were stored. */
  readonly total: FilesTotal;
  /** Whether all were stored, and none grew meanwhile: then no row has to be looked at. */
  readonly isPlain: boolean;
  readonly counts: StoreCounts;
}

export interface FilesTotal {
  readonly files: number;
  readonly bytes: number;
  /** The newest time of a change. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** A range of a file or device, cut as if an object began with it, and ended with it unless it is open. */
export interface RangeJob {
  readonly kind: "range";
  readonly fd: number;
  readonly from: number;
  readonly to: number;
  /** Chunks that begin before so many bytes of it are found, and not stored: cuts are not in step yet. */
  readonly lead: number;
  /** The object goes on behind it: what follows its last cut is not stored. */
  readonly isOpen: boolean;
  /** Where there is nothing to read: offset and length, in order, within the range. */
  readonly holes: readonly number[];
  readonly splitter: string;
  readonly compressor: string | undefined;
  /** The file was opened for direct I/O: memory, offsets and lengths of reads are multiples of a block. */
  readonly direct: boolean;
  /** Bytes of a device, 0 for a file, which is asked itself. What lies behind its end is a hole. */
  readonly deviceBytes: number;
}

/** Chunks of a range, in order, as they are stored. */
export interface RangeChunks {
  /** Where the first of them begins in the file. */
  readonly offset: number;
  readonly hashes: Uint8Array<ArrayBuffer>;
  readonly lengths: Uint32Array<ArrayBuffer>;
  /** Of the chunk that a run of zeros is cut into, where there was one in the range. */
  readonly zeroHash?: Uint8Array<ArrayBuffer> | undefined;
  readonly counts: StoreCounts;
}

export interface RangeResult {
  /** Where the data ended: before `to` when the file is shorter by now. */
  readonly end: number;
  readonly digestBytes: number;
}

/** Bytes: hashed, of these known already, and added to packs; and where the time went, in milliseconds. */
export interface StoreCounts {
  readonly hashed: number;
  readonly known: number;
  readonly packed: number;
  readonly readMs: number;
  readonly workMs: number;
  /** Waiting for memory, which packs on their way to the storage keep. */
  readonly waitMs: number;
}

export type Job = FilesJob | RangeJob;

/** So many small files, or so many bytes of them, are enough for one message. */
export const BUNDLE_FILES = 512;
export const BUNDLE_BYTES: number = 4 << 20;

/** The part of a message that a job fills: small jobs go together. */
export function shareOfBundle(job: Job): number {
  return job.kind === "range" ? 1 : Math.max(job.ends.length / BUNDLE_FILES, job.bytes / BUNDLE_BYTES);
}

export type ToThread =
  | { readonly kind: "jobs"; readonly jobs: readonly NumberedJob[] }
  | { readonly kind: "buffer"; readonly buffer: Uint8Array }
  | ({ readonly kind: "known" } & Partial<KnownToLane>)
  | { readonly kind: "deliver"; readonly turn: number }
  /** What is under way is given up. */
  | { readonly kind: "end" };

export type FromThread =
  | { readonly kind: "ready" }
  | { readonly kind: "pack"; readonly pack: SealedPack }
  /** `newestTable`: in which the lane claims contents from here on. */
  | { readonly kind: "delivered"; readonly turn: number; readonly newestTable: number }
  | { readonly kind: "chunks"; readonly id: number; readonly chunks: RangeChunks }
  | { readonly kind: "ended"; readonly jobs: readonly EndedJob[] };

export interface NumberedJob {
  readonly id: number;
  readonly job: Job;
}

export type EndedJob =
  | { readonly id: number; readonly result: FilesResult | RangeResult; readonly error?: undefined }
  | { readonly id: number; readonly error: TransferredError };

/** An error on its way between threads: classes and codes do not survive cloning. */
export interface TransferredError {
  readonly message: string;
  readonly code?: string;
  readonly errno?: number;
  readonly hint?: string;
  readonly context?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly isOurs: boolean;
}

export interface ThreadOptions {
  readonly lane: LaneOptions;
  readonly known: KnownToLane;
  readonly arenaBytes: number;
  readonly build: "native" | "portable";
  /** CONTROL words. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** That all threads of the process may take together, in parts of one. */
  readonly processors: number;
}

/** Words that a thread looks at between pieces of work, when no message reaches it: whether all is given up, and the turn of deliveries that is asked for. */
export const CONTROL = { canceled: 0, turn: 1 } as const;
export const CONTROL_WORDS = 2;

/** A job that was given up. */
export const CANCELED = "canceled";
