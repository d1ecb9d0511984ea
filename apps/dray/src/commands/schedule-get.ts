import { type Schedule, schedules } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatGoTime, formatSelector } from "../describe/facts.ts";
import type { PrintableKind } from "../output/object-output.ts";
import { formatElapsed } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

/** Columns as Velero's CLI has them; why a schedule is not valid is shown with `-o wide`. */
export const scheduleKind = (nowMs: number): PrintableKind<Schedule> => ({
  singularWithGroup: "schedule.velero.io",
  apiVersion: "velero.io/v1",
  kind: "Schedule",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "STATUS", value: ({ status }) => status?.phase ?? "New" },
    { header: "CREATED", value: ({ metadata }) => formatGoTime(metadata.creationTimestamp) },
    { header: "SCHEDULE", value: ({ spec }) => spec.schedule },
    { header: "BACKUP TTL", value: ({ spec }) => spec.template.ttl ?? "0s" },
    { header: "LAST BACKUP", value: ({ status }) => sinceOr(status?.lastBackup, nowMs, "n/a") },
    { header: "SELECTOR", value: ({ spec }) => formatSelector(spec.template.labelSelector) },
    { header: "PAUSED", value: ({ spec }) => spec.paused === true },
    { header: "MESSAGE", value: ({ status }) => (status?.validationErrors ?? []).join("; "), wide: true },
  ],
});

function sinceOr(time: string | null | undefined, nowMs: number, none: string): string {
  const atMs = parseTime(time);
  return atMs === undefined ? none : `${formatElapsed(nowMs - atMs)} ago`;
}

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "schedules; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, schedules, scheduleKind(terminal.clock.nowMs()), names, options, terminal)),
    );
}
