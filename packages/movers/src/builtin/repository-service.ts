/** What the server needs of repositories: that they are there and set up as Velero expects (velero.md 8.2), and that snapshots can be forgotten. */
import type { BackupRepository, BackupStorageLocation } from "@drayage/api";
import { type Clock, DrayError, hasCode, type Logger, type RandomSource } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import type { KubeClient } from "@drayage/kube";
import {
  checkUdmRepository,
  createRepository,
  maintenanceLabels,
  maintenanceParameters,
  openRepository,
  type Repository,
  veleroIdentity,
  writeUdmRepository,
} from "@drayage/repo";
import { forgetSnapshots } from "./built-in-mover.ts";
import { withRepository } from "./open-repository.ts";
import { accessTo, openRepositoryStorage, type RepositoryAccess } from "./repository-access.ts";

export interface RepositoryServiceDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation: its Secrets are read there. */
  readonly namespace: string;
}

export interface ForgottenSnapshots {
  readonly manifestIds: readonly string[];
  readonly tags: readonly Readonly<Record<string, string>>[];
}

/** The port of the same name that controllers declare. */
export interface RepositoryService {
  ensure(repository: BackupRepository, location: BackupStorageLocation, signal?: AbortSignal): Promise<void>;
  forget(repository: BackupRepository, location: BackupStorageLocation, snapshots: ForgottenSnapshots, signal?: AbortSignal): Promise<void>;
  readonly defaultMaintenanceFrequencySeconds: number;
}

const HOUR_MS = 3_600_000;
/** Names of Velero's `fullMaintenanceInterval`. */
const FULL_INTERVAL_MS: Readonly<Record<string, number>> = { normalGC: 24 * HOUR_MS, fastGC: 12 * HOUR_MS, eagerGC: 6 * HOUR_MS };

export function createRepositoryService(deps: RepositoryServiceDeps): RepositoryService {
  const access = (repository: BackupRepository, location: BackupStorageLocation, signal?: AbortSignal): Promise<RepositoryAccess> =>
    accessTo(deps.client, deps.namespace, location, repository.spec.volumeNamespace, repository, signal);
  return {
    // Kopia's own interval of quick maintenance, at which Velero comes round.
    defaultMaintenanceFrequencySeconds: 3600,
    ensure: async (repository, location, signal) => ensure(deps, await access(repository, location, signal), signal),
    forget: async (repository, location, { manifestIds, tags }, signal) => {
      if (location.spec.accessMode === "ReadOnly") {
        throw new DrayError("REPO_READ_ONLY", `Cannot forget snapshots in location "${location.metadata.name}": it is read-only`);
      }
      const options = { ...deps, ...(signal === undefined ? {} : { signal }) };
      await withRepository(await access(repository, location, signal), options, async (open) => {
        const tagged: string[] = [];
        for (const wanted of tags)
          tagged.push(...(await open.snapshots.list({ tags: wanted, ...(signal === undefined ? {} : { signal }) })).snapshots.map(({ id }) => id));
        await forgetSnapshots(open, [...new Set([...manifestIds, ...tagged])], signal);
      });
    },
  };
}

/** Opens the repository, or makes one in an empty place; then brings what Velero set up to the end, should that have been interrupted. */
async function ensure(deps: RepositoryServiceDeps, access: RepositoryAccess, signal: AbortSignal | undefined): Promise<void> {
  const readOnly = access.location.spec.accessMode === "ReadOnly";
  const storage = await openRepositoryStorage(access, deps, { create: !readOnly });
  try {
    const repository = await openOrCreate(deps, access, storage, readOnly, signal);
    try {
      if (!readOnly) await finishSetUp(access, repository, storage, signal);
    } finally {
      await repository.close();
    }
  } finally {
    await storage.close();
  }
}

async function openOrCreate(
  deps: RepositoryServiceDeps,
  { password, settings, location }: RepositoryAccess,
  storage: BlobStorage,
  readOnly: boolean,
  signal: AbortSignal | undefined,
): Promise<Repository> {
  const { clock, random, logger } = deps;
  const options = { password, identity: veleroIdentity, clock, random, logger, readOnly, ...(signal === undefined ? {} : { signal }) };
  try {
    return await openRepository(storage, options);
  } catch (error) {
    if (!hasCode(error, "REPO_NOT_FOUND")) throw error;
    if (readOnly) {
      throw new DrayError("REPO_NOT_FOUND", `Cannot create a repository in location "${location.metadata.name}": it is read-only`, { cause: error });
    }
  }
  try {
    logger.info("Creating a repository", { place: storage.description });
    return await createRepository(storage, { ...options, velero: fullIntervalOf(settings) });
  } catch (error) {
    // Another server was quicker.
    if (!hasCode(error, "REPO_ALREADY_EXISTS")) throw error;
    return openRepository(storage, options);
  }
}

async function finishSetUp({ settings }: RepositoryAccess, repository: Repository, storage: BlobStorage, signal: AbortSignal | undefined): Promise<void> {
  if (await checkUdmRepository(storage, repository.uniqueId, signal)) return;
  const interval = fullIntervalOf(settings).fullMaintenanceIntervalMs;
  const owner = `${veleroIdentity.userName}@${veleroIdentity.host}`;
  if ((await repository.manifests.find(maintenanceLabels, signal)).length === 0) {
    await repository.manifests.put(
      maintenanceLabels,
      maintenanceParameters({ owner, ...(interval === undefined ? {} : { fullIntervalMs: interval }) }),
      signal,
    );
    await repository.flush(signal);
  }
  await writeUdmRepository(storage, repository.uniqueId, signal);
}

function fullIntervalOf(settings: Readonly<Record<string, string>>): { fullMaintenanceIntervalMs?: number } {
  const intervalMs = FULL_INTERVAL_MS[settings["fullMaintenanceInterval"] ?? ""];
  return intervalMs === undefined ? {} : { fullMaintenanceIntervalMs: intervalMs };
}
