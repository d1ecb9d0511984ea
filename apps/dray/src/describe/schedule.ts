import type { Schedule } from "@drayage/api";
import { formatBackupSpec } from "./backup.ts";
import { formatFacts, formatGoTime, formatMap } from "./facts.ts";

/** A schedule in the layout of Velero's CLI. */
export function describeSchedule({ metadata, spec, status }: Schedule): string {
  const indented = formatBackupSpec(spec.template)
    .join("\n")
    .replace(/^(?=.)/gm, "  ");
  return [
    formatFacts([
      ["Name", metadata.name ?? ""],
      ["Namespace", metadata.namespace ?? ""],
      ["Labels", formatMap(metadata.labels)],
      ["Annotations", formatMap(metadata.annotations)],
    ]),
    formatFacts([["Phase", status?.phase ?? "New"]]),
    ...((status?.validationErrors ?? []).length === 0
      ? []
      : [`Validation errors:\n${(status?.validationErrors ?? []).map((error) => `  ${error}\n`).join("")}`]),
    formatFacts([["Paused", String(spec.paused === true)]]),
    formatFacts([["Schedule", spec.schedule]]),
    `Backup Template:\n${indented}`,
    formatFacts([["Last Backup", formatGoTime(status?.lastBackup, "<never>")]]),
    ...(status?.lastSkipped == null ? [] : [formatFacts([["Last Skipped", formatGoTime(status.lastSkipped)]])]),
  ].join("\n");
}
