/**
 * BackupRepository: keeps a repository connected, and says whether it is.
 *
 *   New ──► Ready ◄──────────────┐  location's place, CA or config changed, or location deleted
 *    └────► NotReady ── retried ─┘◄── every 5 minutes, and when a data movement wants it
 *
 * Only repositories of type kopia are looked after.
 */
import { createHash } from "node:crypto";
import { type BackupRepository, type BackupStorageLocation, backupRepositories, backupStorageLocations } from "@drayage/api";
import { type Clock, errorFields, formatTime, isAbort, type Logger, messageOf, type RandomSource } from "@drayage/base";
import {
  type ConfigMap,
  type Controller,
  configMaps,
  formatDuration,
  type KubeClient,
  type ObjectKey,
  parseDuration,
  type ReconcileResult,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import type { RepositoryService } from "../ports.ts";
import { REPOSITORY_ANNOTATIONS } from "./ensure-backup-repository.ts";

export interface BackupRepositoryControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly repositories: RepositoryService;
  /** Of new repositories; the service's own default when left out. */
  readonly maintenanceFrequencyMs?: number;
  /** Name of the ConfigMap whose key `kopia` holds the settings of new repositories. */
  readonly configMapName?: string;
}

export type RepositoryPhase = "New" | "Ready" | "NotReady";

export interface Observed {
  readonly phase: RepositoryPhase;
  readonly ours: boolean;
  readonly hasFrequency: boolean;
  readonly location: "absent" | "present";
  /** The location is another place than when the repository was last connected. */
  readonly locationChanged: boolean;
  /** Since the last try to connect; undefined when there was none. */
  readonly triedForMs: number | undefined;
  /** A data movement younger than the last try wants it. */
  readonly wanted: boolean;
}

export type Decision =
  | { readonly do: "nothing"; readonly recheckAfterMs?: number }
  | { readonly do: "setDefaults" }
  | { readonly do: "connect" }
  | { readonly do: "setNotReady"; readonly message: string };

const RETRY_MS = 5 * 60_000;
const LOCATION_ABSENT = "backup storage location is not there";

export const phases: Record<RepositoryPhase, (o: Observed) => Decision> = {
  New: (o) => (!o.hasFrequency ? { do: "setDefaults" } : o.location === "absent" ? { do: "setNotReady", message: LOCATION_ABSENT } : { do: "connect" }),
  Ready: (o) =>
    o.location === "absent"
      ? { do: "setNotReady", message: LOCATION_ABSENT }
      : o.locationChanged
        ? { do: "setNotReady", message: "re-establish on BSL change, create or delete" }
        : { do: "nothing" },
  NotReady: (o) => {
    if (o.location === "absent") return o.wanted ? { do: "setNotReady", message: LOCATION_ABSENT } : { do: "nothing" };
    if (o.locationChanged || o.wanted || o.triedForMs === undefined || o.triedForMs >= RETRY_MS) return { do: "connect" };
    return { do: "nothing", recheckAfterMs: RETRY_MS - o.triedForMs };
  },
};

export const decide = (o: Observed): Decision => (o.ours ? phases[o.phase](o) : { do: "nothing" });

export function startBackupRepositoryController(deps: BackupRepositoryControllerDeps): Controller {
  const { client, clock, random, namespace } = deps;
  const base = { client, clock, random, logger: deps.logger, namespace };
  const informer = startInformer(backupRepositories, base);
  const locations = startInformer(backupStorageLocations, base);
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const repository = informer.get(key);
    if (repository === undefined) return {};
    const location = locations.get({ namespace, name: repository.spec.backupStorageLocation });
    const decision = decide(observe(repository, location, clock.nowMs()));
    await apply(deps, repository, location, decision, signal);
    return decision.do === "nothing" && decision.recheckAfterMs !== undefined ? { requeueAfterMs: decision.recheckAfterMs } : {};
  };
  const controller = startController({
    name: "backuprepositories",
    sources: [
      source(informer),
      source(locations, {
        toKeys: (location) =>
          informer
            .list()
            .filter(({ spec }) => spec.backupStorageLocation === location.metadata.name)
            .map(({ metadata }) => ({ namespace, name: metadata.name ?? "" })),
      }),
    ],
    reconcile,
    workers: 2,
    resyncMs: RETRY_MS,
    clock,
    random,
    logger: deps.logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
      locations.stop();
    },
  };
}

function observe(repository: BackupRepository, location: BackupStorageLocation | undefined, nowMs: number): Observed {
  const annotations = repository.metadata.annotations ?? {};
  const { fingerprint: fingerprintKey, triedAt: triedAtKey, triedFor, wantedBy } = REPOSITORY_ANNOTATIONS;
  const triedAt = Number(annotations[triedAtKey] ?? Number.NaN);
  return {
    phase: repository.status?.phase ?? "New",
    ours: (repository.spec.repositoryType ?? "") === "kopia",
    hasFrequency: (parseDuration(repository.spec.maintenanceFrequency) ?? 0) > 0,
    location: location === undefined ? "absent" : "present",
    // One that Velero's server connected carries no fingerprint; it is taken as it is.
    locationChanged: location !== undefined && annotations[fingerprintKey] !== undefined && annotations[fingerprintKey] !== fingerprint(location),
    triedForMs: Number.isFinite(triedAt) ? nowMs - triedAt : undefined,
    wanted: (annotations[wantedBy] ?? "") > (annotations[triedFor] ?? ""),
  };
}

/** The fields whose change means another place, or another way to it. */
function fingerprint({ spec }: BackupStorageLocation): string {
  const { bucket, prefix, caCert, caCertRef } = spec.objectStorage;
  const config = Object.entries(spec.config ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256")
    .update(JSON.stringify([spec.provider, bucket, prefix ?? "", caCert ?? "", caCertRef ?? null, config]))
    .digest("hex")
    .slice(0, 16);
}

async function apply(
  deps: BackupRepositoryControllerDeps,
  repository: BackupRepository,
  location: BackupStorageLocation | undefined,
  decision: Decision,
  signal: AbortSignal,
): Promise<void> {
  const { client, logger } = deps;
  switch (decision.do) {
    case "nothing":
      return;
    case "setDefaults": {
      const frequencyMs = deps.maintenanceFrequencyMs ?? deps.repositories.defaultMaintenanceFrequencySeconds * 1000;
      const repositoryConfig = repository.spec.repositoryConfig ?? (await configuredDefaults(deps));
      await client.replace(backupRepositories, {
        ...repository,
        spec: { ...repository.spec, maintenanceFrequency: formatDuration(frequencyMs), ...(repositoryConfig === undefined ? {} : { repositoryConfig }) },
      });
      return;
    }
    case "setNotReady":
      logger.warn("Repository is not ready", { name: repository.metadata.name, message: decision.message });
      await client.replace(backupRepositories, { ...withTry(repository), status: { ...repository.status, phase: "NotReady", message: decision.message } });
      return;
    case "connect":
      if (location !== undefined) await connect(deps, repository, location, signal);
  }
}

async function connect(
  deps: BackupRepositoryControllerDeps,
  repository: BackupRepository,
  location: BackupStorageLocation,
  signal: AbortSignal,
): Promise<void> {
  const { client, clock, logger } = deps;
  let problem: string | undefined;
  try {
    await deps.repositories.ensure(repository, location, signal);
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    logger.warn("Cannot connect the repository", { name: repository.metadata.name, ...errorFields(error) });
    problem = messageOf(error);
  }
  const { message: _, ...status } = repository.status ?? {};
  const { fingerprint: fingerprintKey, triedAt } = REPOSITORY_ANNOTATIONS;
  await client.replace(backupRepositories, {
    ...withTry(repository, { [fingerprintKey]: fingerprint(location), [triedAt]: String(clock.nowMs()) }),
    status:
      problem !== undefined
        ? { ...status, phase: "NotReady", message: problem }
        : { ...status, phase: "Ready", lastMaintenanceTime: status.lastMaintenanceTime ?? formatTime(clock.nowMs()) },
  });
}

/** Whoever wanted it by the time it was read has been answered. */
function withTry(repository: BackupRepository, annotations: Readonly<Record<string, string>> = {}): BackupRepository {
  const { wantedBy, triedFor } = REPOSITORY_ANNOTATIONS;
  const wanted = repository.metadata.annotations?.[wantedBy];
  const all = { ...repository.metadata.annotations, ...annotations, ...(wanted === undefined ? {} : { [triedFor]: wanted }) };
  return Object.keys(all).length === 0 ? repository : { ...repository, metadata: { ...repository.metadata, annotations: all } };
}

/** Settings for new repositories: the key `kopia` of the ConfigMap, JSON of `{cacheLimitMB, fullMaintenanceInterval}`, as texts. */
async function configuredDefaults(deps: BackupRepositoryControllerDeps): Promise<Record<string, string> | undefined> {
  if (deps.configMapName === undefined) return undefined;
  const configMap: ConfigMap | undefined = await deps.client.find(configMaps, { namespace: deps.namespace, name: deps.configMapName });
  const text = configMap?.data?.["kopia"];
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as { readonly cacheLimitMB?: number; readonly fullMaintenanceInterval?: string };
    return {
      ...(typeof value.cacheLimitMB === "number" ? { cacheLimitMB: String(value.cacheLimitMB) } : {}),
      ...(typeof value.fullMaintenanceInterval === "string" ? { fullMaintenanceInterval: value.fullMaintenanceInterval } : {}),
    };
  } catch (error) {
    deps.logger.warn("The settings of new repositories cannot be read and are left out", { configMap: deps.configMapName, ...errorFields(error) });
    return undefined;
  }
}
