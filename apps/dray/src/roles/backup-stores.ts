/** Opens the stores of backup locations with the credentials the cluster keeps for them: joins `archive`, `blob` and the Secrets. */
import { createHash } from "node:crypto";
import type { BackupStorageLocation } from "@drayage/api";
import { ArchiveBackupStore } from "@drayage/archive";
import type { Clock, RandomSource } from "@drayage/base";
import { type ObjectStore, RetryingObjectStore } from "@drayage/blob";
import { openLocationStore } from "@drayage/blob/locations";
import { type BackupStore, type BackupStores, type LocationSecrets, readLocationSecrets } from "@drayage/controllers";
import type { KubeClient } from "@drayage/kube";
import type { PluginHost } from "@drayage/plugin-host";
import { openPluginStore } from "./plugin-store.ts";

export interface LocationStoresOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly temporaryFolder: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** A store that a plug-in offers is used before our own. */
  readonly plugins?: PluginHost;
}

/** More locations than this at once are not kept open. */
const STORES_MAX = 64;

export class LocationStores implements BackupStores {
  readonly #options: LocationStoresOptions;
  readonly #open = new Map<string, { readonly fingerprint: string; readonly store: ArchiveBackupStore }>();

  constructor(options: LocationStoresOptions) {
    this.#options = options;
  }

  /** The store of a location; kept while neither its spec nor its credentials change. */
  async open(location: BackupStorageLocation, signal?: AbortSignal): Promise<BackupStore> {
    const { client, namespace, clock, temporaryFolder } = this.#options;
    const name = location.metadata.name ?? "";
    const secrets = await readLocationSecrets(client, namespace, location, signal);
    const fingerprint = createHash("sha256")
      .update(JSON.stringify([location.spec.provider, location.spec.objectStorage, location.spec.config, secrets]))
      .digest("hex");
    const known = this.#open.get(name);
    if (known?.fingerprint === fingerprint) return known.store;
    const store = new ArchiveBackupStore({ store: await this.#openStore(location, secrets, signal), temporaryFolder, clock });
    if (this.#open.size >= STORES_MAX) this.#open.clear();
    // The one before may still be in use by a backup under way; it is left to end with it.
    this.#open.set(name, { fingerprint, store });
    return store;
  }

  async #openStore(location: BackupStorageLocation, secrets: LocationSecrets, signal: AbortSignal | undefined): Promise<ObjectStore> {
    const { plugins, temporaryFolder } = this.#options;
    const offered = plugins === undefined ? undefined : await openPluginStore(plugins, location, secrets, temporaryFolder, signal);
    return offered ?? openObjectStore(location, secrets, this.#options);
  }
}

/** The bucket of a location, rooted at its prefix, with retries. Throws BLOB_BAD_CONFIG, NOT_SUPPORTED for a provider that is not known. */
export async function openObjectStore(
  location: BackupStorageLocation,
  secrets: LocationSecrets,
  { clock, random }: Pick<LocationStoresOptions, "clock" | "random">,
): Promise<ObjectStore> {
  const { provider, objectStorage, config } = location.spec;
  const named = { name: location.metadata.name ?? "", provider, fields: { objectStorage, ...(config === undefined ? {} : { config }) } };
  return new RetryingObjectStore(await openLocationStore(named, { clock, random, secrets, environment: process.env }), { clock, random });
}
