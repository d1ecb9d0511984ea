/** A repository under an access, as Velero's clients are: identity default@default, whichever pod this is. */
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { openRepository, type Repository, veleroIdentity } from "@drayage/repo";
import { openRepositoryStorage, type RepositoryAccess } from "./repository-access.ts";

export interface OpenOptions {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly readOnly?: boolean;
  readonly signal?: AbortSignal;
}

/** Opens the repository, runs `work` with it and closes it with its storage, however `work` ends. Throws what opening throws: REPO_NOT_FOUND, REPO_WRONG_PASSWORD, BLOB_*. */
export async function withRepository<T>(access: RepositoryAccess, options: OpenOptions, work: (repository: Repository) => Promise<T>): Promise<T> {
  const { clock, random, logger, readOnly, signal } = options;
  const storage = await openRepositoryStorage(access, options);
  try {
    const repository = await openRepository(storage, {
      password: access.password,
      identity: veleroIdentity,
      clock,
      random,
      logger,
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
