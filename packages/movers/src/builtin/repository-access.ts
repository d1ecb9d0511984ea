/**
 * Where a volume namespace's repository lies and what opens it: the location, its Secrets and the repository password.
 * A mover of ours reads them from the Secret mounted into its pod; in a pod that Velero's own node-agent made there is none, and they are read from the cluster.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type BackupRepository,
  type BackupStorageLocation,
  backupRepositories,
  backupStorageLocations,
  LABELS,
  type LocationSecrets,
  MOVER_SECRET_KEYS,
  readLocationSecrets,
  readRepositoryPassword,
  type SecretReader,
  validLabelValue,
} from "@drayage/api";
import { type Clock, DrayError, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type BlobStorage, RenewingStorage, RetryingStorage } from "@drayage/blob";
import { openLocationStorage } from "@drayage/blob/locations";
import type { Sha256Ranges } from "@drayage/blob/s3";
import { type KubeClient, secrets } from "@drayage/kube";
import type { DeriveFormatKey } from "@drayage/repo";

export interface RepositoryAccess {
  readonly location: BackupStorageLocation;
  readonly secrets: LocationSecrets;
  /** Names the repository: the last part of its prefix. */
  readonly volumeNamespace: string;
  readonly password: string;
  /** Settings of the BackupRepository: `cacheLimitMB`, `fullMaintenanceInterval`. */
  readonly settings: Readonly<Record<string, string>>;
  /** Where its keys come from; each is derived anew where this is left out. */
  readonly deriveKey?: DeriveFormatKey;
  /** The same once more, for credentials that were changed meanwhile; absent where nobody will. */
  readonly reread?: () => Promise<RepositoryAccess | undefined>;
}

export interface StorageDeps {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Makes digests side by side, for stores whose requests carry one of each body. */
  readonly sha256Ranges?: Sha256Ranges | undefined;
}

/** The access in a mounted mover Secret, or undefined when none is mounted there. Throws BLOB_BAD_CONFIG when it cannot be read. */
export async function readMountedAccess(folder: string): Promise<RepositoryAccess | undefined> {
  if (!existsSync(join(folder, MOVER_SECRET_KEYS.locationJson))) return undefined;
  const read = async (name: string): Promise<string | undefined> => (existsSync(join(folder, name)) ? readFile(join(folder, name), "utf8") : undefined);
  try {
    const location = JSON.parse((await read(MOVER_SECRET_KEYS.locationJson)) ?? "") as BackupStorageLocation;
    const repository = JSON.parse((await read(MOVER_SECRET_KEYS.repositoryJson)) ?? "") as BackupRepository;
    const credentialsText = await read(MOVER_SECRET_KEYS.credentials);
    const caCertPem = await read(MOVER_SECRET_KEYS.caCert);
    return {
      location,
      secrets: { ...(credentialsText === undefined ? {} : { credentialsText }), ...(caCertPem === undefined ? {} : { caCertPem }) },
      volumeNamespace: repository.spec.volumeNamespace,
      password: ((await read(MOVER_SECRET_KEYS.repositoryPassword)) ?? "").trim(),
      settings: repository.spec.repositoryConfig ?? {},
      reread: () => readMountedAccess(folder),
    };
  } catch (cause) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot read the mover's secret in "${folder}": ${messageOf(cause)}`, { cause });
  }
}

/** The key by which this mover proves its result (told-result.ts of the api); undefined where it was given none. */
export async function readMountedResultKey(folder: string): Promise<Uint8Array | undefined> {
  const path = join(folder, MOVER_SECRET_KEYS.resultKey);
  return existsSync(path) ? readFile(path) : undefined;
}

/** The access from the cluster. Throws KUBE_NOT_FOUND naming what is missing. */
export async function loadClusterAccess(
  client: KubeClient,
  options: { readonly namespace: string; readonly locationName: string; readonly volumeNamespace: string; readonly signal?: AbortSignal },
): Promise<RepositoryAccess> {
  const { namespace, locationName, volumeNamespace, signal } = options;
  const location = await client.find(backupStorageLocations, { namespace, name: locationName }, signal);
  if (location === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot find backup storage location "${locationName}"`);
  const labels = { [LABELS.volumeNamespace]: volumeNamespace, [LABELS.storageLocation]: locationName, [LABELS.repositoryType]: "kopia" };
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${validLabelValue(value)}`)
    .join(",");
  const { items } = await client.list(backupRepositories, { namespace, labelSelector, signal });
  return accessTo(client, namespace, location, volumeNamespace, items[0], signal);
}

/** The access to a repository whose location is at hand; its Secrets are in `namespace`. */
export async function accessTo(
  client: KubeClient,
  namespace: string,
  location: BackupStorageLocation,
  volumeNamespace: string,
  repository: BackupRepository | undefined,
  signal?: AbortSignal,
): Promise<RepositoryAccess> {
  const read: SecretReader = (key) => client.find(secrets, key, signal);
  return {
    location,
    secrets: await readLocationSecrets(read, namespace, location, signal),
    volumeNamespace,
    password: await readRepositoryPassword(read, namespace, location, signal),
    settings: repository?.spec.repositoryConfig ?? {},
  };
}

/**
 * The storage of the repository: `<prefix>/kopia/<namespace>/` of the location, with retries, and going on with other credentials where the access can be read again. Throws BLOB_BAD_CONFIG naming the location's field, NOT_SUPPORTED for a provider
 * that is not known.
 */
export async function openRepositoryStorage(access: RepositoryAccess, deps: StorageDeps, options: { readonly create?: boolean } = {}): Promise<BlobStorage> {
  const { location, volumeNamespace, reread } = access;
  const { clock, random, sha256Ranges } = deps;
  const { provider, objectStorage, config } = location.spec;
  const named = { name: location.metadata.name ?? "", provider, fields: { objectStorage, ...(config === undefined ? {} : { config }) } };
  const open = (secrets: LocationSecrets): Promise<BlobStorage> =>
    openLocationStorage(named, `kopia/${volumeNamespace}`, { clock, random, sha256Ranges, secrets, environment: process.env, create: options.create ?? false });
  const opened = await open(access.secrets);
  if (reread === undefined) return new RetryingStorage(opened, deps);
  let used = access.secrets;
  const renew = async (): Promise<BlobStorage | undefined> => {
    const secrets = (await reread())?.secrets;
    if (secrets === undefined || (secrets.credentialsText === used.credentialsText && secrets.caCertPem === used.caCertPem)) return undefined;
    used = secrets;
    return open(secrets);
  };
  return new RetryingStorage(new RenewingStorage(opened, { ...deps, renew }), deps);
}
