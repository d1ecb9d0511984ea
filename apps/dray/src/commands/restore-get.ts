import { type Restore, restores } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatGoTime, formatSelector } from "../describe/facts.ts";
import type { PrintableKind } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";

export const restoreKind: PrintableKind<Restore> = {
  singularWithGroup: "restore.velero.io",
  apiVersion: "velero.io/v1",
  kind: "Restore",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "BACKUP", value: ({ spec }) => spec.backupName },
    { header: "STATUS", value: ({ status }) => status?.phase ?? "New" },
    { header: "STARTED", value: ({ status }) => formatGoTime(status?.startTimestamp, "<nil>") },
    { header: "COMPLETED", value: ({ status }) => formatGoTime(status?.completionTimestamp, "<nil>") },
    { header: "ERRORS", value: ({ status }) => status?.errors ?? 0 },
    { header: "WARNINGS", value: ({ status }) => status?.warnings ?? 0 },
    { header: "CREATED", value: ({ metadata }) => formatGoTime(metadata.creationTimestamp) },
    { header: "SELECTOR", value: ({ spec }) => formatSelector(spec.labelSelector) },
  ],
};

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "restores; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, restores, restoreKind, names, options, terminal)),
    );
}
