import { DrayError, forEachLimit, isAbort, messageOf } from "@drayage/base";
import type { BlobStorage } from "../storage.ts";
import { type CheckContext, PROVIDER_CHECKS, type ProviderCheck } from "./provider-checks.ts";

export interface CheckResult {
  readonly check: ProviderCheck;
  /** What was seen instead; undefined when the guarantee is kept. */
  readonly failure: string | undefined;
  readonly durationMs: number;
}

export interface ValidateOptions extends Omit<CheckContext, "storage"> {
  readonly monotonicMs: () => number;
  /** Leaves out the checks that move megabytes or make a thousand requests. */
  readonly quick?: boolean;
}

/**
 * Runs every check against a place that is empty, and removes what they left. A guarantee that is not kept is a result; a store that cannot be reached or used at all is an error
 * (BLOB_ACCESS_DENIED and the like). Throws BLOB_BAD_CONFIG when something lies at the place: what others keep there is not touched.
 */
export async function* validateProvider(storage: BlobStorage, options: ValidateOptions): AsyncIterable<CheckResult> {
  for await (const { id } of storage.list("", options.signal)) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot validate the provider at ${storage.description}: the place is not empty, it holds "${id}"`);
  }
  const probe = new Uint8Array([1]);
  await storage.put("probe", probe, options.signal === undefined ? {} : { signal: options.signal });
  try {
    for (const check of PROVIDER_CHECKS) {
      if (check.slow === true && options.quick === true) continue;
      const startedMs = options.monotonicMs();
      const failure = await failureOf(check, { ...options, storage });
      yield { check, failure, durationMs: options.monotonicMs() - startedMs };
    }
  } finally {
    await removeAll(storage);
  }
}

async function failureOf(check: ProviderCheck, context: CheckContext): Promise<string | undefined> {
  try {
    await check.run(context);
    return undefined;
  } catch (error) {
    if (isAbort(error, context.signal)) throw error;
    return messageOf(error);
  }
}

/** Also after an abort, so without its signal. */
async function removeAll(storage: BlobStorage): Promise<void> {
  await forEachLimit(storage.list(""), 16, ({ id }) => storage.delete(id), undefined);
}
