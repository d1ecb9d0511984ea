/**
 * For how long something has been so as this process has seen it, by its own steady clock.
 *
 * What the API server, a kubelet or another controller dates is dated by another clock, which may be hours behind or ahead of this one: its date less this process's time of day is no age,
 * and a limit on it would be over at once, or never. So an age that a limit stands on is measured here, from the first look. A process that has just started waits the whole time again.
 */
import type { Clock } from "@drayage/base";

/** Many more than is under way at once. One that is forgotten is as one that is seen for the first time. */
const THINGS_MAX = 10_000;
const seen = new WeakMap<Pick<Clock, "monotonicMs">, Map<string, number>>();

/** Milliseconds since `thing` was first asked about with this clock; 0 the first time. A thing that may come again has to be named by what is new about it: a UID, a date. */
export function steadyAgeMs(clock: Pick<Clock, "monotonicMs">, thing: string): number {
  const since = seen.get(clock) ?? new Map<string, number>();
  seen.set(clock, since);
  const nowMs = clock.monotonicMs();
  const firstMs = since.get(thing);
  if (firstMs !== undefined) return nowMs - firstMs;
  since.set(thing, nowMs);
  const [oldest] = since.keys();
  if (since.size > THINGS_MAX && oldest !== undefined) since.delete(oldest);
  return 0;
}
