/** Can pods run where volumes are? */
import { parseTime } from "@drayage/base";
import { nodes } from "@drayage/kube";
import { formatElapsed } from "../output/table.ts";
import type { Finding, Question } from "./finding.ts";

/** A node that has been silent for this long is given up: what it moved goes on elsewhere. */
const DEAD_MS = 60_000;

export const readyNodes: Question["ask"] = async ({ client, nowMs, signal }) => {
  const findings: Finding[] = [];
  let ready = 0;
  for await (const { metadata, status } of client.listAll(nodes, { signal })) {
    const condition = status?.conditions?.find(({ type }) => type === "Ready");
    if (condition?.status === "True") {
      ready++;
      continue;
    }
    const forMs = nowMs - (parseTime(condition?.lastTransitionTime) ?? nowMs);
    if (forMs < DEAD_MS) continue;
    findings.push({
      severity: "warning",
      what: `Node "${metadata.name}" has not been ready for ${formatElapsed(forMs)}`,
      why: condition?.message ?? "Its kubelet has not reported.",
      fix: `kubectl describe node ${metadata.name}`,
    });
  }
  return ready === 0 && findings.length > 0 ? findings.map((finding) => ({ ...finding, severity: "error" as const })) : findings;
};
