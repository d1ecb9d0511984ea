/** Finds a `kopia.repository` that opens, and settings that go with it, where those of the repository are lost. */
import { DrayError, equalBytes, hasCode } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { BLOB_CONFIG_ID } from "../format/blob-config.ts";
import { FORMAT_BLOB_ID, unframeFormatBlob } from "../format/format-blob.ts";
import { type FormatOptions, openRepositoryFormat, type RepositoryFormat } from "../format/repository-format.ts";
import type { StagedStorage } from "./staged-storage.ts";

/** A copy in a pack, where the format has such ones, is smaller. */
const EMBEDDED_BYTES_MAX = 65 << 10;
const PACKS_TRIED_MAX = 100;
const BACKUP_PREFIX = `${FORMAT_BLOB_ID}.backup.`;

/**
 * Opens the format, with what can be found in place of what is lost; every replacement is staged and told. A wrong password stays one.
 * Throws what opening throws when nothing helps.
 */
export async function repairFormat(
  staged: StagedStorage,
  copy: BlobStorage | undefined,
  options: FormatOptions,
  tell: (blob: string, problem: string, remedy: string) => void,
  signal?: AbortSignal,
): Promise<RepositoryFormat> {
  const first = await tryOpen(staged, options, signal);
  if ("format" in first) return first.format;
  if (!hasCode(first.error, "REPO_NOT_FOUND", "REPO_CORRUPT")) throw first.error;
  const settled = await repairSettings(staged, copy, options, tell, signal);
  if (settled !== undefined) return settled;
  for await (const { bytes, where } of candidates(staged, copy, signal)) {
    await staged.put(FORMAT_BLOB_ID, bytes);
    const opened = await tryOpen(staged, options, signal);
    const format = "format" in opened ? opened.format : await repairSettings(staged, copy, options, tell, signal);
    if (format === undefined) continue;
    tell(FORMAT_BLOB_ID, messageOfError(first.error), `taken from ${where}`);
    return format;
  }
  throw first.error;
}

/** Where only the settings do not open: those of the copy, if they do. Nobody else knows for how long blobs were to be locked. */
async function repairSettings(
  staged: StagedStorage,
  copy: BlobStorage | undefined,
  options: FormatOptions,
  tell: (blob: string, problem: string, remedy: string) => void,
  signal: AbortSignal | undefined,
): Promise<RepositoryFormat | undefined> {
  const bytes = copy === undefined ? undefined : await getIfThere(copy, BLOB_CONFIG_ID, signal);
  const original = await getIfThere(staged, BLOB_CONFIG_ID, signal);
  if (bytes !== undefined && (original === undefined || !equalBytes(bytes, original))) {
    staged.restore(BLOB_CONFIG_ID, bytes.length);
    const opened = await tryOpen(staged, options, signal);
    if ("format" in opened) {
      tell(BLOB_CONFIG_ID, "it does not open under the password", "restored from the copy");
      return opened.format;
    }
  }
  if (original === undefined || staged.capabilities.retention) return undefined;
  // A store without object lock can have had no settings: there are no others.
  await staged.delete(BLOB_CONFIG_ID);
  const opened = await tryOpen(staged, options, signal);
  if ("format" in opened) {
    tell(BLOB_CONFIG_ID, "it does not open under the password", "removed: it only holds settings of object lock, which this storage has not");
    return opened.format;
  }
  await staged.put(BLOB_CONFIG_ID, original);
  return undefined;
}

async function* candidates(
  storage: BlobStorage,
  copy: BlobStorage | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<{ readonly bytes: Uint8Array; readonly where: string }> {
  const ofCopy = copy === undefined ? undefined : await getIfThere(copy, FORMAT_BLOB_ID, signal);
  if (ofCopy !== undefined) yield { bytes: ofCopy, where: "the copy" };
  for await (const { id } of storage.list(BACKUP_PREFIX, signal)) {
    const bytes = await getIfThere(storage, id, signal);
    if (bytes !== undefined) yield { bytes, where: `"${id}"` };
  }
  let tried = 0;
  for (const letter of ["p", "q"]) {
    for await (const { id, length } of storage.list(letter, signal)) {
      if (tried++ >= PACKS_TRIED_MAX) return;
      const head = await storage.get(id, { offset: 0, length: Math.min(length, EMBEDDED_BYTES_MAX), ...(signal === undefined ? {} : { signal }) });
      const bytes = unframeFormatBlob(head);
      if (bytes !== undefined) yield { bytes: bytes.slice(), where: `pack "${id}", which holds a copy` };
    }
  }
}

async function tryOpen(
  storage: BlobStorage,
  options: FormatOptions,
  signal: AbortSignal | undefined,
): Promise<{ readonly format: RepositoryFormat } | { readonly error: unknown }> {
  try {
    return { format: await openRepositoryFormat(storage, options, signal) };
  } catch (error) {
    if (!(error instanceof DrayError)) throw error;
    return { error };
  }
}

async function getIfThere(storage: BlobStorage, id: string, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
  try {
    return await storage.get(id, signal === undefined ? {} : { signal });
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) return undefined;
    throw error;
  }
}

function messageOfError(error: unknown): string {
  return hasCode(error, "REPO_NOT_FOUND") ? "it is missing" : "it cannot be read";
}
