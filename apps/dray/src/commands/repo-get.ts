import { type BackupRepository, backupRepositories } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatGoTime } from "../describe/facts.ts";
import type { PrintableKind } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";

const kind: PrintableKind<BackupRepository> = {
  singularWithGroup: "backuprepository.velero.io",
  apiVersion: "velero.io/v1",
  kind: "BackupRepository",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "STATUS", value: ({ status }) => status?.phase ?? "New" },
    { header: "LAST MAINTENANCE", value: ({ status }) => formatGoTime(status?.lastMaintenanceTime, "<never>") },
    { header: "MESSAGE", value: ({ status }) => status?.message, wide: true },
  ],
};

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "repositories; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, backupRepositories, kind, names, options, terminal)),
    );
}
