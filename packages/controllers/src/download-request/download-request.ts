/**
 * DownloadRequest: a signed address under which a file of a backup or a restore can be fetched.
 *
 *   New ──► Processed ──► deleted when the address has expired (10 minutes)
 *    └─ not found: looked for again until then
 */
import type { DownloadRequest, DownloadRequestStatus } from "@drayage/api";
import { formatTime, parseTime } from "@drayage/base";
import type { DownloadTargetKind } from "../ports.ts";

export const VALID_FOR_MS = 10 * 60_000;
const LOOK_AGAIN_MS = 10_000;

export interface Observed {
  readonly phase: NonNullable<DownloadRequestStatus["phase"]>;
  /** Until its expiration; undefined when none is set yet. Negative: it is past. */
  readonly expiresInMs: number | undefined;
  /** What its file belongs to, as far as it is there. */
  readonly target: "found" | "absent";
}

export type Decision =
  | { readonly do: "sign"; readonly recheckAfterMs: number }
  /** The request gets its expiration, so that one for nothing goes away too. */
  | { readonly do: "wait"; readonly setExpiration: boolean; readonly recheckAfterMs: number }
  | { readonly do: "delete" };

const phases: Record<Observed["phase"], (o: Observed) => Decision> = {
  New: (o) =>
    o.target === "found"
      ? { do: "sign", recheckAfterMs: VALID_FOR_MS }
      : { do: "wait", setExpiration: o.expiresInMs === undefined, recheckAfterMs: LOOK_AGAIN_MS },
  Processed: (o) => ({ do: "wait", setExpiration: o.expiresInMs === undefined, recheckAfterMs: Math.max(1000, o.expiresInMs ?? VALID_FOR_MS) }),
};

export const decide = (o: Observed): Decision => (o.expiresInMs !== undefined && o.expiresInMs <= 0 ? { do: "delete" } : phases[o.phase](o));

export function observe({ status }: DownloadRequest, target: Observed["target"], nowMs: number): Observed {
  const expiresMs = parseTime(status?.expiration);
  return { phase: status?.phase ?? "New", expiresInMs: expiresMs === undefined ? undefined : expiresMs - nowMs, target };
}

/** Whether a file belongs to a restore rather than to a backup. */
export function isOfRestore(kind: DownloadTargetKind): boolean {
  return kind.startsWith("Restore");
}

export function expirationFrom(nowMs: number): string {
  return formatTime(nowMs + VALID_FOR_MS);
}
