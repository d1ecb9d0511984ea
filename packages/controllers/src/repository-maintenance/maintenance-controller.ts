import { type BackupRepository, backupRepositories, backupStorageLocations, validLabelValue } from "@drayage/api";
import { type Clock, errorFields, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import {
  type ConfigMap,
  type Controller,
  configMaps,
  type Job,
  jobs,
  type KubeClient,
  keyOf,
  type ObjectKey,
  pods,
  type ReconcileResult,
  secrets,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";
import type { InheritedPod } from "../exposers/inherited-settings.ts";
import { buildMoverSecret } from "../exposers/mover-secret.ts";
import { decideMaintenance, endOf, observeMaintenance, withRecord } from "./maintenance.ts";
import { buildMaintenanceJob, type MaintenanceJobConfig, maintenanceConfigFor, REPO_NAME_LABEL } from "./maintenance-job.ts";

export interface RepositoryMaintenanceControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  /** Of the Jobs: the image of this program, and an account that needs no permission. */
  readonly image: string;
  readonly inherited?: InheritedPod;
  readonly serviceAccount: string;
  /** The ConfigMap with affinity, resources and the number of Jobs that are kept. */
  readonly configMapName?: string;
  readonly logLevel?: string;
}

/** Has repositories maintained by Jobs when it is time. */
export function startRepositoryMaintenanceController(deps: RepositoryMaintenanceControllerDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const base = { client, clock, random, logger, namespace };
  const informer = startInformer(backupRepositories, base);
  const locations = startInformer(backupStorageLocations, base);
  const jobCache = startInformer(jobs, { ...base, labelSelector: REPO_NAME_LABEL });
  const isOf = (job: Job, { metadata }: BackupRepository): boolean => job.metadata.labels?.[REPO_NAME_LABEL] === validLabelValue(metadata.name ?? "");

  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const cached = informer.get(key);
    if (cached === undefined) return {};
    const location = locations.get({ namespace, name: cached.spec.backupStorageLocation });
    const config = await configFor(deps, cached, signal);
    const view = (repository: BackupRepository, own: readonly Job[]) =>
      observeMaintenance(repository, { nowMs: clock.nowMs(), location, jobs: own, keepLatest: config.keepLatestMaintenanceJobs });
    const cachedJobs = jobCache.list().filter((job) => isOf(job, cached));
    const first = decideMaintenance(view(cached, cachedJobs));
    const running = cachedJobs.find((job) => endOf(job) === undefined);
    // A server that ended between the Job and its Secret has left a pod that waits for it.
    if (running !== undefined) await ensureSecret(deps, cached, running, signal);
    if (first.do === "nothing") {
      if (first.waitingFor !== undefined) logger.debug("Waiting for maintenance", { repository: key.name, for: first.waitingFor });
      return first.recheckAfterMs === undefined ? {} : { requeueAfterMs: first.recheckAfterMs };
    }
    const repository = await client.find(backupRepositories, key, signal);
    if (repository === undefined) return {};
    const labelSelector = `${REPO_NAME_LABEL}=${validLabelValue(key.name)}`;
    const own = await allOf(client.listAll(jobs, { namespace, labelSelector, signal }));
    const decision = decideMaintenance(view(repository, own));
    switch (decision.do) {
      case "nothing":
        return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
      case "record":
        await record(deps, repository, own, decision.job, signal);
        return {};
      case "delete":
        await client.delete(jobs, { namespace, name: decision.job }, { propagationPolicy: "Background", signal });
        return {};
      case "start": {
        const { image, inherited = {}, serviceAccount, logLevel } = deps;
        const given = { image, inherited, serviceAccount, config, nowMs: clock.nowMs(), ...(logLevel === undefined ? {} : { logLevel }) };
        const job = await client.create(jobs, buildMaintenanceJob({ namespace, repository, ...given }), { signal });
        logger.info("Maintenance was started", { repository: key.name, job: job.metadata.name });
        await ensureSecret(deps, repository, job, signal);
        return {};
      }
    }
  };

  const controller = startController({
    name: "repository-maintenance",
    sources: [
      source(informer),
      source(jobCache, { toKeys: (job) => informer.list().flatMap((repository) => (isOf(job, repository) ? [keyOf(repository)] : [])) }),
      source(locations, {
        when: (before, after) => before?.spec.accessMode !== after?.spec.accessMode,
        toKeys: ({ metadata }) => informer.list().flatMap((repository) => (repository.spec.backupStorageLocation === metadata.name ? [keyOf(repository)] : [])),
      }),
    ],
    reconcile,
    clock,
    random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      for (const cache of [informer, locations, jobCache]) cache.stop();
    },
  };
}

/** What cannot be read is told and left out: a mistake in it must not keep repositories from being maintained. */
async function configFor(
  { client, namespace, configMapName, logger }: RepositoryMaintenanceControllerDeps,
  repository: BackupRepository,
  signal: AbortSignal,
): Promise<MaintenanceJobConfig & { readonly keepLatestMaintenanceJobs: number }> {
  let configMap: ConfigMap | undefined;
  try {
    if (configMapName !== undefined && configMapName !== "") configMap = await client.find(configMaps, { namespace, name: configMapName }, signal);
    return maintenanceConfigFor(configMap, repository);
  } catch (error) {
    if (!hasCode(error, "VALIDATION_FAILED")) throw error;
    logger.warn("The settings of maintenance cannot be read and are left out", errorFields(error));
    return maintenanceConfigFor(undefined, repository);
  }
}

async function ensureSecret(
  { client, namespace }: RepositoryMaintenanceControllerDeps,
  repository: BackupRepository,
  job: Job,
  signal: AbortSignal,
): Promise<void> {
  const name = job.metadata.name ?? "";
  if ((await client.find(secrets, { namespace, name }, signal)) !== undefined) return;
  const owner = { apiVersion: "batch/v1", kind: "Job", name, uid: job.metadata.uid ?? "", controller: true };
  const locationName = repository.spec.backupStorageLocation;
  await client.create(secrets, await buildMoverSecret(client, { name, namespace, owner, label: REPO_NAME_LABEL, locationName, repository }), { signal });
}

async function record(
  deps: RepositoryMaintenanceControllerDeps,
  repository: BackupRepository,
  own: readonly Job[],
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const { client, clock, logger } = deps;
  const job = own.find(({ metadata }) => metadata.name === name);
  if (job === undefined) return;
  const message = endOf(job)?.succeeded === true ? undefined : await failureOf(deps, job, signal);
  const status = withRecord(repository.status, job, formatTime(clock.nowMs()), message);
  await client.replace<BackupRepository>(backupRepositories, { ...repository, status }, { signal });
  if (message === undefined) logger.info("Maintenance is done", { repository: repository.metadata.name, job: name });
  else logger.warn("Maintenance failed", { repository: repository.metadata.name, job: name, message });
}

/** Velero's words for where the message begins. */
const MESSAGE_MARK = "Repo maintenance error: ";

async function failureOf({ client, namespace }: RepositoryMaintenanceControllerDeps, job: Job, signal: AbortSignal): Promise<string> {
  const found = await allOf(client.listAll(pods, { namespace, labelSelector: `job-name=${job.metadata.name}`, signal }));
  for (const { status } of found) {
    const text = status?.containerStatuses?.[0]?.state?.terminated?.message?.trim() ?? "";
    if (text !== "") return text.slice(text.indexOf(MESSAGE_MARK) < 0 ? 0 : text.indexOf(MESSAGE_MARK) + MESSAGE_MARK.length);
    if (status?.message !== undefined && status.message !== "") return status.message;
  }
  return job.status?.conditions?.find(({ type }) => type === "Failed")?.message ?? "the job failed and left no message";
}
