/** Opens the restic repository of a volume that OADP 1.1 or 1.2 moved: a folder of a location's bucket, beside the location's own prefix. */
import type { BackupStorageLocation, LocationSecrets } from "@drayage/api";
import { type ObjectStore, RetryingObjectStore } from "@drayage/blob";
import { openLocationStore } from "@drayage/blob/locations";
import { openResticRepository, type ResticRepository } from "@drayage/restic";
import type { StorageDeps } from "../builtin/repository-access.ts";

export interface ResticAccess {
  readonly location: BackupStorageLocation;
  readonly secrets: LocationSecrets;
  readonly password: string;
  /** Below the bucket. */
  readonly path: string;
}

/**
 * Opens the repository, runs `work` with it and closes it, however `work` ends. Bucket, endpoint and credentials are those of the location, not those that were written down when
 * the data was moved: a bucket may have been copied elsewhere since. Throws what opening throws: REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_CORRUPT, BLOB_*.
 */
export async function withResticRepository<T>(
  access: ResticAccess,
  deps: StorageDeps,
  signal: AbortSignal,
  work: (repository: ResticRepository) => Promise<T>,
): Promise<T> {
  const store = await openStore(access, deps);
  try {
    const repository = await openResticRepository(store, { password: access.password, signal });
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await store.close();
  }
}

async function openStore({ location, secrets, path }: ResticAccess, deps: StorageDeps): Promise<ObjectStore> {
  const { provider, objectStorage, config } = location.spec;
  const fields = { objectStorage: { ...objectStorage, prefix: path }, ...(config === undefined ? {} : { config }) };
  const named = { name: location.metadata.name ?? "", provider, fields };
  return new RetryingObjectStore(await openLocationStore(named, { ...deps, secrets, environment: process.env }), deps);
}
