import { type DataUpload, dataUploads } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import { formatProgress } from "../cluster/wait.ts";
import type { PrintableKind } from "../output/object-output.ts";
import { formatAge } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

const kind = (nowMs: number): PrintableKind<DataUpload> => ({
  singularWithGroup: "dataupload.velero.io",
  apiVersion: "velero.io/v2alpha1",
  kind: "DataUpload",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "STATUS", value: ({ status }) => status?.phase ?? "New" },
    { header: "VOLUME", value: ({ spec }) => `${spec.sourceNamespace}/${spec.sourcePVC}` },
    { header: "PROGRESS", value: ({ status }) => formatProgress(status?.progress?.bytesDone, status?.progress?.totalBytes) },
    { header: "STORAGE LOCATION", value: ({ spec }) => spec.backupStorageLocation },
    { header: "AGE", value: ({ metadata }) => formatAge(parseTime(metadata.creationTimestamp), nowMs) },
    { header: "NODE", value: ({ status }) => status?.node },
    { header: "MOVER", value: ({ spec }) => spec.datamover ?? "velero", wide: true },
    { header: "SNAPSHOT ID", value: ({ status }) => status?.snapshotID, wide: true },
  ],
});

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "data uploads; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, dataUploads, kind(terminal.clock.nowMs()), names, options, terminal)),
    );
}
