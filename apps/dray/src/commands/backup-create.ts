import { type Backup, backups, type DataUpload, dataUploads, schedules } from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { backupFromSchedule } from "@drayage/controllers/schedule";
import type { KubeClient } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, collect, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type BackupFlags, backupSpecFrom, metadataFrom, withBackupFlags } from "../cluster/backup-flags.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { formatProgress, reasonsOf, waitForObject } from "../cluster/wait.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions, BackupFlags {
  readonly labels?: string[];
  readonly annotations?: string[];
  readonly fromSchedule?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withBackupFlags(withClusterOptions(command))
    .argument("[name]", "name of the backup; with --from-schedule made from the time when left out")
    .option("--labels <pairs>", "labels of the backup", collect)
    .option("--annotations <pairs>", "annotations of the backup", collect)
    .option("--from-schedule <name>", "what this schedule would back up, now; other flags about what goes in are not taken")
    .option("-w, --wait", "wait until the backup has ended")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .option("--json", "print what happened as JSON")
    .action((name: string | undefined, options: Options) => {
      // What is wrong with the command line is said before a cluster is asked for.
      const timeoutMs = parseTimeout(options.timeout);
      const spec = backupSpecFrom(options);
      const { fromSchedule } = options;
      if (fromSchedule !== undefined) {
        if (Object.keys(spec).length > 0)
          throw new DrayError(
            "USAGE",
            `Cannot create backup: --from-schedule takes everything from schedule "${fromSchedule}", and ${Object.keys(spec).join(", ")} is asked for too`,
          );
        const { name: _, ...metadata } = metadataFrom("", options);
        return withCluster(options, terminal, (access) => createFromSchedule(access, fromSchedule, { name, metadata, timeoutMs }, options, terminal));
      }
      if (name === undefined) throw new DrayError("USAGE", "Cannot create backup: name it, or use --from-schedule");
      return withCluster(options, terminal, (access) =>
        createBackup(access, { metadata: metadataFrom(name, options), spec }, { ...options, timeoutMs }, terminal),
      );
    });
}

/** How a command that makes a Backup ends. */
export interface AfterCreate {
  readonly wait?: boolean;
  readonly timeoutMs: number | undefined;
  readonly json?: boolean;
}

/** Makes the Backup that a Schedule asks for, now. Throws KUBE_NOT_FOUND. */
export async function createFromSchedule(
  access: ClusterAccess,
  scheduleName: string,
  asked: { readonly name: string | undefined; readonly metadata?: Omit<Backup["metadata"], "name">; readonly timeoutMs: number | undefined },
  options: Omit<AfterCreate, "timeoutMs">,
  terminal: Terminal,
): Promise<void> {
  const schedule = await getNamed(access.client, schedules, { namespace: access.namespace, name: scheduleName }, terminal.signal);
  const { metadata, spec } = backupFromSchedule(schedule, terminal.clock.nowMs(), asked.name);
  const labels = { ...metadata.labels, ...asked.metadata?.labels };
  const annotations = { ...metadata.annotations, ...asked.metadata?.annotations };
  if (options.json !== true) terminal.out("Creating backup from schedule, all other filters are ignored.\n");
  const named = { ...metadata, labels, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) };
  await createBackup(access, { metadata: named, spec }, { ...options, timeoutMs: asked.timeoutMs }, terminal);
}

/** Makes a Backup and, where asked to, waits for its end. */
export async function createBackup(
  { client, namespace }: ClusterAccess,
  { metadata, spec }: Pick<Backup, "metadata" | "spec">,
  options: AfterCreate,
  terminal: Terminal,
): Promise<void> {
  const name = metadata.name ?? "";
  const backup = await client
    .create(backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata: { ...metadata, namespace }, spec }, { signal: terminal.signal })
    .catch((error: unknown) => {
      throw explainTaken(error, "backup", name);
    });
  if (options.json !== true) terminal.out(`Backup request "${name}" submitted successfully.\n`);
  if (options.wait !== true) {
    if (options.json === true) terminal.out(`${JSON.stringify({ type: "summary", schema: 1, backup: name, phase: backup.status?.phase ?? "New" })}\n`);
    else terminal.out(`Run \`dray backup describe ${name}\` or \`dray backup logs ${name}\` for more details.\n`);
    return;
  }
  if (options.json !== true) terminal.err("Waiting for the backup to end. Ctrl-C stops the waiting only: the backup goes on in the cluster.\n");
  const ended = await waitForBackup(client, namespace, name, terminal, options.timeoutMs);
  const phase = ended.status?.phase ?? "";
  const reasons = reasonsOf(ended.status);
  if (options.json === true) {
    const counts = { errors: ended.status?.errors ?? 0, warnings: ended.status?.warnings ?? 0 };
    terminal.out(`${JSON.stringify({ type: "summary", schema: 1, backup: name, phase, ...counts, ...(reasons.length === 0 ? {} : { reasons }) })}\n`);
  } else {
    for (const reason of reasons) terminal.err(`  ${reason}\n`);
    terminal.out(
      `Backup completed with status: ${phase}. You may check for more information using the commands \`dray backup describe ${name}\` and \`dray backup logs ${name}\`.\n`,
    );
  }
  terminal.exitCode = exitCodeOfPhase(phase);
}

/** 0 for Completed, 3 for PartiallyFailed, 1 for anything else. */
export function exitCodeOfPhase(phase: string): number {
  if (phase === "Completed") return EXIT.ok;
  return phase === "PartiallyFailed" ? EXIT.partiallyFailed : EXIT.failed;
}

const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"]);

/** Waits until the backup has ended, showing what it does and how far its volumes are. */
export async function waitForBackup(client: KubeClient, namespace: string, name: string, terminal: Terminal, timeoutMs?: number): Promise<Backup> {
  const uploads = new Map<string, DataUpload>();
  const watching = new AbortController();
  const following = followUploads(client, namespace, name, uploads, AbortSignal.any([terminal.signal, watching.signal]));
  try {
    return await waitForObject(
      client,
      backups,
      { namespace, name },
      {
        terminal,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        done: (backup) => ENDED.has(backup.status?.phase ?? ""),
        line: (backup) => {
          const items = backup.status?.progress;
          const moved = [...uploads.values()].reduce(
            (sum, { status }) => ({ done: sum.done + (status?.progress?.bytesDone ?? 0), total: sum.total + (status?.progress?.totalBytes ?? 0) }),
            { done: 0, total: 0 },
          );
          return `${name}: ${backup.status?.phase ?? "New"}${items === undefined || items === null ? "" : `, ${items.itemsBackedUp ?? 0} of ${items.totalItems ?? 0} items`}${uploads.size === 0 ? "" : `, ${uploads.size} volumes, ${formatProgress(moved.done, moved.total)}`}`;
        },
      },
    );
  } finally {
    watching.abort();
    await following;
  }
}

/** Keeps the DataUploads of a backup fresh for the progress line; it is decoration, so a failure only means less to show. */
async function followUploads(client: KubeClient, namespace: string, name: string, uploads: Map<string, DataUpload>, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of client.watch(dataUploads, { namespace, labelSelector: `velero.io/backup-name=${name}`, signal })) {
      if (event.type !== "BOOKMARK") uploads.set(event.object.metadata.name ?? "", event.object);
    }
  } catch {
    return;
  }
}

/** A name that is taken already is the reader's to change. */
export function explainTaken(error: unknown, noun: string, name: string): unknown {
  if (!hasCode(error, "KUBE_ALREADY_EXISTS")) return error;
  return new DrayError("KUBE_ALREADY_EXISTS", `Cannot create ${noun} "${name}": there is one of that name`, {
    cause: error,
    hint: `Choose another name, or look at it with dray ${noun} describe ${name}.`,
  });
}
