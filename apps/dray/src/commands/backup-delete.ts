import { type Backup, backups, deleteBackupRequests } from "@drayage/api";
import { DrayError, randomSuffix } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly confirm?: boolean;
  readonly all?: boolean;
  readonly selector?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
}

const POLL_MS = 500;
const WAIT_LIMIT_MS = 10 * 60_000;

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("[names...]", "backups")
    .option("--confirm", "yes, delete")
    .option("--all", "every backup")
    .option("-l, --selector <labels>", "backups with these labels")
    .option("-w, --wait", "wait until everything is gone")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .action((names: string[], options: Options) => {
      if (names.length === 0 && options.all !== true && options.selector === undefined)
        throw new DrayError("USAGE", "Cannot delete backups: name them, or use --selector or --all");
      const limitMs = parseTimeout(options.timeout) ?? WAIT_LIMIT_MS;
      return withCluster(options, terminal, (access) => deleteBackups(names, options, limitMs, access, terminal));
    });
}

async function deleteBackups(names: readonly string[], options: Options, limitMs: number, access: ClusterAccess, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  const chosen: Backup[] = [];
  for (const name of names) chosen.push(await getNamed(client, backups, { namespace, name }, terminal.signal));
  if (names.length === 0) {
    for await (const backup of client.listAll(backups, { namespace, labelSelector: options.selector, signal: terminal.signal })) chosen.push(backup);
  }
  if (chosen.length === 0) {
    terminal.err(`No backups found in namespace ${namespace}.\n`);
    return;
  }
  if (options.confirm !== true) {
    throw new DrayError("USAGE", `Cannot delete ${chosen.map(({ metadata }) => `"${metadata.name}"`).join(", ")} without --confirm`, {
      hint: "It removes the backup's files, its moved data and its restores' records.",
    });
  }
  for (const { metadata } of chosen) {
    const name = metadata.name ?? "";
    await client.create(
      deleteBackupRequests,
      {
        apiVersion: "velero.io/v1",
        kind: "DeleteBackupRequest",
        metadata: {
          namespace,
          name: `${name.slice(0, 200)}-${randomSuffix(terminal.random)}`,
          labels: { "velero.io/backup-name": name, ...(metadata.uid === undefined ? {} : { "velero.io/backup-uid": metadata.uid }) },
        },
        spec: { backupName: name },
      },
      { signal: terminal.signal },
    );
    terminal.out(`Request to delete backup "${name}" submitted successfully.\n`);
  }
  if (options.wait === true) await waitUntilGone(chosen, access, terminal, limitMs);
  else terminal.out("The backup will be fully deleted after all associated data (disk snapshots, backup files, restores) are removed.\n");
}

/** Waits for the Backups to vanish; errors of the requests are shown and end in exit code 1. */
async function waitUntilGone(chosen: readonly Backup[], { client, namespace }: ClusterAccess, terminal: Terminal, limitMs: number): Promise<void> {
  const untilMs = terminal.clock.monotonicMs() + limitMs;
  for (const { metadata } of chosen) {
    const name = metadata.name ?? "";
    let failed = false;
    while ((await client.find(backups, { namespace, name }, terminal.signal)) !== undefined) {
      const requests = await client.list(deleteBackupRequests, { namespace, labelSelector: `velero.io/backup-name=${name}`, signal: terminal.signal });
      const errors = requests.items.filter(({ status }) => status?.phase === "Processed").flatMap(({ status }) => status?.errors ?? []);
      if (errors.length > 0) {
        for (const error of errors) terminal.err(`${name}: ${error}\n`);
        terminal.err(
          `  hint: Remove the reason and delete it again. kubectl -n ${namespace} delete backup.velero.io ${name} forgets it and leaves what it stored.\n`,
        );
        terminal.exitCode = EXIT.failed;
        failed = true;
        break;
      }
      if (terminal.clock.monotonicMs() > untilMs)
        throw new DrayError("TIMED_OUT", `Cannot wait longer for backup "${name}" to be deleted`, {
          hint: `dray backup get ${name} shows whether it is still there.`,
        });
      await terminal.clock.sleep(POLL_MS, terminal.signal);
    }
    if (!failed) terminal.out(`Backup "${name}" is gone.\n`);
  }
}
