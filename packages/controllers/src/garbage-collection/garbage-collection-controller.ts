import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DeleteBackupRequest,
  deleteBackupRequests,
  LABELS,
  validLabelValue,
} from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, keyOf, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { steadyAgeMs } from "../steady-age.ts";
import { decideExpiry, GC_FAILURE, GC_PERIOD_MS, observeExpiry } from "./garbage-collection.ts";

export interface GarbageCollectionControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  /** How often a backup that cannot be deleted is tried again; an hour when left out. */
  readonly periodMs?: number;
}

/** Has expired backups deleted. */
export function startGarbageCollectionController(deps: GarbageCollectionControllerDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const periodMs = deps.periodMs ?? GC_PERIOD_MS;
  const base = { client, clock, random, logger, namespace };
  const informer = startInformer(backups, base);
  const locations = startInformer(backupStorageLocations, base);
  const requests = startInformer(deleteBackupRequests, base);
  const knownForMs = ({ metadata }: DeleteBackupRequest): number => steadyAgeMs(clock, `ended DeleteBackupRequest ${metadata.uid}`);

  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const cached = informer.get(key);
    if (cached === undefined) return {};
    const location = locations.get({ namespace, name: cached.spec.storageLocation ?? "" });
    const first = decideExpiry(observeExpiry(cached, location, requests.list(), clock.nowMs(), knownForMs), periodMs);
    if (first.do === "nothing") return first.recheckAfterMs === undefined ? {} : { requeueAfterMs: first.recheckAfterMs };
    const backup = await client.find(backups, key, signal);
    if (backup === undefined) return {};
    const labelSelector = `${LABELS.backupName}=${validLabelValue(key.name)}`;
    const own = await allOf(client.listAll(deleteBackupRequests, { namespace, labelSelector, signal }));
    const decision = decideExpiry(observeExpiry(backup, location, own, clock.nowMs(), knownForMs), periodMs);
    switch (decision.do) {
      case "nothing":
        return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
      case "label":
        if (decision.failure !== undefined)
          logger.warn("An expired backup cannot be deleted", { backup: key.name, location: backup.spec.storageLocation, why: decision.failure });
        await client.patch<Backup>(backups, key, "merge", { metadata: { labels: { [GC_FAILURE]: decision.failure ?? null } } }, { signal });
        return {};
      case "request":
        await request(deps, backup, signal);
        return {};
    }
  };

  const controller = startController({
    name: "garbage-collection",
    sources: [
      source(informer),
      source(locations, { when: (before, after) => before === undefined || after === undefined || usability(before) !== usability(after), toKeys: ofLocation }),
      source(requests, {
        when: (_before, after) => after === undefined || after.status?.phase === "Processed",
        toKeys: ({ spec }) => [{ namespace, name: spec.backupName }],
      }),
    ],
    reconcile,
    clock,
    random,
    logger,
  });
  function ofLocation({ metadata }: BackupStorageLocation): readonly ObjectKey[] {
    return informer
      .list()
      .filter(({ spec }) => spec.storageLocation === metadata.name)
      .map(keyOf);
  }
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      for (const cache of [informer, locations, requests]) cache.stop();
    },
  };
}

function usability({ spec, status }: BackupStorageLocation): string {
  return `${spec.accessMode} ${status?.phase}`;
}

async function request({ client, namespace, logger }: GarbageCollectionControllerDeps, backup: Backup, signal: AbortSignal): Promise<void> {
  const { name = "", uid = "" } = backup.metadata;
  await client.create(
    deleteBackupRequests,
    {
      apiVersion: "velero.io/v1",
      kind: "DeleteBackupRequest",
      metadata: { namespace, generateName: `${name}-`, labels: { [LABELS.backupName]: validLabelValue(name), [LABELS.backupUid]: uid } },
      spec: { backupName: name },
    },
    { signal },
  );
  logger.info("Deletion of an expired backup was requested", { backup: name, expiration: backup.status?.expiration });
}
