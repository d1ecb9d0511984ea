import { equalBytes, errorFields, hasCode, type Logger } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";

/**
 * What is done about a blob whose put failed. A store without atomic puts may have kept a part of it, which would keep everybody from opening the repository: that goes. A put that
 * took effect although it failed, or although nobody waits for it any more, leaves a whole blob: that stays, since others may rely on what it names from the moment it is there.
 * Never throws: what cannot be found out now is logged.
 */
export async function removeTornBlob(storage: BlobStorage, { id, data }: { readonly id: string; readonly data: Uint8Array }, logger: Logger): Promise<void> {
  try {
    if (!equalBytes(await storage.get(id), data)) await storage.delete(id);
  } catch (error) {
    if (!hasCode(error, "BLOB_NOT_FOUND")) logger.warn("Cannot tell whether a blob whose put failed is whole", { blobId: id, ...errorFields(error) });
  }
}
