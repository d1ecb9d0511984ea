/**
 * How threads of ours end: they are told to, and do it by themselves. One that is stopped from outside while it loads native code, or is in a call of it, takes the process with it where
 * that code wants to throw and no JavaScript may run any more: koffi, through which the portable kernels reach OpenSSL, does.
 */
import type { Worker } from "node:worker_threads";
import type { Clock } from "@drayage/base";

/** A thread in a system call that does not return is left behind: cancelling takes a second at most. */
const END_MS_MAX = 700;

export interface EndingThread {
  readonly worker: Worker;
  /** Whether it has said anything yet: before, it is loading what it needs. */
  readonly ready: boolean;
}

/**
 * Resolves when all have ended that were told to, or after a while. What is left by then keeps the process from ending no longer, but for those that are still loading: the end of the
 * process would stop them from outside.
 */
export async function untilEnded(threads: readonly EndingThread[], clock: Clock): Promise<void> {
  const late = new AbortController();
  const all = Promise.all(threads.map(({ worker }) => untilExit(worker)));
  await Promise.race([all, clock.sleep(END_MS_MAX, late.signal).catch(() => undefined)]);
  late.abort();
  for (const { worker, ready } of threads) if (ready) worker.unref();
}

async function untilExit(worker: Worker): Promise<void> {
  const hasEnded = worker.threadId === -1;
  if (!hasEnded) await new Promise<void>((resolve) => worker.once("exit", () => resolve()));
}
