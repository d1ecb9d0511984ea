/**
 * Where a repository is, as one URL. What a URL may say is the blob package's to know; here its storage gets what every command's has around it:
 *
 *   copies on this machine ─► retries ─► limits (dray repo throttle) ─► counting (--debug) ─► the provider
 */
import { DrayError, formatBytes } from "@drayage/base";
import {
  type BlobCache,
  type BlobStorage,
  CachedStorage,
  MeteredStorage,
  type ObjectStore,
  RetryingObjectStore,
  RetryingStorage,
  STORAGE_OPERATIONS,
  Throttle,
  ThrottledObjectStore,
  ThrottledStorage,
  type ThrottleLimits,
} from "@drayage/blob";
import { openObjectStoreUrl, openStorageUrl, type StorageFromUrlOptions } from "@drayage/blob/locations";
import { sideBySideSha256 } from "@drayage/kernels";
import { isCopied, localCopies } from "./engine/local-copies.ts";
import { followThrottle } from "./engine/throttle-settings.ts";
import type { Terminal } from "./terminal.ts";

type Context = Pick<Terminal, "env" | "cwd" | "clock" | "random" | "err" | "debug">;

export interface StorageOptions extends StorageFromUrlOptions {
  /** Answer from copies on this machine what never changes. Not where the question is what the store holds. @default false */
  readonly copies?: boolean;
  /** Bytes a second that this command may send, and as many that it may fetch, besides what holds for the place. @default no limit of its own */
  readonly bandwidth?: number;
}

/** The storage at a URL. Throws USAGE for a URL that cannot be read, naming what is wrong with it, NOT_SUPPORTED for a repository of restic's. */
export async function storageFromUrl(text: string, context: Context, options: StorageOptions = {}): Promise<BlobStorage> {
  if (text.startsWith("restic+")) {
    throw new DrayError("NOT_SUPPORTED", `Cannot use the restic repository "${text}" for this: what restic wrote is only read here`, {
      hint: "It can be listed, shown, restored, searched and verified: dray snapshot list|show|restore, dray fs ls|cat|cp|find, dray repo status|verify.",
    });
  }
  const { clock, random } = context;
  const throttle = throttleOf(text, context, options.bandwidth);
  const sha256Ranges = text.startsWith("s3:") ? sideBySideSha256() : undefined;
  const opened = await openStorageUrl(text, context, { ...options, sha256Ranges });
  const copies = options.copies === true ? localCopies(text, opened.description, context) : undefined;
  const counted =
    context.debug === true ? new MeteredStorage(opened, { clock, onClose: (storage) => context.err(`dray: ${totalsOf(storage, copies)}\n`) }) : opened;
  const retried = new RetryingStorage(new ThrottledStorage(counted, throttle), { clock, random });
  return copies === undefined ? retried : new CachedStorage(retried, copies, isCopied);
}

/** What lies at a URL, or in a folder below it, as objects under slashed keys: how other programs than kopia keep their repositories. Throws USAGE. */
export async function objectStoreFromUrl(text: string, context: Context, options: Pick<StorageOptions, "below" | "bandwidth"> = {}): Promise<ObjectStore> {
  const { clock, random } = context;
  const throttle = throttleOf(text, context, options.bandwidth);
  return new RetryingObjectStore(new ThrottledObjectStore(await openObjectStoreUrl(text, context, options), throttle), { clock, random });
}

function throttleOf(url: string, context: Context, bandwidth?: number): Throttle {
  const ofPlace = followThrottle(url, context);
  const follow = bandwidth === undefined ? ofPlace : (): ThrottleLimits => withBandwidth(ofPlace(), bandwidth);
  return new Throttle({ ...follow(), follow, clock: context.clock });
}

/** The stricter of two limits holds; 0 is none. */
function withBandwidth(limits: ThrottleLimits, bandwidth: number): ThrottleLimits {
  const lower = (limit = 0): number => (limit === 0 ? bandwidth : Math.min(limit, bandwidth));
  return { ...limits, uploadBytesPerSecond: lower(limits.uploadBytesPerSecond), downloadBytesPerSecond: lower(limits.downloadBytesPerSecond) };
}

function totalsOf(storage: MeteredStorage, copies: BlobCache | undefined): string {
  const parts = STORAGE_OPERATIONS.flatMap((operation) => {
    const { calls, failures, bytes, durationMs } = storage.totals(operation);
    if (calls === 0) return [];
    const size = bytes === 0 ? "" : ` of ${formatBytes(bytes)}`;
    return [`${calls} ${operation}${size} in ${(durationMs / 1000).toFixed(2)} s${failures === 0 ? "" : `, ${failures} of them failed`}`];
  });
  const { hits, misses } = copies?.lookups ?? { hits: 0, misses: 0 };
  return [`${storage.description}: ${parts.join("; ")}`, ...(hits + misses === 0 ? [] : [`${hits} of ${hits + misses} answers were on this machine`])].join(
    "; ",
  );
}
