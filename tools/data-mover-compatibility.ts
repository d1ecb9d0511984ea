/**
 * docs/data-mover-compatibility.md: every field of the kinds of OADP 1.2's data mover, checked as the fields of Velero's kinds are (`velero-compatibility.ts`), and every label and annotation that
 * packages/api names for them.
 */
import { LABELS, VSB_ANNOTATIONS, VSM_ANNOTATIONS, VSM_FINALIZER, VSM_LABELS, VSM_PROGRESS_ANNOTATION, VSR_ANNOTATIONS } from "../packages/api/src/index.ts";
import { dataMoverFieldTables, dataMoverKeys } from "../test/compat-fields/data-mover.ts";
import type { FieldTable } from "../test/compat-fields/evidence.ts";
import { evidenceFaults, fieldCounts, fieldFaults, kindSection } from "./velero-compatibility.ts";

const GROUP = "datamover.oadp.openshift.io";

const KEYS: Readonly<Record<string, readonly string[]>> = {
  VolumeSnapshotBackup: [
    ...[LABELS.backupName, VSM_LABELS.volumeSnapshotContent, VSM_LABELS.volumeSnapshotBackup],
    ...[...Object.values(VSM_ANNOTATIONS), ...Object.values(VSB_ANNOTATIONS), VSM_PROGRESS_ANNOTATION, VSM_FINALIZER],
  ],
  VolumeSnapshotRestore: [
    ...[LABELS.restoreName, LABELS.backupName, VSM_LABELS.claimName, VSM_LABELS.volumeSnapshotBackupName, VSM_LABELS.volumeSnapshotRestore],
    ...[...Object.values(VSR_ANNOTATIONS), VSM_PROGRESS_ANNOTATION, VSM_FINALIZER],
  ],
};

type Tables = Readonly<Record<string, FieldTable>>;

/** What is wrong with the tables; empty when the page can be believed. */
export function dataMoverFaults(fields: Tables = dataMoverFieldTables, keys: Tables = dataMoverKeys): string[] {
  const faults = fieldFaults(fields, GROUP);
  for (const [kind, wanted] of Object.entries(KEYS)) {
    const table = keys[kind] ?? {};
    for (const key of wanted) {
      const entry = table[key];
      if (entry === undefined) faults.push(`${kind} "${key}": packages/api names it, test/compat-fields says nothing of it`);
      else faults.push(...evidenceFaults(`${kind} "${key}"`, entry));
    }
    for (const key of Object.keys(table)) if (!wanted.includes(key)) faults.push(`${kind} "${key}": packages/api names no such key`);
  }
  return faults;
}

export function dataMoverCompatibilityPage(): string {
  return [
    "# Compatibility with the data mover of OADP 1.2, field by field",
    "",
    "How each field, label and annotation of [VolumeSnapshotBackup and VolumeSnapshotRestore](volsync-era.md) is treated.",
    "Written by `tools/docs.ts` from `test/compat-fields/data-mover.ts`, which is checked against the definitions (`packages/api/crds`) and against the tests that it names:",
    "a field, label or annotation without an entry, or whose test is gone, is left out of runs or does not speak of it, fails the gate.",
    "",
    "Neither kind has a field for bytes. Both have the annotation `drayage.io/progress` instead, JSON of `bytesDone` and `totalBytes`, once VolSync has moved the data and its log says how much;",
    "the operations of a backup and a restore (`dray backup describe`, `dray restore describe`) show the same, and while a DataDownload fills a volume its bytes.",
    "",
    ...fieldCounts(dataMoverFieldTables, "OADP 1.2"),
    "",
    ...Object.entries(dataMoverFieldTables).flatMap(([kind, table]) => [
      ...kindSection(kind, table),
      ...kindSection(`Labels, annotations and finalizer of a ${kind}`, dataMoverKeys[kind] ?? {}),
    ]),
  ].join("\n");
}
