import { type Backup, type BackupSpec, type DataMoverBackup, type DataUpload, LABELS, MOVER_ANNOTATIONS } from "@drayage/api";
import { formatBytes } from "@drayage/base";
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

/** What `describe` found beside the object itself; what was not asked for or is not there is left out. */
export interface BackupDetails {
  readonly results?: { readonly errors?: object; readonly warnings?: object } | undefined;
  readonly operations?: Parameters<typeof formatOperations>[0] | undefined;
  readonly resourceList?: Readonly<Record<string, readonly string[]>> | undefined;
  readonly volumes?: readonly VolumeInfo[] | undefined;
  readonly uploads?: readonly DataUpload[] | undefined;
  /** Of resources that are no volumes. */
  readonly moves?: readonly DataMoverBackup[] | undefined;
  /** The time, for how fast uploads go. */
  readonly nowMs?: number;
}

interface VolumeInfo {
  readonly pvName?: string;
  readonly pvcName?: string;
  readonly pvcNamespace?: string;
  readonly backupMethod?: string;
  readonly skipped?: boolean;
  readonly skippedReason?: string;
  readonly snapshotDataMoved?: boolean;
  readonly result?: string;
  readonly snapshotDataMovementInfo?: {
    readonly dataMover: string;
    readonly uploaderType: string;
    readonly operationID: string;
    readonly size: number;
    readonly incrementalSize?: number;
  };
  readonly pvbInfo?: PodVolumeInfo;
}

/** A backup in the layout of Velero's CLI. */
export function describeBackup(backup: Backup, details: BackupDetails): string {
  const { metadata, spec, status } = backup;
  const name = metadata.name ?? "";
  const phase = status?.phase ?? "New";
  const failed = phase === "Failed" || phase === "PartiallyFailed";
  const sections = [
    formatFacts([
      ["Name", name],
      ["Namespace", metadata.namespace ?? ""],
      ["Labels", formatMap(metadata.labels)],
      ["Annotations", formatMap(metadata.annotations)],
    ]),
    formatFacts([["Phase", failed ? `${phase} (run \`dray backup logs ${name}\` for more information)` : phase]]),
    ...(status?.failureReason === undefined ? [] : [formatFacts([["Failure Reason", status.failureReason]])]),
    ...((status?.validationErrors ?? []).length === 0
      ? []
      : [`Validation errors:\n${(status?.validationErrors ?? []).map((error) => `  ${error}\n`).join("")}`]),
    ...formatResults(status, details.results),
    ...formatBackupSpec(spec),
    formatFacts([["Backup Format Version", status?.formatVersion ?? ""]]),
    formatFacts([
      ["Started", formatGoTime(status?.startTimestamp)],
      ["Completed", formatGoTime(status?.completionTimestamp)],
    ]),
    formatFacts([["Expiration", formatGoTime(status?.expiration)]]),
    ...(status?.progress === undefined || status.progress === null
      ? []
      : [
          formatFacts([
            ["Total items to be backed up", String(status.progress.totalItems ?? 0)],
            ["Items backed up", String(status.progress.itemsBackedUp ?? 0)],
          ]),
        ]),
    formatOperationSection(backup, details),
    ...(details.resourceList === undefined ? [] : [formatResourceList(details.resourceList)]),
    ...(details.volumes === undefined ? [] : [formatVolumes(details.volumes, details.uploads ?? [])]),
    ...((details.moves ?? []).length === 0 ? [] : [formatMoves(details.moves ?? [])]),
    ...(status?.hookStatus === undefined || status.hookStatus === null
      ? []
      : [
          formatFacts([
            ["HooksAttempted", String(status.hookStatus.hooksAttempted ?? 0)],
            ["HooksFailed", String(status.hookStatus.hooksFailed ?? 0)],
          ]),
        ]),
  ];
  return sections.filter((section) => section !== "").join("\n");
}

/** What a backup takes, section by section; a schedule's template has the same. */
export function formatBackupSpec(spec: BackupSpec): string[] {
  return [
    ...((spec.uploaderConfig?.parallelFilesUpload ?? 0) > 0
      ? [`Uploader config:\n${formatFacts([["Parallel files upload", String(spec.uploaderConfig?.parallelFilesUpload)]], "  ")}`]
      : []),
    ...(spec.resourcePolicy == null
      ? []
      : [
          `Resource policies:\n${formatFacts(
            [
              ["Type", spec.resourcePolicy.kind],
              ["Name", spec.resourcePolicy.name],
            ],
            "  ",
          )}`,
        ]),
    `Namespaces:\n${formatFacts(
      [
        ["Included", formatList(spec.includedNamespaces, "*")],
        ["Excluded", formatList(spec.excludedNamespaces)],
      ],
      "  ",
    )}`,
    `Resources:\n${formatFacts(resourceRows(spec), "  ")}`,
    formatFacts([["Label selector", formatSelector(spec.labelSelector)]]),
    formatFacts([["Or label selector", (spec.orLabelSelectors ?? []).map(formatSelector).join(" or ") || "<none>"]]),
    ...(Object.keys(spec.orderedResources ?? {}).length === 0 ? [] : [`Ordered resources:\n${formatFacts(Object.entries(spec.orderedResources ?? {}), "  ")}`]),
    formatFacts([["Storage Location", spec.storageLocation ?? ""]]),
    formatFacts([
      ["Velero-Native Snapshot PVs", formatTristate(spec.snapshotVolumes)],
      ["File System Backup (Default)", formatTristate(spec.defaultVolumesToFsBackup, "false")],
      ["Snapshot Move Data", formatTristate(spec.snapshotMoveData)],
      ["Data Mover", spec.datamover === undefined || spec.datamover === "" ? "velero" : spec.datamover],
    ]),
    ...((spec.volumeSnapshotLocations ?? []).length === 0 ? [] : [formatFacts([["Snapshot Locations", formatList(spec.volumeSnapshotLocations)]])]),
    formatFacts([["TTL", spec.ttl ?? ""]]),
    formatFacts([
      ["CSISnapshotTimeout", spec.csiSnapshotTimeout ?? ""],
      ["ItemOperationTimeout", spec.itemOperationTimeout ?? ""],
    ]),
    formatHooks(spec),
  ];
}

function resourceRows(spec: BackupSpec): (readonly [string, string])[] {
  const newStyle = [
    spec.includedClusterScopedResources,
    spec.excludedClusterScopedResources,
    spec.includedNamespaceScopedResources,
    spec.excludedNamespaceScopedResources,
  ].some((list) => (list ?? []).length > 0);
  if (!newStyle) {
    return [
      ["Included", formatList(spec.includedResources, "*")],
      ["Excluded", formatList(spec.excludedResources)],
      ["Cluster-scoped", formatTristate(spec.includeClusterResources)],
    ];
  }
  return [
    ["Included cluster-scoped", formatList(spec.includedClusterScopedResources)],
    ["Excluded cluster-scoped", formatList(spec.excludedClusterScopedResources)],
    ["Included namespace-scoped", formatList(spec.includedNamespaceScopedResources, "*")],
    ["Excluded namespace-scoped", formatList(spec.excludedNamespaceScopedResources)],
  ];
}

function formatHooks(spec: BackupSpec): string {
  const hooks = spec.hooks?.resources ?? [];
  if (hooks === null || hooks.length === 0) return formatFacts([["Hooks", "<none>"]]);
  return `Hooks:\n  Resources:\n${hooks
    .map((hook) => {
      const exec = (
        when: string,
        list: readonly { exec: { command: readonly string[]; container?: string; onError?: string; timeout?: string } }[] | undefined,
      ): string =>
        (list ?? [])
          .map(({ exec: { command, container, onError, timeout } }) =>
            formatFacts(
              [
                [`${when} exec`, command.join(" ")],
                ["Container", container ?? "<first>"],
                ["On Error", onError ?? "Fail"],
                ["Timeout", timeout ?? "30s"],
              ],
              "      ",
            ),
          )
          .join("");
      return `    ${hook.name}:\n${exec("Pre", hook.pre)}${exec("Post", hook.post)}`;
    })
    .join("")}`;
}

function formatOperationSection({ status }: Backup, details: BackupDetails): string {
  const attempted = status?.backupItemOperationsAttempted ?? 0;
  if (details.operations !== undefined && details.operations.length > 0) return `Backup Item Operations:\n${formatOperations(details.operations, "Backup")}`;
  const running = (details.uploads ?? []).map((upload) => {
    const volume = `${upload.spec.sourceNamespace}/${upload.spec.sourcePVC}`;
    return `  ${formatMovement(volume, upload, details.nowMs)}\n`;
  });
  if (running.length > 0) return `Backup Item Operations:\n${running.join("")}`;
  if (attempted === 0) return "";
  return `Backup Item Operations:  ${status?.backupItemOperationsCompleted ?? 0} of ${attempted} completed successfully, ${status?.backupItemOperationsFailed ?? 0} failed (specify --details for more information)\n`;
}

/** What movers moved that is no volume. */
function formatMoves(moves: readonly DataMoverBackup[]): string {
  const lines = moves.flatMap(({ metadata, spec, status }) => {
    const { kind, namespace, name } = spec.source;
    return [
      `  ${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}:`,
      `    Data Mover: ${spec.mover}${chosenBecause(metadata.annotations)}`,
      `    Moved data Size (bytes): ${status?.progress?.totalBytes ?? 0} (${formatBytes(status?.progress?.totalBytes ?? 0)})`,
      `    Result: ${status?.phase ?? "New"}${status?.message === undefined ? "" : `: ${status.message}`}`,
    ];
  });
  return `Moved Resources:\n${lines.join("\n")}\n`;
}

/** ` (its annotation names it)`, as the choice was recorded. */
function chosenBecause(annotations: Readonly<Record<string, string>> | undefined): string {
  const reason = annotations?.[MOVER_ANNOTATIONS.reason];
  return reason === undefined ? "" : ` (${reason})`;
}

function formatVolumes(volumes: readonly VolumeInfo[], uploads: readonly DataUpload[]): string {
  const uploadOf = ({ snapshotDataMovementInfo: info }: VolumeInfo): DataUpload | undefined =>
    info === undefined ? undefined : uploads.find(({ metadata }) => metadata.labels?.[LABELS.asyncOperationId] === info.operationID);
  const snapshots = volumes.filter((volume) => volume.backupMethod === "CSISnapshot" && volume.skipped !== true);
  const podVolumes = volumes.flatMap(({ pvbInfo }) => (pvbInfo === undefined ? [] : [pvbInfo]));
  const native = volumes.filter((volume) => volume.backupMethod === "NativeSnapshot");
  const skipped = volumes.filter((volume) => volume.skipped === true);
  const name = (volume: VolumeInfo): string => `${volume.pvcNamespace}/${volume.pvcName}`;
  return [
    "Backup Volumes:",
    `  Velero-Native Snapshots:${native.length === 0 ? " <none included>" : ""}`,
    ...native.map((volume) => `    ${volume.pvName ?? name(volume)}: ${volume.result ?? ""}`),
    "",
    `  CSI Snapshots:${snapshots.length === 0 ? " <none included>" : ""}`,
    ...snapshots.flatMap((volume) => [`    ${name(volume)}:`, ...dataMovement(volume, chosenBecause(uploadOf(volume)?.metadata.annotations))]),
    "",
    ...(podVolumes.length === 0 ? ["  Pod Volume Backups: <none included>"] : formatPodVolumes("Pod Volume Backups - {type}", podVolumes, "  ")),
    ...(skipped.length === 0 ? [] : ["", "  Skipped:", ...skipped.map((volume) => `    ${name(volume)}: ${volume.skippedReason ?? ""}`)]),
    "",
  ].join("\n");
}

/** What became of the data of one CSI snapshot: in the store, or in the cluster still. */
function dataMovement({ snapshotDataMovementInfo: info, result }: VolumeInfo, because: string): string[] {
  if (info === undefined) return ["      Snapshot:", `        Result: ${result ?? ""}`];
  const bytes = (count: number): string => `${count} (${formatBytes(count)})`;
  return [
    "      Data Movement:",
    `        Operation ID: ${info.operationID}`,
    `        Data Mover: ${info.dataMover === "" ? "velero" : info.dataMover}${because}`,
    `        Uploader Type: ${info.uploaderType}`,
    `        Moved data Size (bytes): ${bytes(info.size)}`,
    ...(info.incrementalSize === undefined ? [] : [`        Incremental data Size (bytes): ${bytes(info.incrementalSize)}`]),
    `        Result: ${result ?? ""}`,
  ];
}
