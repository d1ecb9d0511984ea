/** Do volumes move that should? */
import { type DataUploadStatus, dataDownloads, dataUploads } from "@drayage/api";
import { parseTime } from "@drayage/base";
import type { KubeObject, ResourceType } from "@drayage/kube";
import { formatElapsed } from "../output/table.ts";
import type { Finding, Question } from "./finding.ts";

/** What DataUpload and DataDownload have in common here. */
export type Movement = KubeObject & { readonly status?: Pick<DataUploadStatus, "phase" | "message" | "startTimestamp" | "acceptedTimestamp"> };
export const MOVEMENTS = [dataUploads, dataDownloads] as readonly unknown[] as readonly ResourceType<Movement>[];

/** A movement that has not moved for this long is worth a look. */
const STUCK_MS = 30 * 60_000;

export const movements: Question["ask"] = async ({ client, namespace, nowMs, signal }) => {
  const findings: Finding[] = [];
  for (const type of MOVEMENTS) {
    for await (const { metadata, status } of client.listAll(type, { namespace, signal })) {
      const phase = status?.phase ?? "New";
      if (["Completed", "Failed", "Canceled"].includes(phase)) continue;
      const sinceMs = parseTime(status?.startTimestamp) ?? parseTime(status?.acceptedTimestamp) ?? parseTime(metadata.creationTimestamp) ?? nowMs;
      if (nowMs - sinceMs < STUCK_MS || phase === "InProgress") continue;
      findings.push({
        severity: "warning",
        what: `${type.kind} "${metadata.name}" has been ${phase} for ${formatElapsed(nowMs - sinceMs)}`,
        why: status?.message ?? "No node-agent has said why.",
        fix: `dray ${type.kind === "DataUpload" ? "data-upload" : "data-download"} describe ${metadata.name}`,
      });
    }
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "No data movement is stuck" }];
};
