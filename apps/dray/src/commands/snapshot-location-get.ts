import { type VolumeSnapshotLocation, volumeSnapshotLocations } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type GetOptions, getObjects, withGetOptions } from "../cluster/get.ts";
import type { PrintableKind } from "../output/object-output.ts";
import type { Terminal } from "../terminal.ts";

export const snapshotLocationKind: PrintableKind<VolumeSnapshotLocation> = {
  singularWithGroup: "volumesnapshotlocation.velero.io",
  apiVersion: "velero.io/v1",
  kind: "VolumeSnapshotLocation",
  columns: [
    { header: "NAME", value: ({ metadata }) => metadata.name },
    { header: "PROVIDER", value: ({ spec }) => spec.provider },
  ],
};

export function define(command: Command, terminal: Terminal): void {
  withGetOptions(withClusterOptions(command))
    .argument("[names...]", "locations; all when left out")
    .action((names: string[], options: ClusterOptions & GetOptions) =>
      withCluster(options, terminal, (access) => getObjects(access, volumeSnapshotLocations, snapshotLocationKind, names, options, terminal)),
    );
}
