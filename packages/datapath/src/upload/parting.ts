/** Who cancels an upload gets a checkpoint for it where that is quick: the next run goes on from there. */
import type { Clock } from "@drayage/base";

/** Of the second within which an upload ends. A store that takes longer has the checkpoint that was saved last. */
const PARTING_MS = 500;

/** A signal that is aborted a little after another one, with its reason. */
export interface Parting {
  readonly signal: AbortSignal | undefined;
  /** The other signal counts no more. */
  end(): void;
}

/** @param save - is called when the signal is aborted; what it throws is nobody's concern any more */
export function partingFrom(signal: AbortSignal | undefined, clock: Clock, save: () => Promise<void>): Parting {
  if (signal === undefined) return { signal, end: () => undefined };
  const parted = new AbortController();
  const part = async (): Promise<void> => {
    const saved = new AbortController();
    await Promise.race([save(), clock.sleep(PARTING_MS, saved.signal)]).catch(() => undefined);
    saved.abort();
    parted.abort(signal.reason);
  };
  const onAbort = (): void => void part();
  signal.addEventListener("abort", onAbort, { once: true });
  return { signal: parted.signal, end: () => signal.removeEventListener("abort", onAbort) };
}
