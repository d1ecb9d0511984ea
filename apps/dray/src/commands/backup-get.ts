import { type Backup, backups } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatGoTime, formatSelector } from "../describe/facts.ts";
import type { PrintableKind } from "../output/object-output.ts";
import { formatElapsed } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

export const backupKind = (nowMs: number): PrintableKind<Backup> => ({
  singularWithGroup: "backup.velero.io",
  apiVersion: "velero.io/v1",
  kind: "Backup",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "STATUS", value: ({ metadata, status }) => (metadata.deletionTimestamp === undefined ? (status?.phase ?? "New") : "Deleting") },
    { header: "ERRORS", value: ({ status }) => status?.errors ?? 0 },
    { header: "WARNINGS", value: ({ status }) => status?.warnings ?? 0 },
    { header: "CREATED", value: ({ metadata, status }) => formatGoTime(status?.startTimestamp ?? metadata.creationTimestamp) },
    { header: "EXPIRES", value: ({ status }) => formatExpiry(status?.expiration, nowMs) },
    { header: "STORAGE LOCATION", value: ({ spec }) => spec.storageLocation },
    { header: "QUEUE POSITION", value: ({ status }) => status?.queuePosition ?? " " },
    { header: "SELECTOR", value: ({ spec }) => formatSelector(spec.labelSelector) },
  ],
});

function formatExpiry(expiration: string | null | undefined, nowMs: number): string {
  const atMs = parseTime(expiration);
  if (atMs === undefined) return "n/a";
  return atMs < nowMs ? `${formatElapsed(nowMs - atMs)} ago` : formatElapsed(atMs - nowMs);
}

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "backups; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, backups, backupKind(terminal.clock.nowMs()), names, options, terminal)),
    );
}
