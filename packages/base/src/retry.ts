import type { Clock } from "./clock.ts";
import { dispositionOf, isAbort } from "./errors.ts";
import type { RandomSource } from "./random.ts";

export interface RetryPolicy {
  /** Calls in all, the first one included. */
  readonly attemptsMax: number;
  readonly firstDelayMs: number;
  readonly factor: number;
  readonly delayMaxMs: number;
  /** No new attempt starts later than this after the first one. */
  readonly budgetMs: number;
}

/** Kopia's own figures for object stores: ten attempts from 100 ms, growing by half up to 32 s; here within five minutes. */
export const storageRetry: RetryPolicy = { attemptsMax: 10, firstDelayMs: 100, factor: 1.5, delayMaxMs: 32_000, budgetMs: 300_000 };

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly policy: RetryPolicy;
  readonly signal?: AbortSignal;
  /** Whether this failure may pass; by default that of disposition `retry`. */
  readonly retryable?: (error: unknown) => boolean;
  readonly onRetry?: (error: unknown, attempt: number, delayMs: number) => void;
}

/** Calls `work` until it succeeds, fails for good, or the budget is spent; the last error is thrown unchanged. Delays have full jitter over their upper half. */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, random, policy, signal } = options;
  const retryable = options.retryable ?? ((error) => dispositionOf(error) === "retry");
  const startedMs = clock.monotonicMs();
  let delayMs = policy.firstDelayMs;
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      const waitMs = delayMs * (0.5 + random.fraction() / 2);
      const spentMs = clock.monotonicMs() - startedMs;
      if (isAbort(error, signal) || !retryable(error) || attempt >= policy.attemptsMax || spentMs + waitMs > policy.budgetMs) throw error;
      options.onRetry?.(error, attempt, waitMs);
      await clock.sleep(waitMs, signal);
      delayMs = Math.min(delayMs * policy.factor, policy.delayMaxMs);
    }
  }
}
