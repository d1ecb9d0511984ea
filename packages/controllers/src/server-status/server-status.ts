/**
 * ServerStatusRequest: is a server there, of which version, with which plug-ins?
 *
 *   New ──► Processed ──► deleted after a minute, if its asker has not done so
 */
import type { ServerStatusRequest, ServerStatusRequestStatus } from "@drayage/api";
import { formatTime, parseTime } from "@drayage/base";

export interface Observed {
  readonly phase: NonNullable<ServerStatusRequestStatus["phase"]>;
  /** Since it was answered. */
  readonly processedForMs: number;
}

export type Decision =
  | { readonly do: "answer"; readonly recheckAfterMs: number }
  | { readonly do: "delete" }
  | { readonly do: "nothing"; readonly recheckAfterMs: number };

const KEPT_MS = 60_000;

const phases: Record<Observed["phase"], (o: Observed) => Decision> = {
  New: () => ({ do: "answer", recheckAfterMs: KEPT_MS }),
  Processed: (o) => (o.processedForMs >= KEPT_MS ? { do: "delete" } : { do: "nothing", recheckAfterMs: KEPT_MS - Math.max(0, o.processedForMs) }),
};

export const decide = (o: Observed): Decision => phases[o.phase](o);

export function observe({ status }: ServerStatusRequest, nowMs: number): Observed {
  return { phase: status?.phase ?? "New", processedForMs: nowMs - (parseTime(status?.processedTimestamp) ?? 0) };
}

/** A plug-in as the status names it: `{ kind: "BackupItemActionV2", name: "velero.io/csi-pvc-backupper" }`. */
export interface PluginInfo {
  readonly kind: string;
  readonly name: string;
}

export function answer(serverVersion: string, plugins: readonly PluginInfo[], nowMs: number): ServerStatusRequestStatus {
  return { phase: "Processed", processedTimestamp: formatTime(nowMs), serverVersion, plugins: plugins.map(({ kind, name }) => ({ kind, name })) };
}
