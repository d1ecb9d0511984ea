import type { BackupStorageLocation } from "@drayage/api";

/** How the data mover of OADP 1.1 and 1.2 works where a server is told to use it. Durations are milliseconds. */
export interface VolSyncEraSettings {
  /** For all that comes before the data moves: a snapshot that can be read, a volume that is bound, a first word of VolSync's. OADP: `DATAMOVER_TIMEOUT`. */
  readonly prepareTimeoutMs: number;
  /** For the data of one volume. */
  readonly moveTimeoutMs: number;
  /** Volumes of one Backup, or of one Restore, on their way at once. */
  readonly concurrentBackups: number;
  readonly concurrentRestores: number;
}

const MINUTE_MS = 60_000;

export const defaultVolSyncEraSettings: VolSyncEraSettings = {
  prepareTimeoutMs: 10 * MINUTE_MS,
  moveTimeoutMs: 240 * MINUTE_MS,
  concurrentBackups: 10,
  concurrentRestores: 10,
};

/** The environment in which restic finds the store of a location: keys and region. Provided by who knows the stores' credentials. */
export type ResticEnvironment = (location: BackupStorageLocation, signal?: AbortSignal) => Promise<Readonly<Record<string, string>>>;
