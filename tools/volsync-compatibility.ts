/** docs/volsync-compatibility.md: every field of VolSync's kinds where no VolSync runs. Checked as the fields of Velero's kinds are (`velero-compatibility.ts`), against packages/api/crds. */
import type { FieldTable } from "../test/compat-fields/evidence.ts";
import { volSyncFieldTables } from "../test/compat-fields/volsync.ts";
import { fieldCounts, fieldFaults, kindSection } from "./velero-compatibility.ts";

const GROUP = "volsync.backube";

/** What is wrong with the tables; empty when the page can be believed. */
export function volSyncFaults(tables: Readonly<Record<string, FieldTable>> = volSyncFieldTables): string[] {
  return fieldFaults(tables, GROUP);
}

export function volSyncCompatibilityPage(): string {
  return [
    "# Compatibility with VolSync, field by field",
    "",
    "Where a VolSync runs, it serves its kinds itself ([who serves them](design/0015-who-serves-volsyncs-kinds.md)); this is how each of their fields is treated where none does.",
    "Written by `tools/docs.ts` from `test/compat-fields/volsync.ts`, which is checked against the definitions of VolSync 0.16 (`packages/api/crds`) and against the tests that it names:",
    "a field without an entry, or whose test is gone, is left out of runs or does not speak of it, fails the gate. What another method than restic has stands for one field.",
    "",
    ...fieldCounts(volSyncFieldTables, "VolSync"),
    "",
    ...Object.entries(volSyncFieldTables).flatMap(([kind, table]) => kindSection(kind, table)),
  ].join("\n");
}
