import { type Backup, type BackupStorageLocation, backupStorageLocations, backups, type Restore } from "@drayage/api";
import { configMaps, type KubeClient } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { ServerSettings } from "../server-settings.ts";
import type { RestoreFacts } from "./prepare-restore.ts";

export interface LoadRestoreFactsOptions {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
  readonly settings: ServerSettings;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/** What `prepareRestore` has to know of the cluster. */
export async function loadRestoreFacts(restore: Restore, { client, namespace, settings, nowMs, signal }: LoadRestoreFactsOptions): Promise<RestoreFacts> {
  const modifier = restore.spec.resourceModifier?.name ?? "";
  return {
    nowMs,
    settings,
    backups: await allOf(client.listAll<Backup>(backups, { namespace, signal })),
    locations: await allOf(client.listAll<BackupStorageLocation>(backupStorageLocations, { namespace, signal })),
    modifierConfig: modifier === "" ? undefined : await client.find(configMaps, { namespace, name: modifier }, signal),
  };
}
