import { backupRepositories, backupStorageLocations, backups, LABELS, validLabelValue } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly confirm?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "locations")
    .option("--confirm", "yes, delete")
    .action((names: string[], options: Options) => withCluster(options, terminal, (access) => deleteLocations(access, names, options, terminal)));
}

/** Takes locations out of the cluster, and with them the records of what is in their buckets; the buckets stay. Throws USAGE without --confirm. */
export async function deleteLocations(access: ClusterAccess, names: readonly string[], options: Pick<Options, "confirm">, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  for (const name of names) await getNamed(client, backupStorageLocations, { namespace, name }, terminal.signal);
  if (options.confirm !== true)
    throw new DrayError("USAGE", `Cannot delete ${names.map((name) => `"${name}"`).join(", ")} without --confirm`, {
      hint: "The records of its backups go from the cluster; what is in the bucket stays, and comes back with the location.",
    });
  for (const name of names) {
    await client.delete(backupStorageLocations, { namespace, name }, { signal: terminal.signal });
    terminal.out(`Backup storage location "${name}" deleted successfully.\n`);
    await deleteLabeled(access, backups, "backup", name, terminal);
    await deleteLabeled(access, backupRepositories, "backup repository", name, terminal);
  }
}

async function deleteLabeled<T extends KubeObject>(
  { client, namespace }: ClusterAccess,
  type: ResourceType<T>,
  noun: string,
  location: string,
  terminal: Terminal,
): Promise<void> {
  const labelSelector = `${LABELS.storageLocation}=${validLabelValue(location)}`;
  const found: string[] = [];
  for await (const { metadata } of client.listAll(type, { namespace, labelSelector, signal: terminal.signal })) found.push(metadata.name ?? "");
  for (const name of found) {
    await client.delete(type, { namespace, name }, { signal: terminal.signal });
    terminal.out(`Removed associated ${noun} "${name}".\n`);
  }
}
