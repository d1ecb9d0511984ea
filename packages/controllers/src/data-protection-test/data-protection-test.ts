/**
 * DataProtectionTest: a trial of a backup location (is it fast, does it keep versions, does it encrypt) and of snapshots, before somebody relies on them.
 *
 *   new ──► InProgress ──► Complete: whatever was tried has ended, well or not, and each part says how
 *                    └───► Failed: nothing could be tried, since the spec is wrong or the location is not there
 *   an ended one with forceRun ──► InProgress …, and forceRun is taken back
 *
 * Invariants: the file and the snapshots go when the trial ends, however it ends, and what a trial that was cut off left goes when the next one begins: their names come from the object's UID.
 */
import type { DataProtectionTest } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { parseDuration } from "@drayage/kube";

/** As OADP's: of larger ones nobody learns more. */
const FILE_BYTES_MAX = 200 << 20;
const UPLOAD_TIMEOUT_MS = 30_000;
const SNAPSHOT_TIMEOUT_MS = 120_000;
/** A wait that a spec asks for ends then at the latest, since trials are made one after another. */
const TIMEOUT_MAX_MS = 600_000;
/** Snapshots at once are as many as these at most. */
const SNAPSHOTS_MAX = 64;

export interface UploadTrial {
  readonly lengthBytes: number;
  readonly timeoutMs: number;
}

export interface SnapshotTrial {
  /** The VolumeSnapshot's own. */
  readonly name: string;
  readonly namespace: string;
  readonly claimName: string;
  readonly className: string | undefined;
  readonly timeoutMs: number;
}

/** What one run of it does. */
export interface Trial {
  readonly location: { readonly name: string } | { readonly spec: NonNullable<DataProtectionTest["spec"]["backupLocationSpec"]> };
  readonly upload: UploadTrial | undefined;
  readonly snapshots: readonly SnapshotTrial[];
}

/** Whether it is to be run: it never was, was cut off, or is asked for again. */
export function isDue({ metadata, spec, status }: DataProtectionTest): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  const hasEnded = status?.phase === "Complete" || status?.phase === "Failed";
  return !hasEnded || spec.forceRun === true;
}

/** The key of the file, under the location's prefix. */
export function fileKeyOf({ metadata }: DataProtectionTest): string {
  return `dpt-upload-test-${metadata.uid ?? ""}`;
}

/** What its spec asks for. Throws VALIDATION_FAILED naming the field that is wrong. */
export function trialOf({ metadata, spec }: DataProtectionTest): Trial {
  const refuse = (path: string, what: string): never => {
    throw new DrayError("VALIDATION_FAILED", `Cannot run DataProtectionTest "${metadata.name}": spec.${path} ${what}`);
  };
  const timeoutOf = (path: string, text: string | undefined, otherwiseMs: number): number => {
    const timeoutMs = text === undefined || text === "" || text === "0s" ? otherwiseMs : parseDuration(text);
    if (timeoutMs === undefined || timeoutMs <= 0) return refuse(path, `is "${text}": a duration such as 60s is wanted`);
    return Math.min(timeoutMs, TIMEOUT_MAX_MS);
  };
  const { backupLocationName = "", backupLocationSpec, uploadSpeedTestConfig, csiVolumeSnapshotTestConfigs = [] } = spec;
  if ((backupLocationName === "") === (backupLocationSpec === undefined))
    refuse("backupLocationName", "and spec.backupLocationSpec: one of them is wanted, and not both");
  if (csiVolumeSnapshotTestConfigs.length > SNAPSHOTS_MAX)
    refuse("csiVolumeSnapshotTestConfigs", `has ${csiVolumeSnapshotTestConfigs.length} entries, ${SNAPSHOTS_MAX} at most are wanted`);
  return {
    location: backupLocationSpec === undefined ? { name: backupLocationName } : { spec: backupLocationSpec },
    upload:
      uploadSpeedTestConfig === undefined
        ? undefined
        : {
            lengthBytes:
              fileBytesOf(uploadSpeedTestConfig.fileSize) ??
              refuse("uploadSpeedTestConfig.fileSize", `is "${uploadSpeedTestConfig.fileSize}": 1B to 200MiB is wanted`),
            timeoutMs: timeoutOf("uploadSpeedTestConfig.timeout", uploadSpeedTestConfig.timeout, UPLOAD_TIMEOUT_MS),
          },
    snapshots: csiVolumeSnapshotTestConfigs.map(({ snapshotClassName, timeout, volumeSnapshotSource }, index) => {
      const path = `csiVolumeSnapshotTestConfigs[${index}]`;
      const { persistentVolumeClaimName: claimName = "", persistentVolumeClaimNamespace: namespace = "" } = volumeSnapshotSource ?? {};
      if (claimName === "" || namespace === "") refuse(`${path}.volumeSnapshotSource`, "needs the claim's name and its namespace");
      return {
        name: `dpt-snap-${metadata.uid ?? ""}-${index}`,
        namespace,
        claimName,
        className: snapshotClassName === "" ? undefined : snapshotClassName,
        timeoutMs: timeoutOf(`${path}.timeout`, timeout, SNAPSHOT_TIMEOUT_MS),
      };
    }),
  };
}

const UNITS: Readonly<Record<string, number>> = { "": 1, b: 1, k: 1e3, kb: 1e3, m: 1e6, mb: 1e6, ki: 1 << 10, kib: 1 << 10, mi: 1 << 20, mib: 1 << 20 };

/** `100MB`, `100MiB` or `100Mi` in bytes; 100 MB where nothing is said. Undefined for what is none, and for what is too large. */
export function fileBytesOf(text: string | undefined): number | undefined {
  const [, number = "", unit = ""] = /^(\d{1,12})\s*([a-z]*)$/.exec((text || "100MB").trim().toLowerCase()) ?? [];
  const factor = UNITS[unit];
  if (number === "" || factor === undefined) return undefined;
  const bytes = Number(number) * factor;
  return bytes >= 1 && bytes <= FILE_BYTES_MAX ? bytes : undefined;
}

/** Megabits a second, without a fraction. */
export function megabitsPerSecond(lengthBytes: number, durationMs: number): number {
  return Math.floor((lengthBytes * 8) / 1e6 / (Math.max(durationMs, 1) / 1e3));
}
