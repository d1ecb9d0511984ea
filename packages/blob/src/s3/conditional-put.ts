import { hasCode, type RandomSource, randomHex } from "@drayage/base";
import type { S3Options } from "./s3-options.ts";
import { openS3Storage } from "./s3-storage.ts";

/**
 * Whether the store honours `If-None-Match: *`: writes a probe blob, then conditionally writes it again, then removes it.
 * Servers that do not know the header overwrite without a word, so asking is the only way to tell.
 */
export async function probeConditionalPut(options: S3Options, random: RandomSource, signal?: AbortSignal): Promise<boolean> {
  const storage = await openS3Storage({ ...options, conditionalPut: true });
  const id = `_probe_${randomHex(random, 8)}`;
  const abort = signal === undefined ? {} : { signal };
  try {
    await storage.put(id, new Uint8Array([1]), abort);
    await storage.put(id, new Uint8Array([2]), { ...abort, ifAbsent: true });
    return false;
  } catch (error) {
    if (hasCode(error, "BLOB_ALREADY_EXISTS")) return true;
    if (hasCode(error, "NOT_SUPPORTED", "BLOB_BAD_CONFIG")) return false;
    throw error;
  } finally {
    await storage.delete(id).catch(() => undefined);
    await storage.close();
  }
}
