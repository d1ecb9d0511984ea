/**
 * One caller's wait for work that several share: its own signal ends the wait, not the work, so that the abort of one does not fail the others.
 */
export async function shared<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  // Somebody always listens: when every caller has left, a failure concerns nobody any more.
  work.catch(() => undefined);
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
  }
}
