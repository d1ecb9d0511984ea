import type { DataDownload, DataUpload } from "@drayage/api";
import { formatBytes, parseTime } from "@drayage/base";
import type { CoreEvent } from "@drayage/kube";
import { formatProgress } from "../cluster/wait.ts";
import { formatElapsed } from "../output/table.ts";
import { formatFacts, formatGoTime, formatMap } from "./facts.ts";
import { formatTransfer, transferFacts } from "./transfer.ts";

/** A DataUpload or DataDownload for people: where it is, how far, and what happened to it. */
export function describeDataMovement(object: DataUpload | DataDownload, events: readonly CoreEvent[], nowMs: number): string {
  const { metadata, spec, status } = object;
  const isUpload = "sourcePVC" in spec;
  const startedMs = parseTime(status?.startTimestamp);
  const endedMs = parseTime(status?.completionTimestamp);
  const { details } = transferFacts(object, nowMs);
  const volume = isUpload ? `${spec.sourceNamespace}/${spec.sourcePVC}` : `${spec.targetVolume.namespace}/${spec.targetVolume.pvc}`;
  const facts = formatFacts([
    ["Name", metadata.name ?? ""],
    ["Namespace", metadata.namespace ?? ""],
    ["Labels", formatMap(metadata.labels)],
    undefined,
    ["Phase", status?.phase ?? "New"],
    ["Message", status?.message ?? "<none>"],
    ["Volume", volume],
    ["Mover", spec.datamover === undefined || spec.datamover === "" ? "velero" : spec.datamover],
    ["Storage Location", spec.backupStorageLocation],
    ["Snapshot ID", (isUpload ? object.status !== undefined && "snapshotID" in object.status && object.status.snapshotID : spec.snapshotID) || "<none>"],
    ["Cancel requested", String(spec.cancel ?? false)],
    undefined,
    ["Node", status?.node ?? "<none>"],
    [
      "Accepted by",
      `${status?.acceptedByNode ?? "<none>"}${status?.acceptedTimestamp === undefined || status.acceptedTimestamp === null ? "" : ` at ${formatGoTime(status.acceptedTimestamp)}`}`,
    ],
    ["Started", formatGoTime(status?.startTimestamp)],
    ["Completed", formatGoTime(status?.completionTimestamp)],
    ["Took", startedMs === undefined ? "<n/a>" : formatElapsed((endedMs ?? nowMs) - startedMs)],
    ["Progress", formatProgress(status?.progress?.bytesDone, status?.progress?.totalBytes)],
    ["Speed", formatTransfer(object, nowMs) || "<none>"],
    ...(details === undefined
      ? []
      : ([
          ["Files", `${details.filesDone} of ${details.filesTotal}${details.errors === 0 ? "" : `, ${details.errors} not moved`}`],
          [
            isUpload ? "Stored" : "Fetched",
            isUpload ? `${formatBytes(details.bytesStored)}, ${formatBytes(details.bytesDeduplicated)} were there already` : formatBytes(details.bytesStored),
          ],
        ] as const)),
  ]);
  const timeOf = (event: CoreEvent): string => event.lastTimestamp ?? event.metadata.creationTimestamp ?? "";
  const lines = [...events]
    .sort((a, b) => (timeOf(a) < timeOf(b) ? -1 : timeOf(a) > timeOf(b) ? 1 : 0))
    .map((event) => `  ${formatGoTime(timeOf(event))}  ${event.type ?? "Normal"}  ${event.reason ?? ""}  ${event.message ?? ""}\n`);
  return `${facts}\nEvents:${lines.length === 0 ? "  <none>\n" : `\n${lines.join("")}`}`;
}
