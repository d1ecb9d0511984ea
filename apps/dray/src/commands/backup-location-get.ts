import { type BackupStorageLocation, backupStorageLocations } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatGoTime } from "../describe/facts.ts";
import type { PrintableKind } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";

export const locationKind: PrintableKind<BackupStorageLocation> = {
  singularWithGroup: "backupstoragelocation.velero.io",
  apiVersion: "velero.io/v1",
  kind: "BackupStorageLocation",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "PROVIDER", value: ({ spec }) => spec.provider },
    {
      header: "BUCKET/PREFIX",
      value: ({ spec }) => `${spec.objectStorage.bucket}${spec.objectStorage.prefix === undefined ? "" : `/${spec.objectStorage.prefix}`}`,
    },
    { header: "PHASE", value: ({ status }) => status?.phase ?? "Unknown" },
    { header: "LAST VALIDATED", value: ({ status }) => formatGoTime(status?.lastValidationTime, "Unknown") },
    { header: "ACCESS MODE", value: ({ spec }) => spec.accessMode ?? "ReadWrite" },
    { header: "DEFAULT", value: ({ spec }) => (spec.default === true ? "true" : " ") },
    { header: "MESSAGE", value: ({ status }) => status?.message, wide: true },
  ],
};

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "locations; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, backupStorageLocations, locationKind, names, options, terminal)),
    );
}
