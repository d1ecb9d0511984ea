import { tmpdir } from "node:os";
import { type Backup, backups, LABELS, type PodVolumeBackup, podVolumeBackups, schedules, validLabelValue } from "@drayage/api";
import { TarballReader } from "@drayage/archive";
import { DrayError, formatBytes } from "@drayage/base";
import { type BackupArchiveReader, type BackupVolumeInfo, type PlanRestoreOptions, planRestore, type RestorePlan } from "@drayage/controllers";
import { createDiscovery } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadFile, downloadJson } from "../cluster/download.ts";
import { type RestoreFlags, restoreFrom, withRestoreFlags } from "../cluster/restore-flags.ts";
import { formatElapsed, formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RestoreFlags {
  readonly output?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRestoreFlags(withClusterOptions(command))
    .option("-o, --output <format>", "table, wide (with what is created unchanged) or json", "table")
    .action((options: Options) => {
      const { output = "table" } = options;
      if (output !== "table" && output !== "wide" && output !== "json")
        throw new DrayError("USAGE", `Cannot print a plan as "${output}": table, wide or json is wanted`);
      const restore = restoreFrom(undefined, options, terminal);
      return withCluster(options, terminal, async (access) => {
        const { client, namespace } = access;
        if (options.fromBackup !== undefined) await getNamed(client, backups, { namespace, name: options.fromBackup }, terminal.signal);
        if (options.fromSchedule !== undefined) await getNamed(client, schedules, { namespace, name: options.fromSchedule }, terminal.signal);
        const plan = await planRestore({
          client,
          namespace,
          discovery: createDiscovery(client),
          clock: terminal.clock,
          random: terminal.random,
          restore: { ...restore, metadata: { ...restore.metadata, namespace, uid: "plan" } },
          load: (backup) => loadFiles(access, backup, terminal),
          signal: terminal.signal,
        });
        terminal.out(output === "json" ? `${JSON.stringify(plan, null, 2)}\n` : formatPlan(plan, output === "wide"));
        if (plan.faults.length > 0) terminal.exitCode = 1;
      });
    });
}

async function loadFiles(access: ClusterAccess, backup: Backup, terminal: Terminal): ReturnType<PlanRestoreOptions["load"]> {
  const name = backup.metadata.name ?? "";
  const packed = await downloadFile(access, "BackupContents", name, terminal);
  const labelSelector = `${LABELS.backupName}=${validLabelValue(name)}`;
  const read: PodVolumeBackup[] = [];
  // Their file in the bucket has no kind of request; the objects are synced from it.
  for await (const found of access.client.listAll<PodVolumeBackup>(podVolumeBackups, { namespace: access.namespace, labelSelector, signal: terminal.signal }))
    read.push(found);
  return {
    archive: (await TarballReader.open(chunked(packed), name, tmpdir())) as unknown as BackupArchiveReader,
    volumeInfos: (await downloadJson<BackupVolumeInfo[]>(access, "BackupVolumeInfos", name, terminal)) ?? [],
    podVolumeBackups: read,
  };
}

async function* chunked(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The plan for people. Exported for its test. */
export function formatPlan(plan: RestorePlan, wide: boolean): string {
  if (plan.faults.length > 0)
    return `The restore of backup "${plan.backup}" would fail its validation:\n${plan.faults.map((fault) => `  ${fault}\n`).join("")}`;
  const count = (outcome: string): number => plan.items.filter((item) => item.outcome === outcome).length;
  const counts = `${count("created")} would be created, ${count("updated")} changed, ${count("skipped")} skipped, ${count("failed")} would fail`;
  const shown = plan.items.filter(({ outcome, reason }) => wide || outcome !== "created" || reason !== undefined);
  const parts = [`Restore of backup "${plan.backup}": ${counts}.\n`];
  if (plan.namespaces.length > 0) parts.push(`New namespaces: ${plan.namespaces.join(", ")}\n`);
  if (plan.missing.kinds.length > 0) parts.push(`Kinds that the cluster does not serve: ${plan.missing.kinds.join(", ")}\n`);
  if (plan.missing.storageClasses.length > 0) parts.push(`Storage classes that are missing: ${plan.missing.storageClasses.join(", ")}\n`);
  if (shown.length > 0) parts.push("\n", formatTable(shown, ITEM_COLUMNS));
  if (plan.volumes.length > 0) parts.push("\n", formatTable(plan.volumes, VOLUME_COLUMNS), "\n", `${fetchText(plan)}\n`);
  const problems = [...messageLines(plan.errors, "Error"), ...messageLines(plan.warnings, "Warning")];
  const doubts = plan.doubts.map(({ kind, name, message }) => `Not tried: ${kind} ${name}: ${message}`);
  if (problems.length + doubts.length > 0) parts.push("\n", ...[...problems, ...doubts].map((line) => `${line}\n`));
  return parts.join("");
}

const OUTCOMES: Readonly<Record<RestorePlan["items"][number]["outcome"], string>> = { created: "create", updated: "change", skipped: "skip", failed: "fail" };

const ITEM_COLUMNS = [
  { header: "ACTION", value: ({ outcome }: RestorePlan["items"][number]) => OUTCOMES[outcome] },
  { header: "KIND", value: ({ kind }: RestorePlan["items"][number]) => kind },
  { header: "NAME", value: ({ name }: RestorePlan["items"][number]) => name },
  { header: "REASON", value: ({ reason }: RestorePlan["items"][number]) => reason ?? "it is not there" },
];

const VOLUME_COLUMNS = [
  { header: "CLAIM", value: ({ namespace, claim }: RestorePlan["volumes"][number]) => `${namespace}/${claim}` },
  { header: "CLASS", value: ({ storageClass }: RestorePlan["volumes"][number]) => storageClass },
  { header: "SIZE", value: ({ size }: RestorePlan["volumes"][number]) => size },
  { header: "DATA", value: ({ data }: RestorePlan["volumes"][number]) => data },
  { header: "TO FETCH", value: ({ bytes }: RestorePlan["volumes"][number]) => (bytes === undefined ? "unknown" : formatBytes(bytes)) },
];

function fetchText({ fetch: { bytes, seconds, basis } }: RestorePlan): string {
  const amount = `${formatBytes(bytes)} would be fetched`;
  if (bytes === 0) return amount;
  if (seconds === undefined || basis === undefined) return `${amount}; nothing was moved in this cluster before, so there is no estimate of the time`;
  const rate = `${formatBytes(basis.bytesPerSecond)}/s in ${basis.count} earlier ${basis.movements}, ${basis.atOnce} at once`;
  return `${amount} in about ${formatElapsed(seconds * 1_000)} (${rate})`;
}

function messageLines({ velero = [], cluster = [], namespaces = {} }: RestorePlan["errors"], label: string): string[] {
  return [
    ...[...velero, ...cluster].map((message) => `${label}: ${message}`),
    ...Object.entries(namespaces).flatMap(([namespace, messages]) => messages.map((message) => `${label} (${namespace}): ${message}`)),
  ];
}
