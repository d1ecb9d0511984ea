/** Read, change, compare-and-swap. */
import { type Clock, hasCode, type RandomSource, type RetryPolicy, retry } from "@drayage/base";
import type { KubeClient, KubeObject, ObjectKey, ResourceType } from "./types.ts";

/** client-go's default for conflicts, with more attempts: five tries from 10 ms lose under real contention. */
const conflictRetry: RetryPolicy = { attemptsMax: 10, firstDelayMs: 10, factor: 2, delayMaxMs: 1_000, budgetMs: 10_000 };

export interface RetryOnConflictOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly signal?: AbortSignal | undefined;
}

/** Calls `work` again while it throws KUBE_CONFLICT; `work` must read the object afresh each time. */
export async function retryOnConflict<T>(options: RetryOnConflictOptions, work: () => Promise<T>): Promise<T> {
  return retry(work, {
    clock: options.clock,
    random: options.random,
    policy: conflictRetry,
    retryable: (error) => hasCode(error, "KUBE_CONFLICT"),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

/**
 * Reads an object, lets `change` make the new one, and replaces it; again on conflict. When `change` returns undefined nothing is written.
 * Returns the object as it is afterwards. Throws KUBE_NOT_FOUND when there is none.
 */
export async function updateObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  key: ObjectKey,
  change: (current: T) => T | undefined,
  options: RetryOnConflictOptions,
): Promise<T> {
  return retryOnConflict(options, async () => {
    const current = await client.get(type, key, options.signal);
    const wanted = change(current);
    return wanted === undefined ? current : client.replace(type, wanted, { signal: options.signal });
  });
}
