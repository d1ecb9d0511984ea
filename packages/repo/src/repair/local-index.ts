/** The index that a pack carries of itself, for the day on which the index blobs are lost (kopia-format.md 5.3). */
import { hasCode } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import type { ContentCodec } from "../content/content-codec.ts";
import { decodePostamble, openPackTail } from "../content/pack-layout.ts";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";

/** Holds the postamble, and the index of all but packs of many small contents. */
const FIRST_TAIL_BYTES = 64 << 10;
const POSTAMBLE_BYTES_MAX = 256;

/** The entries of a pack's own index that lie in the pack; undefined when it has none that can be read. Throws what the storage throws. */
export async function readLocalIndex(storage: BlobStorage, codec: ContentCodec, pack: BlobMetadata, signal?: AbortSignal): Promise<IndexEntry[] | undefined> {
  try {
    const tail = await lastBytes(storage, pack, FIRST_TAIL_BYTES, signal);
    const { offset } = decodePostamble(tail.subarray(Math.max(0, tail.length - POSTAMBLE_BYTES_MAX)));
    const needed = pack.length - offset;
    const whole = needed <= tail.length ? tail : await lastBytes(storage, pack, needed, signal);
    const index = decodeIndex(openPackTail(codec, whole, pack.length));
    const entries: IndexEntry[] = [];
    for (let position = 0; position < index.entryCount; position++) {
      const entry = index.entryAt(position);
      // A pack's index may also say what was deleted elsewhere while it was open.
      if (entry.packBlobId === pack.id && entry.packOffset + entry.packedLength <= offset) entries.push({ ...entry, key: entry.key.slice() });
    }
    return entries;
  } catch (error) {
    if (hasCode(error, "REPO_CORRUPT", "BLOB_INVALID_RANGE")) return undefined;
    throw error;
  }
}

async function lastBytes(storage: BlobStorage, { id, length }: BlobMetadata, count: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const wanted = Math.max(0, Math.min(length, count));
  return await storage.get(id, { offset: length - wanted, length: wanted, ...(signal === undefined ? {} : { signal }) });
}
