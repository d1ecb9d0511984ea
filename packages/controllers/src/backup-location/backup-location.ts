/**
 * BackupStorageLocation: can the bucket be used, and is there one default?
 *
 *            ┌──► Available ◄──┐
 *   (none) ──┤                 │  looked at again each validationFrequency (1 min), at once when its spec changes, and when the server starts
 *            └──► Unavailable ◄┘  status.message says why
 *
 * Of several locations that say they are the default, the one created last stays it (Velero: ensureSingleDefaultBSL).
 */
import type { BackupStorageLocation, BackupStorageLocationStatus } from "@drayage/api";
import { formatTime, parseTime } from "@drayage/base";
import { parseDuration } from "@drayage/kube";

export interface Observed {
  /** Since the last look, by the stored time; undefined when there was none. */
  readonly validatedForMs: number | undefined;
  /** 0: looked at once and then only after a change. */
  readonly frequencyMs: number;
  /** The spec is not the one this process looked at last. */
  readonly specChanged: boolean;
}

export type Decision = { readonly do: "validate" } | { readonly do: "nothing"; readonly recheckAfterMs?: number };

export function decide(o: Observed): Decision {
  if (o.validatedForMs === undefined || o.specChanged) return { do: "validate" };
  if (o.frequencyMs === 0) return { do: "nothing" };
  // A stored time that lies ahead of the clock is no reason to wait longer than the period.
  const leftMs = o.frequencyMs - Math.max(0, o.validatedForMs);
  return leftMs <= 0 ? { do: "validate" } : { do: "nothing", recheckAfterMs: leftMs };
}

/** What a look at the bucket found. */
export type Finding = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The change of the status; `null` removes a field. */
export type StatusPatch = { readonly [field in keyof BackupStorageLocationStatus]?: BackupStorageLocationStatus[field] | null };

export function statusAfter(location: BackupStorageLocation, finding: Finding, nowMs: number): StatusPatch {
  const name = location.metadata.name ?? "";
  const message = finding.ok ? null : `BackupStorageLocation "${name}" is unavailable: ${finding.reason}`;
  return {
    phase: finding.ok ? "Available" : "Unavailable",
    lastValidationTime: formatTime(nowMs),
    ...(message === null && location.status?.message === undefined ? {} : { message }),
  };
}

export function observe(location: BackupStorageLocation, validatedSpec: string | undefined, defaultFrequencyMs: number, nowMs: number): Observed {
  const validatedMs = parseTime(location.status?.lastValidationTime);
  return {
    validatedForMs: validatedMs === undefined ? undefined : nowMs - validatedMs,
    frequencyMs: periodOf(location.spec.validationFrequency, defaultFrequencyMs),
    specChanged: validatedSpec !== specText(location),
  };
}

/** A period of a location: its own, or the server's where it has none or a negative one. */
export function periodOf(text: string | null | undefined, defaultMs: number): number {
  const ms = text === undefined || text === null ? undefined : parseDuration(text);
  return ms === undefined || ms < 0 ? defaultMs : ms;
}

/** A text that changes when the spec does. */
export function specText(location: BackupStorageLocation): string {
  return JSON.stringify([location.metadata.uid, location.spec]);
}

/** Locations that must give up being the default. */
export function superfluousDefaults(locations: readonly BackupStorageLocation[]): readonly BackupStorageLocation[] {
  const age = ({ metadata }: BackupStorageLocation): string => `${metadata.creationTimestamp ?? ""} ${metadata.name ?? ""}`;
  const defaults = locations.filter(({ spec }) => spec.default === true).sort((a, b) => (age(a) < age(b) ? -1 : 1));
  return defaults.slice(0, -1);
}
