import { type BackupStorageLocation, backupStorageLocations, backups, type DownloadRequest, downloadRequests, restores } from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import type { BackupStores } from "../ports.ts";
import { decide, expirationFrom, isOfRestore, observe, VALID_FOR_MS } from "./download-request.ts";

export interface DownloadRequestControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
}

/** Answers DownloadRequests with signed addresses. */
export function startDownloadRequestController(deps: DownloadRequestControllerDeps): Controller {
  const { client, clock, random, logger } = deps;
  const informer = startInformer(downloadRequests, { client, clock, random, logger, namespace: deps.namespace });
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const request = await client.find(downloadRequests, key, signal);
    if (request === undefined) return {};
    const location = await locationOf(deps, request, signal);
    const decision = decide(observe(request, location === undefined ? "absent" : "found", clock.nowMs()));
    switch (decision.do) {
      case "delete":
        await client.delete(downloadRequests, key, { signal });
        return {};
      case "wait":
        if (decision.setExpiration) await patchStatus(deps, key, { expiration: expirationFrom(clock.nowMs()) }, signal);
        return { requeueAfterMs: decision.recheckAfterMs };
      case "sign": {
        if (location === undefined) return {};
        const store = await deps.stores.open(location, signal);
        const { kind, name } = request.spec.target;
        const downloadURL = await store.downloadUrl(kind, name, VALID_FOR_MS);
        await patchStatus(deps, key, { phase: "Processed", downloadURL, expiration: expirationFrom(clock.nowMs()) }, signal);
        return { requeueAfterMs: decision.recheckAfterMs };
      }
    }
  };
  const controller = startController({ name: "download-request", sources: [source(informer)], reconcile, workers: 4, clock, random, logger });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
    },
  };
}

async function patchStatus({ client }: DownloadRequestControllerDeps, key: ObjectKey, status: DownloadRequest["status"], signal: AbortSignal): Promise<void> {
  await client.patch(downloadRequests, key, "merge", { status }, { signal });
}

/** The location of the backup (or of the restore's backup) that the file belongs to; undefined when any link is missing. */
async function locationOf(
  { client, namespace, logger }: DownloadRequestControllerDeps,
  request: DownloadRequest,
  signal: AbortSignal,
): Promise<BackupStorageLocation | undefined> {
  const { kind, name } = request.spec.target;
  const missing = (what: string, which: string): undefined => {
    logger.info("What a download request asks for is not there (yet)", { request: request.metadata.name, [what]: which });
    return undefined;
  };
  let backupName = name;
  if (isOfRestore(kind)) {
    const restore = await client.find(restores, { namespace, name }, signal);
    if (restore === undefined) return missing("restore", name);
    backupName = restore.spec.backupName ?? "";
  }
  const backup = backupName === "" ? undefined : await client.find(backups, { namespace, name: backupName }, signal);
  if (backup === undefined) return missing("backup", backupName);
  const locationName = backup.spec.storageLocation ?? "";
  const location = locationName === "" ? undefined : await client.find(backupStorageLocations, { namespace, name: locationName }, signal);
  return location ?? missing("location", locationName);
}
