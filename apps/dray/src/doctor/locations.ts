/** Can the places be reached where backups go? */
import { backupRepositories, backupStorageLocations } from "@drayage/api";
import type { Finding, Question } from "./finding.ts";

export const locations: Question["ask"] = async ({ client, namespace, signal }) => {
  const { items } = await client.list(backupStorageLocations, { namespace, signal });
  if (items.length === 0)
    return [{ severity: "error", what: "There is no backup location", why: "Backups have nowhere to go.", fix: "dray install --provider … --bucket …" }];
  const findings: Finding[] = items.map(({ metadata, status }) =>
    status?.phase === "Available"
      ? { severity: "ok", what: `Backup location "${metadata.name}" is available` }
      : {
          severity: "error",
          what: `Backup location "${metadata.name}" is ${status?.phase ?? "not looked at yet"}`,
          why: status?.message ?? "The server has not reported.",
          fix: "Check bucket, endpoint, credentials and CA of the location.",
        },
  );
  const defaults = items.filter(({ spec }) => spec.default === true).length;
  if (defaults !== 1)
    findings.push({
      severity: "warning",
      what: `${defaults} backup locations are the default`,
      why: "A backup that names no location needs exactly one.",
      fix: "Set spec.default of one of them.",
    });
  return findings;
};

export const repositories: Question["ask"] = async ({ client, namespace, signal }) => {
  const findings: Finding[] = [];
  for await (const { metadata, status } of client.listAll(backupRepositories, { namespace, signal })) {
    if (status?.phase === "NotReady")
      findings.push({
        severity: "error",
        what: `Repository "${metadata.name}" is not ready`,
        why: status.message ?? "No reason was given.",
        fix: "Check the location and the repository password.",
      });
  }
  return findings.length > 0 ? findings : [{ severity: "ok", what: "No repository is out of order" }];
};
