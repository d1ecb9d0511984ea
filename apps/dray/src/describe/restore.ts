import type { DataDownload, Restore } from "@drayage/api";
import { formatProgress } from "../cluster/wait.ts";
import {
  formatFacts,
  formatGoTime,
  formatList,
  formatMap,
  formatMessages,
  formatOperations,
  formatResourceList,
  formatSelector,
  formatTristate,
} from "./facts.ts";

export interface RestoreDetails {
  readonly results?: { readonly errors?: object; readonly warnings?: object } | undefined;
  readonly operations?: Parameters<typeof formatOperations>[0] | undefined;
  readonly resourceList?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly downloads?: readonly DataDownload[] | undefined;
}

/** A restore in the layout of Velero's CLI. */
export function describeRestore(restore: Restore, details: RestoreDetails): string {
  const { metadata, spec, status } = restore;
  const phase = status?.phase ?? "New";
  const failed = phase === "Failed" || phase === "PartiallyFailed";
  const downloads = (details.downloads ?? []).map(
    ({ spec: { targetVolume }, status: state }) =>
      `  ${targetVolume.namespace}/${targetVolume.pvc}: ${state?.phase ?? "New"}, ${formatProgress(state?.progress?.bytesDone, state?.progress?.totalBytes)}\n`,
  );
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
    ...(details.results === undefined ? [] : [formatMessages("Errors", details.results.errors), formatMessages("Warnings", details.results.warnings)]),
    formatFacts([["Backup", spec.backupName ?? ""]]),
    `Namespaces:\n${formatFacts(
      [
        ["Included", formatList(spec.includedNamespaces, "all namespaces found in the backup")],
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
    formatFacts([["Restore PVs", formatTristate(spec.restorePVs)]]),
    formatFacts([
      ["Existing Resource Policy", spec.existingResourcePolicy ?? "<none>"],
      ["ItemOperationTimeout", spec.itemOperationTimeout ?? ""],
    ]),
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
