/**
 * The two forms in which Velero stores a device, and so do we.
 *
 *   stream   its file-system mover: a file named by the device's path, cut as every file is (velero.md 8.3)
 *   blocks   its block mover, of a later release: a list of blocks of exactly 1 MiB, each an object of its own, the last padded with zeros (velero.md 12;
 *            read from pkg/uploader/block and pkg/repository/udmrepo/kopialib of its main branch)
 *
 * Blocks at fixed places tell more finely what changed; a stream is found again by everything that is in the repository as one.
 */
import { DrayError } from "@drayage/base";
import { type ChunkList, type ObjectId, type SnapshotSource, writeIndirectList } from "@drayage/repo";
import { objectOf } from "./store-file.ts";
import type { UploadContext } from "./upload-context.ts";

export type BlockFormName = "stream" | "blocks";

/** What Go's zero time becomes in 64 bits of nanoseconds: the time of what Velero makes up. */
export const NO_TIME_NS = -6_795_364_578_871_345_152n;

const BLOCK_BYTES = 1 << 20;
/** Of the list of blocks, which Velero cuts by itself: one of a device of 1 TiB has some 100 MiB of text. */
const LIST_SPLITTER = "FIXED-128K";

export interface BlockForm {
  /** Undefined for the repository's own. */
  readonly splitter: string | undefined;
  /** Of the device's file. */
  fileName(path: string, source: SnapshotSource): string;
  fileTimeNs(nowNs: bigint): bigint;
  /** Bytes of the object for a device of so many. */
  objectBytes(deviceBytes: number): number;
  join(context: UploadContext, chunks: ChunkList): Promise<ObjectId>;
  /** Throws REPO_CORRUPT when an object before has other cuts than this form. */
  checkParent(chunks: ChunkList): void;
}

export const BLOCK_FORMS: Readonly<Record<BlockFormName, BlockForm>> = {
  stream: {
    splitter: undefined,
    fileName: (path) => path,
    fileTimeNs: (nowNs) => nowNs,
    objectBytes: (deviceBytes) => deviceBytes,
    join: objectOf,
    checkParent: () => undefined,
  },
  blocks: {
    splitter: "FIXED-1M",
    fileName: (_path, { path }) => path.replaceAll(/[/\\]/g, "-").replaceAll(/^-+|-+$/g, ""),
    fileTimeNs: () => NO_TIME_NS,
    objectBytes: (deviceBytes) => Math.ceil(deviceBytes / BLOCK_BYTES) * BLOCK_BYTES,
    // A list also of a single block: Velero goes on only from an object that is one.
    join: (context, chunks) => writeIndirectList(context.metadataWriters, chunks, { splitter: LIST_SPLITTER }, context.signal),
    checkParent: (chunks) => {
      for (const { offset, length } of chunks)
        if (length !== BLOCK_BYTES)
          throw new DrayError("REPO_CORRUPT", `Cannot go on from an object whose block at ${offset} has ${length} bytes: ${BLOCK_BYTES} are wanted`);
    },
  },
};
