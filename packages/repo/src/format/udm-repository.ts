/**
 * `udmrepo.Repository`: Velero's mark that a repository was set up completely. Plain JSON `{"uniqueID":"<base64>"}` with the id of `kopia.repository`.
 * Kopia ignores the blob. A Velero that finds a repository without it sets it up again; one with another id counts as damaged.
 */
import { DrayError, equalBytes, hasCode, toBase64, utf8 } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { JsonReader, parseJsonObject } from "./go-json.ts";

export const UDM_REPOSITORY_ID = "udmrepo.Repository";

export async function writeUdmRepository(storage: BlobStorage, uniqueId: Uint8Array, signal?: AbortSignal): Promise<void> {
  await storage.put(UDM_REPOSITORY_ID, utf8(JSON.stringify({ uniqueID: toBase64(uniqueId) })), signal === undefined ? {} : { signal });
}

/** The unique id that the mark names, or undefined when there is no mark. Throws REPO_CORRUPT for one that cannot be read. */
export async function readUdmRepository(storage: BlobStorage, signal?: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    const bytes = await storage.get(UDM_REPOSITORY_ID, signal === undefined ? {} : { signal });
    return new JsonReader(parseJsonObject(bytes, `"${UDM_REPOSITORY_ID}"`), `"${UDM_REPOSITORY_ID}"`).bytes("uniqueID");
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** Whether the mark is there. Throws REPO_CORRUPT when it is that of another repository. */
export async function checkUdmRepository(storage: BlobStorage, uniqueId: Uint8Array, signal?: AbortSignal): Promise<boolean> {
  const marked = await readUdmRepository(storage, signal);
  if (marked === undefined) return false;
  if (!equalBytes(marked, uniqueId)) {
    throw new DrayError("REPO_CORRUPT", `Cannot use repository at "${storage.description}": "${UDM_REPOSITORY_ID}" belongs to another repository`);
  }
  return true;
}
