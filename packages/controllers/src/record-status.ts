/** Writes how a long piece of work ended. It must be recorded, so the API server gets a while to come back: half an hour. */
import { type Clock, hasCode, type RandomSource, type RetryPolicy, retry } from "@drayage/base";
import { type KubeClient, type KubeObject, type ObjectKey, type ResourceType, updateObject } from "@drayage/kube";

const POLICY: RetryPolicy = { attemptsMax: 1_000, firstDelayMs: 100, factor: 2, delayMaxMs: 10_000, budgetMs: 1_800_000 };

export interface RecordStatusOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly signal: AbortSignal;
}

/** Changes the object as it is now; one that is gone needs no record, and `change` may return undefined to leave it alone. Throws what does not pass. */
export async function recordStatus<T extends KubeObject>(
  type: ResourceType<T>,
  key: ObjectKey,
  change: (current: T) => T | undefined,
  { client, clock, random, signal }: RecordStatusOptions,
): Promise<void> {
  try {
    await retry(() => updateObject<T>(client, type, key, change, { clock, random, signal }), { clock, random, signal, policy: POLICY });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}
