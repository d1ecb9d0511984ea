import { backups, type DataMoverBackup, dataMoverBackups, dataUploads, LABELS, validLabelValue } from "@drayage/api";
import { hasCode } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadJson } from "../cluster/download.ts";
import { type BackupDetails, describeBackup } from "../describe/backup.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly details?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "backups")
    .option("--details", "also what it holds: operations, resources, volumes")
    .action((names: string[], options: Options) =>
      withCluster(options, terminal, async (access) => {
        const texts: string[] = [];
        for (const name of names) texts.push(await describe(name, options, access, terminal));
        terminal.out(texts.join("\n\n"));
      }),
    );
}

async function describe(name: string, options: Options, access: ClusterAccess, terminal: Terminal): Promise<string> {
  const { client, namespace } = access;
  const backup = await getNamed(client, backups, { namespace, name }, terminal.signal);
  const phase = backup.status?.phase ?? "New";
  const ended = ["Completed", "PartiallyFailed", "Failed"].includes(phase);
  let details: BackupDetails = {};
  if (ended && ((backup.status?.errors ?? 0) > 0 || (backup.status?.warnings ?? 0) > 0)) {
    details = { ...details, results: await downloadJson<{ errors?: object; warnings?: object }>(access, "BackupResults", name, terminal) };
  }
  const ofBackup = { namespace, labelSelector: `${LABELS.backupName}=${validLabelValue(name)}`, signal: terminal.signal };
  if (!ended) details = { ...details, uploads: await all(client.listAll(dataUploads, ofBackup)), nowMs: terminal.clock.nowMs() };
  else if (options.details === true) {
    details = {
      ...details,
      operations: await downloadJson(access, "BackupItemOperations", name, terminal),
      resourceList: await downloadJson(access, "BackupResourceList", name, terminal),
      volumes: await downloadJson(access, "BackupVolumeInfos", name, terminal),
      // Why a mover was chosen stands on the objects that moved; in a cluster that only knows the backup from its bucket there are none.
      uploads: await all(client.listAll(dataUploads, ofBackup)),
      moves: await movesOf(client, ofBackup),
    };
  }
  return describeBackup(backup, details);
}

async function all<T>(objects: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const object of objects) found.push(object);
  return found;
}

/** Where the cluster does not know the kind there are none. */
async function movesOf(
  client: KubeClient,
  options: { readonly namespace: string; readonly labelSelector: string; readonly signal: AbortSignal },
): Promise<DataMoverBackup[]> {
  try {
    return await all(client.listAll(dataMoverBackups, options));
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    return [];
  }
}
