import { backups, type DataDownload, dataDownloads, type Restore, restores, schedules } from "@drayage/api";
import type { KubeClient } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type RestoreFlags, restoreFrom, withRestoreFlags } from "../cluster/restore-flags.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { formatProgress, reasonsOf, waitForObject } from "../cluster/wait.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodeOfPhase, explainTaken } from "./backup-create.ts";

interface Options extends RestoreFlags {
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRestoreFlags(withClusterOptions(command).argument("[name]", "name of the restore; the backup's name and the time when left out"))
    .option("-w, --wait", "wait until the restore has ended")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .option("--json", "print what happened as JSON")
    .action((given: string | undefined, options: Options) => {
      const restore = restoreFrom(given, options, terminal);
      const timeoutMs = parseTimeout(options.timeout);
      return withCluster(options, terminal, (access) => create(restore, timeoutMs, options, access, terminal));
    });
}

async function create(restore: Restore, timeoutMs: number | undefined, options: Options, access: ClusterAccess, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  const { name = "" } = restore.metadata;
  if (options.fromBackup !== undefined) await getNamed(client, backups, { namespace, name: options.fromBackup }, terminal.signal);
  if (options.fromSchedule !== undefined) await getNamed(client, schedules, { namespace, name: options.fromSchedule }, terminal.signal);
  await client.create(restores, { ...restore, metadata: { ...restore.metadata, namespace } }, { signal: terminal.signal }).catch((error: unknown) => {
    throw explainTaken(error, "restore", name);
  });
  if (options.json !== true) terminal.out(`Restore request "${name}" submitted successfully.\n`);
  if (options.wait !== true) {
    if (options.json === true) terminal.out(`${JSON.stringify({ type: "summary", schema: 1, restore: name, phase: "New" })}\n`);
    else terminal.out(`Run \`dray restore describe ${name}\` or \`dray restore logs ${name}\` for more details.\n`);
    return;
  }
  if (options.json !== true) terminal.err("Waiting for the restore to end. Ctrl-C stops the waiting only: the restore goes on in the cluster.\n");
  const ended = await waitForRestore(client, namespace, name, terminal, timeoutMs);
  const phase = ended.status?.phase ?? "";
  const reasons = reasonsOf(ended.status);
  if (options.json === true) {
    const counts = { errors: ended.status?.errors ?? 0, warnings: ended.status?.warnings ?? 0 };
    terminal.out(`${JSON.stringify({ type: "summary", schema: 1, restore: name, phase, ...counts, ...(reasons.length === 0 ? {} : { reasons }) })}\n`);
  } else {
    for (const reason of reasons) terminal.err(`  ${reason}\n`);
    terminal.out(
      `Restore completed with status: ${phase}. You may check for more information using the commands \`dray restore describe ${name}\` and \`dray restore logs ${name}\`.\n`,
    );
  }
  terminal.exitCode = exitCodeOfPhase(phase);
}

const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation"]);

/** Waits until the restore has ended, showing what it does and how far its volumes are. */
export async function waitForRestore(client: KubeClient, namespace: string, name: string, terminal: Terminal, timeoutMs?: number): Promise<Restore> {
  const downloads = new Map<string, DataDownload>();
  const watching = new AbortController();
  const following = follow(client, namespace, name, downloads, AbortSignal.any([terminal.signal, watching.signal]));
  try {
    return await waitForObject(
      client,
      restores,
      { namespace, name },
      {
        terminal,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        done: (restore) => ENDED.has(restore.status?.phase ?? ""),
        line: (restore) => {
          const items = restore.status?.progress;
          const moved = [...downloads.values()].reduce(
            (sum, { status }) => ({ done: sum.done + (status?.progress?.bytesDone ?? 0), total: sum.total + (status?.progress?.totalBytes ?? 0) }),
            { done: 0, total: 0 },
          );
          return `${name}: ${restore.status?.phase ?? "New"}${items === undefined || items === null ? "" : `, ${items.itemsRestored ?? 0} of ${items.totalItems ?? 0} items`}${downloads.size === 0 ? "" : `, ${downloads.size} volumes, ${formatProgress(moved.done, moved.total)}`}`;
        },
      },
    );
  } finally {
    watching.abort();
    await following;
  }
}

/** As for backups: decoration of the progress line. */
async function follow(client: KubeClient, namespace: string, name: string, downloads: Map<string, DataDownload>, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of client.watch(dataDownloads, { namespace, labelSelector: `velero.io/restore-name=${name}`, signal })) {
      if (event.type !== "BOOKMARK") downloads.set(event.object.metadata.name ?? "", event.object);
    }
  } catch {
    return;
  }
}
