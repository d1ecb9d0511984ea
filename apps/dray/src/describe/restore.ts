import type { DataDownload, Restore } from "@drayage/api";
import {
  formatFacts,
  formatGoTime,
  formatList,
  formatMap,
  formatOperations,
  formatPodVolumes,
  formatResourceList,
  formatResults,
  formatSelector,
  formatTristate,
  type PodVolumeInfo,
} from "./facts.ts";
import { formatMovement } from "./transfer.ts";

export interface RestoreDetails {
  readonly results?: { readonly errors?: object; readonly warnings?: object } | undefined;
  readonly operations?: Parameters<typeof formatOperations>[0] | undefined;
  readonly resourceList?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly volumes?: readonly RestoredVolume[] | undefined;
  readonly downloads?: readonly DataDownload[] | undefined;
  /** The time, for how fast downloads go. */
  readonly nowMs?: number;
}

interface RestoredVolume {
  readonly pvcName?: string;
  readonly pvcNamespace?: string;
  readonly restoreMethod?: string;
  readonly snapshotDataMovementInfo?: { readonly dataMover: string; readonly uploaderType: string; readonly operationID: string };
  readonly pvrInfo?: PodVolumeInfo;
}

/** A restore in the layout of Velero's CLI. */
export function describeRestore(restore: Restore, details: RestoreDetails): string {
  const { metadata, spec, status } = restore;
  const phase = status?.phase ?? "New";
  const failed = phase === "Failed" || phase === "PartiallyFailed";
  const downloads = (details.downloads ?? []).map((download) => {
    const { namespace, pvc } = download.spec.targetVolume;
    return `  ${formatMovement(`${namespace}/${pvc}`, download, details.nowMs)}\n`;
  });
  const sections = [
    formatFacts([
      ["Name", metadata.name ?? ""],
      ["Namespace", metadata.namespace ?? ""],
      ["Labels", formatMap(metadata.labels)],
      ["Annotations", formatMap(metadata.annotations)],
    ]),
    formatFacts([
      ["Phase", failed ? `${phase} (run \`dray restore logs ${metadata.name}\` for more information)` : phase],
      ["Total items to be restored", String(status?.progress?.totalItems ?? 0)],
      ["Items restored", String(status?.progress?.itemsRestored ?? 0)],
    ]),
    formatFacts([
      ["Started", formatGoTime(status?.startTimestamp)],
      ["Completed", formatGoTime(status?.completionTimestamp)],
    ]),
    ...(status?.failureReason === undefined ? [] : [formatFacts([["Failure Reason", status.failureReason]])]),
    ...((status?.validationErrors ?? []).length === 0
      ? []
      : [`Validation errors:\n${(status?.validationErrors ?? []).map((error) => `  ${error}\n`).join("")}`]),
    ...formatResults(status, details.results),
    formatFacts([["Backup", spec.backupName ?? ""]]),
    `Namespaces:\n${formatFacts(
      [
        ["Included", formatList(spec.includedNamespaces?.includes("*") === true ? [] : spec.includedNamespaces, "all namespaces found in the backup")],
        ["Excluded", formatList(spec.excludedNamespaces)],
      ],
      "  ",
    )}`,
    `Resources:\n${formatFacts(
      [
        ["Included", formatList(spec.includedResources, "*")],
        ["Excluded", formatList(spec.excludedResources)],
        ["Cluster-scoped", formatTristate(spec.includeClusterResources)],
      ],
      "  ",
    )}`,
    formatFacts([
      [
        "Namespace mappings",
        Object.entries(spec.namespaceMapping ?? {})
          .map(([from, to]) => `${from}=${to}`)
          .join(", ") || "<none>",
      ],
    ]),
    formatFacts([["Label selector", formatSelector(spec.labelSelector)]]),
    formatFacts([["Or label selector", (spec.orLabelSelectors ?? []).map(formatSelector).join(" or ") || "<none>"]]),
    formatFacts([["Restore PVs", formatTristate(spec.restorePVs)]]),
    ...formatVolumes(details.volumes ?? []),
    formatFacts([
      ["Existing Resource Policy", spec.existingResourcePolicy || "<none>"],
      ["ItemOperationTimeout", spec.itemOperationTimeout ?? ""],
    ]),
    formatFacts([["Preserve Service NodePorts", formatTristate(spec.preserveNodePorts)]]),
    ...formatUploaderConfig(restore),
    ...(downloads.length === 0 ? [] : [`Data on its way:\n${downloads.join("")}`]),
    ...(details.operations === undefined || details.operations.length === 0
      ? []
      : [`Restore Item Operations:\n${formatOperations(details.operations, "Restore")}`]),
    formatFacts([
      ["HooksAttempted", String(status?.hookStatus?.hooksAttempted ?? 0)],
      ["HooksFailed", String(status?.hookStatus?.hooksFailed ?? 0)],
    ]),
    ...(details.resourceList === undefined ? [] : [formatResourceList(details.resourceList)]),
  ];
  return sections.join("\n");
}

function formatVolumes(volumes: readonly RestoredVolume[]): string[] {
  const podVolumes = volumes.flatMap(({ pvrInfo }) => (pvrInfo === undefined ? [] : [pvrInfo]));
  const moved = volumes.filter(({ snapshotDataMovementInfo }) => snapshotDataMovementInfo !== undefined);
  const lines = moved.flatMap(({ pvcNamespace, pvcName, snapshotDataMovementInfo: info }) => [
    `  ${pvcNamespace}/${pvcName}:`,
    "    Data Movement:",
    `      Operation ID: ${info?.operationID ?? ""}`,
    `      Data Mover: ${info?.dataMover || "velero"}`,
    `      Uploader Type: ${info?.uploaderType ?? ""}`,
  ]);
  return [
    ...(podVolumes.length === 0 ? [] : [`${formatPodVolumes("{type} Restores", podVolumes, "").join("\n")}\n`]),
    ...(moved.length === 0 ? [] : [`CSI Snapshot Restores:\n${lines.join("\n")}\n`]),
  ];
}

function formatUploaderConfig({ spec }: Restore): string[] {
  const rows = [
    ...(spec.uploaderConfig?.writeSparseFiles === true ? [["Write Sparse Files", "true"] as const] : []),
    ...((spec.uploaderConfig?.parallelFilesDownload ?? 0) > 0 ? [["Parallel Restore", String(spec.uploaderConfig?.parallelFilesDownload)] as const] : []),
  ];
  return rows.length === 0 ? [] : [`Uploader config:\n${formatFacts(rows, "  ")}`];
}
