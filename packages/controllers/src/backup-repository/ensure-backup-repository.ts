/** Finding the BackupRepository of a namespace and location, and asking for one where there is none (velero.md 2.3). */
import { type BackupRepository, backupRepositories, LABELS, validLabelValue } from "@drayage/api";
import { type Clock, DrayError, hasCode } from "@drayage/base";
import type { Informer, KubeClient } from "@drayage/kube";
import { act, failed, type Work, wait } from "../data-movement/work.ts";

export interface RepositoryKey {
  /** The namespace whose volumes it holds; also the last part of its prefix in the bucket. */
  readonly volumeNamespace: string;
  /** Name of the BackupStorageLocation. */
  readonly location: string;
}

export interface RepositoryFinder {
  readonly client: KubeClient;
  /** Of the installation. */
  readonly namespace: string;
  /** A cache: what is there and not said to be unusable is not asked for; whoever gives it looks again when it changes. */
  readonly known?: Pick<Informer<BackupRepository>, "list">;
}

/** Our annotations on a BackupRepository. */
export const REPOSITORY_ANNOTATIONS = {
  /** What the location's place was when the repository was connected. */
  fingerprint: "drayage.io/location-fingerprint",
  /** When that was tried, in milliseconds. */
  triedAt: "drayage.io/tried-at",
  /** The youngest movement that wants a repository which is not ready to be tried again: its creation, by the API server's clock. */
  wantedBy: "drayage.io/wanted-by",
  /** `wantedBy` as it was when it was tried last. */
  triedFor: "drayage.io/tried-for",
} as const;

const REPOSITORY_TYPE = "kopia";
const POLL_MS = 500;
/** Of one whose changes are watched, as `known` is. */
const WATCHED_RECHECK_MS = 5_000;

/** The labels under which it is looked up, never by name: older releases named theirs otherwise. */
export function repositoryLabels({ volumeNamespace, location }: RepositoryKey): Record<string, string> {
  return {
    [LABELS.volumeNamespace]: validLabelValue(volumeNamespace),
    [LABELS.storageLocation]: validLabelValue(location),
    [LABELS.repositoryType]: REPOSITORY_TYPE,
  };
}

/** Throws INVARIANT when there is more than one. */
export async function findBackupRepository(
  { client, namespace }: RepositoryFinder,
  key: RepositoryKey,
  signal?: AbortSignal,
): Promise<BackupRepository | undefined> {
  const labelSelector = Object.entries(repositoryLabels(key))
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
  const { items } = await client.list(backupRepositories, { namespace, labelSelector, signal });
  if (items.length > 1) {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot choose the repository of namespace "${key.volumeNamespace}" in location "${key.location}": ${items.length} BackupRepositories carry its labels`,
      {
        hint: "Delete all but one of them; the data in the bucket is not touched by that.",
      },
    );
  }
  return items[0];
}

/** Asks for a repository; the BackupRepository controller makes it ready. One that is there already is returned. */
export async function createBackupRepository({ client, namespace }: RepositoryFinder, key: RepositoryKey, signal?: AbortSignal): Promise<BackupRepository> {
  const name = nameOf(key);
  try {
    return await client.create(
      backupRepositories,
      {
        metadata: { name, namespace, labels: repositoryLabels(key) },
        // The frequency is required by the schema and given by the controller.
        spec: { backupStorageLocation: key.location, maintenanceFrequency: "0s", repositoryType: REPOSITORY_TYPE, volumeNamespace: key.volumeNamespace },
      },
      { signal },
    );
  } catch (error) {
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
    return client.get(backupRepositories, { namespace, name }, signal);
  }
}

/**
 * The repository when it is ready; otherwise what is next on the way to it. One that is not ready is tried again for whoever was created (`createdAt`) after the last try:
 * the password or the store may have been put right since.
 */
export async function repositoryFor(finder: RepositoryFinder, key: RepositoryKey, createdAt?: string): Promise<BackupRepository | Work> {
  // One that is not ready may have been made so since; one that is on its way there is watched.
  const known = inCache(finder, key);
  const found = known !== undefined && known.status?.phase !== "NotReady" ? known : await findBackupRepository(finder, key);
  if (found === undefined)
    return act(`create the backup repository of namespace "${key.volumeNamespace}" in location "${key.location}"`, () => createBackupRepository(finder, key));
  switch (found.status?.phase) {
    case "Ready":
      return found;
    case "NotReady":
      return anotherTry(finder, found, createdAt) ?? failed(`backup repository is not ready: ${found.status.message ?? "no reason was given"}`);
    default:
      return wait(readiness(found.metadata.name ?? ""), found === known ? WATCHED_RECHECK_MS : undefined);
  }
}

/** The way to the repository that a movement needs. */
export interface RepositoryAtHand {
  /** Once it is ready; what is next until then. */
  ready(): Promise<BackupRepository | Work>;
  /** As soon as it is there, for what can be made while it gets ready. */
  underWay(): BackupRepository | undefined;
  /** What is said while it is not ready, by the cache alone. */
  heldBy(): string | undefined;
}

export function repositoryAtHand(finder: RepositoryFinder, key: RepositoryKey, createdAt?: string): RepositoryAtHand {
  return {
    ready: () => repositoryFor(finder, key, createdAt),
    underWay: () => {
      const known = inCache(finder, key);
      return known?.status?.phase === "NotReady" ? undefined : known;
    },
    heldBy: () => {
      const known = inCache(finder, key);
      return known?.status?.phase === "Ready" ? undefined : readiness(known?.metadata.name ?? nameOf(key));
    },
  };
}

function nameOf({ volumeNamespace, location }: RepositoryKey): string {
  return `${volumeNamespace}-${location}-${REPOSITORY_TYPE}`;
}

function readiness(name: string): string {
  return `backup repository "${name}" to be ready`;
}

/** The one of the cache, where it is the only one. */
function inCache({ namespace, known }: RepositoryFinder, key: RepositoryKey): BackupRepository | undefined {
  const labels = Object.entries(repositoryLabels(key));
  const matching = (known?.list() ?? []).filter(
    ({ metadata }) => metadata.namespace === namespace && labels.every(([name, value]) => metadata.labels?.[name] === value),
  );
  return matching.length === 1 ? matching[0] : undefined;
}

function anotherTry({ client }: RepositoryFinder, { metadata }: BackupRepository, createdAt: string | undefined): Work | undefined {
  const { triedAt, triedFor, wantedBy } = REPOSITORY_ANNOTATIONS;
  const annotations = metadata.annotations ?? {};
  // A repository that Velero's own server looks after is tried when that one sees fit.
  if (createdAt === undefined || annotations[triedAt] === undefined) return undefined;
  // A repository that was made in the same second may have been tried before, as these times have no parts of a second: it is tried once more.
  if ((metadata.creationTimestamp ?? "") > createdAt || (annotations[triedFor] ?? "") >= createdAt) return undefined;
  const key = { namespace: metadata.namespace, name: metadata.name ?? "" };
  if ((annotations[wantedBy] ?? "") >= createdAt) return wait(`backup repository "${key.name}" to be tried again`);
  return act(`have backup repository "${key.name}" tried again`, () =>
    client.patch(backupRepositories, key, "merge", { metadata: { annotations: { [wantedBy]: createdAt } } }),
  );
}

/**
 * Finds or creates the repository and waits until it is ready. Throws REPO_NOT_FOUND with the controller's message when it cannot be made ready, TIMED_OUT after `timeoutMs`
 * (Velero's resource timeout: 10 minutes).
 */
export async function ensureBackupRepository(
  finder: RepositoryFinder & { readonly clock: Clock },
  key: RepositoryKey,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<BackupRepository> {
  const deadlineMs = finder.clock.monotonicMs() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const next = await repositoryFor(finder, key);
    if (!("state" in next)) return next;
    if (next.state === "act") await next.run();
    else if (next.state === "failed") throw new DrayError("REPO_NOT_FOUND", `Cannot use the repository of namespace "${key.volumeNamespace}": ${next.message}`);
    else if (finder.clock.monotonicMs() >= deadlineMs) {
      throw new DrayError("TIMED_OUT", `Cannot use the repository of namespace "${key.volumeNamespace}": it was not ready within ${options.timeoutMs} ms`, {
        hint: "Check that the server runs; it makes repositories ready.",
      });
    } else await finder.clock.sleep(POLL_MS, options.signal);
  }
}
