/** The SnapshotMetadata service of the driver: which blocks of a snapshot were written, and which since another one, also one that is deleted. */
import { type BlockMetadataResponse, csiError, type SnapshotMetadataMethods } from "@drayage/protocols/csi";
import { type BlockChecksums, CHECKSUM_BLOCK_BYTES, differingBlocks } from "./block-checksums.ts";
import type { RecordFile, SnapshotRecord } from "./storage-record.ts";
import type { VolumeStorage } from "./volume-storage.ts";

export interface SnapshotMetadataContext {
  readonly records: RecordFile;
  readonly storage: VolumeStorage;
  readonly checksums: BlockChecksums;
}

const RESULTS_MAX = 1000;

export function snapshotMetadataService({ records, storage, checksums }: SnapshotMetadataContext): SnapshotMetadataMethods {
  const checksumsOf = (snapshot: SnapshotRecord, signal: AbortSignal): Promise<Buffer> => checksums.of(snapshot.id, storage.snapshotPath(snapshot), signal);

  /** The snapshot by its id. Only what lies in an image has blocks. */
  async function imageOf(id: string, action: string): Promise<SnapshotRecord> {
    const snapshot = (await records.load()).snapshots[id];
    if (snapshot === undefined || snapshot.deleted === true) throw csiError("NOT_FOUND", `Cannot ${action}: there is no snapshot "${id}"`);
    if (snapshot.backing !== "image") throw csiError("INVALID_ARGUMENT", `Cannot ${action}: snapshot "${id}" is that of a folder, which has no blocks`);
    return snapshot;
  }

  return {
    async *GetMetadataAllocated({ snapshotId, startingOffset, maxResults }, signal) {
      const snapshot = await imageOf(snapshotId, "list the allocated blocks");
      yield* responses(differingBlocks(await checksumsOf(snapshot, signal), undefined), snapshot, { startingOffset, maxResults });
    },
    async *GetMetadataDelta({ baseSnapshotId, targetSnapshotId, startingOffset, maxResults }, signal) {
      const target = await imageOf(targetSnapshotId, "list the changed blocks");
      const base = (await records.load()).snapshots[baseSnapshotId];
      if (base !== undefined && base.volumeId !== target.volumeId)
        throw csiError("INVALID_ARGUMENT", `Cannot list the changed blocks: snapshots "${baseSnapshotId}" and "${targetSnapshotId}" are not of one volume`);
      const kept = base === undefined || base.deleted === true ? await checksums.find(baseSnapshotId) : await checksumsOf(base, signal);
      if (kept === undefined) throw csiError("NOT_FOUND", `Cannot list the changed blocks: nothing is known of snapshot "${baseSnapshotId}"`);
      yield* responses(differingBlocks(await checksumsOf(target, signal), kept), target, { startingOffset, maxResults });
    },
  };
}

function* responses(
  blocks: Iterable<number>,
  { sizeBytes }: SnapshotRecord,
  { startingOffset, maxResults }: { readonly startingOffset: string; readonly maxResults: number },
): Generator<BlockMetadataResponse> {
  const from = Number(startingOffset);
  if (!Number.isSafeInteger(from) || from < 0 || (from > 0 && from >= sizeBytes))
    throw csiError("OUT_OF_RANGE", `Cannot list blocks from ${startingOffset}: the volume has ${sizeBytes} bytes`);
  const most = maxResults > 0 ? Math.min(maxResults, RESULTS_MAX) : RESULTS_MAX;
  const answer = (blockMetadata: BlockMetadataResponse["blockMetadata"]): BlockMetadataResponse => ({
    ...{ blockMetadataType: "FIXED_LENGTH", volumeCapacityBytes: String(sizeBytes), blockMetadata },
  });
  let page: { byteOffset: string; sizeBytes: string }[] = [];
  for (const block of blocks) {
    const offset = block * CHECKSUM_BLOCK_BYTES;
    if (offset + CHECKSUM_BLOCK_BYTES <= from) continue;
    page.push({ byteOffset: String(offset), sizeBytes: String(CHECKSUM_BLOCK_BYTES) });
    if (page.length < most) continue;
    yield answer(page);
    page = [];
  }
  if (page.length > 0) yield answer(page);
}
