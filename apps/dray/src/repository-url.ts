/** Where a repository is, as one URL, opened with retries. What a URL may say is the blob package's to know. */
import { DrayError } from "@drayage/base";
import { type BlobStorage, type ObjectStore, RetryingObjectStore, RetryingStorage } from "@drayage/blob";
import { openObjectStoreUrl, openStorageUrl, type StorageFromUrlOptions } from "@drayage/blob/locations";
import type { Terminal } from "./terminal.ts";

type Context = Pick<Terminal, "env" | "clock" | "random">;

/** The storage at a URL. Throws USAGE for a URL that cannot be read, naming what is wrong with it, NOT_SUPPORTED for a repository of restic's. */
export async function storageFromUrl(text: string, context: Context, options: StorageFromUrlOptions = {}): Promise<BlobStorage> {
  if (text.startsWith("restic+")) {
    throw new DrayError("NOT_SUPPORTED", `Cannot use the restic repository "${text}" for this: what restic wrote is only read here`, {
      hint: "It can be listed, shown, restored, searched and verified: dray snapshot list|show|restore, dray fs ls|cat|cp|find, dray repo status|verify.",
    });
  }
  return new RetryingStorage(await openStorageUrl(text, context, options), { clock: context.clock, random: context.random });
}

/** What lies at a URL as objects under slashed keys: how other programs than kopia keep their repositories. Throws USAGE. */
export async function objectStoreFromUrl(text: string, context: Context): Promise<ObjectStore> {
  return new RetryingObjectStore(await openObjectStoreUrl(text, context), { clock: context.clock, random: context.random });
}
