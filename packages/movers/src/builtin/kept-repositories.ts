/** Has repositories there and set up as Velero expects (velero.md 8.2), and forgets snapshots. */
import { DrayError, hasCode } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
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
import { openRepositoryStorage, type RepositoryAccess } from "./repository-access.ts";
import type { ForgottenSnapshots, RepositoryServiceDeps } from "./repository-service.ts";

const HOUR_MS = 3_600_000;
/** Names of Velero's `fullMaintenanceInterval`. */
const FULL_INTERVAL_MS: Readonly<Record<string, number>> = { normalGC: 24 * HOUR_MS, fastGC: 12 * HOUR_MS, eagerGC: 6 * HOUR_MS };

/** Deletes the manifests of snapshots, and of all that have one of the sets of tags. */
export async function forgetInRepository(
  deps: RepositoryServiceDeps,
  access: RepositoryAccess,
  { manifestIds, tags }: ForgottenSnapshots,
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = signal === undefined ? {} : { signal };
  await withRepository(access, { ...deps, ...options }, async (open) => {
    const tagged: string[] = [];
    for (const wanted of tags) tagged.push(...(await open.snapshots.list({ tags: wanted, ...options })).snapshots.map(({ id }) => id));
    await forgetSnapshots(open, [...new Set([...manifestIds, ...tagged])], signal);
  });
}

/** Opens the repository, or makes one in an empty place; then brings what Velero set up to the end, should that have been interrupted. */
export async function ensureRepository(deps: RepositoryServiceDeps, access: RepositoryAccess, signal: AbortSignal | undefined): Promise<void> {
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
