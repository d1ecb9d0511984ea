/**
 * How much VolSync moved. The kinds of OADP's data mover have no field for it, so that an annotation has it: the same on both, and what a backup's and a restore's operations say of their bytes.
 * It is known once a mover is done, from the last lines of its log.
 */
import { parseProgressNote, VSM_PROGRESS_ANNOTATION } from "@drayage/api";
import type { KubeObject } from "@drayage/kube";

const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;
/** What restic says of a backup (`processed 25 files, 36.658 MiB in 0:12`) and of a restore (`Summary: Restored 7 files/dirs (2.3 MiB) in 0:00`). */
const OF_RESTIC = /(?:[Pp]rocessed \d+ files, |Restored [\d\s/]+files\/dirs \()(\d+(?:\.\d+)?) ([KMGT]i)?B/;
/** What our own movers say. */
const OF_OURS = /(?:: \d+ files, |^Snapshot \S+ of )(\d+) bytes/m;

/** Bytes, as exactly as the log has them; undefined where it does not say. */
export function bytesOfLog(log: string | undefined): number | undefined {
  const ours = OF_OURS.exec(log ?? "")?.[1];
  if (ours !== undefined) return Number(ours);
  const [, number, prefix = ""] = OF_RESTIC.exec(log ?? "") ?? [];
  return number === undefined ? undefined : Math.round(Number(number) * UNITS[`${prefix}B` as keyof typeof UNITS]);
}

/** What the annotation says; undefined where there is none that can be read. */
export function progressOf({ metadata }: KubeObject): { readonly bytesDone: number; readonly totalBytes: number } | undefined {
  return parseProgressNote(metadata.annotations?.[VSM_PROGRESS_ANNOTATION]);
}

/** Annotations with the progress of what is done. */
export function withProgress<T extends KubeObject>(object: T, bytes: number): T {
  const annotations = { ...object.metadata.annotations, [VSM_PROGRESS_ANNOTATION]: JSON.stringify({ bytesDone: bytes, totalBytes: bytes }) };
  return { ...object, metadata: { ...object.metadata, annotations } };
}
