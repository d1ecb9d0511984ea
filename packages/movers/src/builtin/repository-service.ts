/**
 * What the server needs of repositories, as the controllers declare it. What opens one is loaded when one is to be opened: it is as much code as everything else that a server runs,
 * and where no volume is moved there is none.
 */
import type { BackupRepository, BackupStorageLocation } from "@drayage/api";
import { type Clock, DrayError, type Logger, type RandomSource } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";

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

export function createRepositoryService(deps: RepositoryServiceDeps): RepositoryService {
  const loaded = async (repository: BackupRepository, location: BackupStorageLocation, signal?: AbortSignal) => {
    const [{ accessTo }, repositories] = await Promise.all([import("./repository-access.ts"), import("./kept-repositories.ts")]);
    return { ...repositories, access: await accessTo(deps.client, deps.namespace, location, repository.spec.volumeNamespace, repository, signal) };
  };
  return {
    // Kopia's own interval of quick maintenance, at which Velero comes round.
    defaultMaintenanceFrequencySeconds: 3600,
    ensure: async (repository, location, signal) => {
      const { access, ensureRepository } = await loaded(repository, location, signal);
      await ensureRepository(deps, access, signal);
    },
    forget: async (repository, location, snapshots, signal) => {
      if (location.spec.accessMode === "ReadOnly") {
        throw new DrayError("REPO_READ_ONLY", `Cannot forget snapshots in location "${location.metadata.name}": it is read-only`);
      }
      const { access, forgetInRepository } = await loaded(repository, location, signal);
      await forgetInRepository(deps, access, snapshots, signal);
    },
  };
}
