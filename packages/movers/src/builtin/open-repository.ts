/** A repository under an access, as Velero's clients are: identity default@default, whichever pod this is. */
import { join } from "node:path";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { BlobCache, CachedStorage, ThrottledStorage } from "@drayage/blob";
import type { Sha256Ranges } from "@drayage/blob/s3";
import { openRepository, openRepositoryFormat, type Repository, veleroIdentity } from "@drayage/repo";
import { openRepositoryStorage, type RepositoryAccess } from "./repository-access.ts";

export interface OpenOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly readOnly?: boolean;
  /** A volume of the pod's own for copies of indexes, and of what directories lie in; temporary files and memory without it. */
  readonly cacheFolder?: string | undefined;
  /** Bytes a second that may be sent, and as many that may be fetched. */
  readonly bandwidth?: number | undefined;
  /** As the storage wants it. */
  readonly sha256Ranges?: Sha256Ranges | undefined;
  readonly signal?: AbortSignal;
}

/** Packs of directories and manifests, which are read again and again; those of file data (`p`) a restore reads once. */
const METADATA_PACKS = "q";
/** Velero's, in MiB, where the repository says nothing (velero.md 4.2). */
const DEFAULT_LIMIT_MIB = 5000;

/** Half of what the BackupRepository grants for each. */
function cacheIn(folder: string, { settings, location, volumeNamespace }: RepositoryAccess, { clock, random, logger }: OpenOptions) {
  const given = Number(settings["cacheLimitMB"] ?? "");
  const bytesMax = (Number.isSafeInteger(given) && given > 0 ? given : DEFAULT_LIMIT_MIB) * 2 ** 19;
  const store = `${location.metadata.name ?? ""}/${volumeNamespace}`;
  return {
    indexes: { folder: join(folder, "index"), bytesMax },
    blobs: new BlobCache({ folder: join(folder, "blobs"), store, bytesMax, clock, random, logger }),
  };
}

/** Opens the repository, runs `work` with it and closes it with its storage, however `work` ends. Throws what opening throws: REPO_NOT_FOUND, REPO_WRONG_PASSWORD, BLOB_*. */
export async function withRepository<T>(access: RepositoryAccess, options: OpenOptions, work: (repository: Repository) => Promise<T>): Promise<T> {
  const { clock, random, logger, readOnly, signal, cacheFolder, bandwidth } = options;
  const cache = cacheFolder === undefined ? undefined : cacheIn(cacheFolder, access, options);
  const unlimited = await openRepositoryStorage(access, options);
  const opened =
    bandwidth === undefined ? unlimited : new ThrottledStorage(unlimited, { uploadBytesPerSecond: bandwidth, downloadBytesPerSecond: bandwidth, clock });
  const storage = cache === undefined ? opened : new CachedStorage(opened, cache.blobs, (id) => id.startsWith(METADATA_PACKS));
  try {
    const repository = await openRepository(storage, {
      password: access.password,
      identity: veleroIdentity,
      clock,
      random,
      logger,
      ...(access.deriveKey === undefined ? {} : { deriveKey: access.deriveKey }),
      ...(cache === undefined ? {} : { indexCache: cache.indexes }),
      ...(readOnly === undefined ? {} : { readOnly }),
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await storage.close();
  }
}

/**
 * What opening a repository takes that does not hang on what is in it, done beforehand: the program's parts are loaded, the store is spoken to, the key is derived, which takes longest
 * (`access.deriveKey` has to remember it). Nothing is written, and of the store one small blob and its companion are read. Throws what opening the format throws.
 */
export async function prepareRepository(access: RepositoryAccess, options: OpenOptions): Promise<void> {
  const { clock, random, logger, signal } = options;
  const storage = await openRepositoryStorage(access, options);
  try {
    const { password, deriveKey } = access;
    await openRepositoryFormat(storage, { password, clock, random, logger, ...(deriveKey === undefined ? {} : { deriveKey }) }, signal);
  } finally {
    await storage.close();
  }
}
