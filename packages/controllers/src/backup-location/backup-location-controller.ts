import { type BackupStorageLocation, backupStorageLocations } from "@drayage/api";
import { type Clock, DrayError, isAbort, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, keyOf, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import type { BackupStores } from "../ports.ts";
import { decide, type Finding, observe, periodOf, specText, statusAfter, superfluousDefaults } from "./backup-location.ts";

export interface BackupLocationControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly stores: BackupStores;
  /** For locations that name no frequency; 1 min when left out. */
  readonly validationFrequencyMs?: number;
}

const FREQUENCY_MS = 60_000;
/** A bucket that does not answer within this is unavailable. */
const ANSWER_MS = 30_000;

/** Keeps the status of every BackupStorageLocation true. */
export function startBackupLocationController(deps: BackupLocationControllerDeps): Controller {
  const { client, clock, namespace, logger } = deps;
  const defaultFrequencyMs = deps.validationFrequencyMs ?? FREQUENCY_MS;
  const informer = startInformer(backupStorageLocations, { client, clock, random: deps.random, logger, namespace });
  // By name. Lost at a restart, which only makes the server look once more.
  const validatedSpecs = new Map<string, string>();

  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    await giveUpDefaults(deps, informer.list());
    const location = await client.find(backupStorageLocations, key, signal);
    if (location === undefined) {
      validatedSpecs.delete(key.name);
      return {};
    }
    const decision = decide(observe(location, validatedSpecs.get(key.name), defaultFrequencyMs, clock.nowMs()));
    if (decision.do === "nothing") return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
    const finding = await look(deps, location, signal);
    if (!finding.ok || location.status?.phase !== "Available") logger.info("Backup location was looked at", { location: key.name, ...finding });
    await client.patch(backupStorageLocations, key, "merge", { status: statusAfter(location, finding, clock.nowMs()) }, { signal });
    validatedSpecs.set(key.name, specText(location));
    const frequencyMs = periodOf(location.spec.validationFrequency, defaultFrequencyMs);
    return frequencyMs === 0 ? {} : { requeueAfterMs: frequencyMs };
  };

  const controller = startController({
    name: "backup-location",
    // Its own writes of the status must not make it look again.
    sources: [source(informer, { when: (before, after) => before === undefined || after === undefined || specText(before) !== specText(after) })],
    reconcile,
    workers: 4,
    clock,
    random: deps.random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
    },
  };
}

/** Looks whether the location can be used. Throws only the reason of an aborted signal. */
async function look({ stores, clock }: BackupLocationControllerDeps, location: BackupStorageLocation, signal: AbortSignal): Promise<Finding> {
  const { caCert, caCertRef } = location.spec.objectStorage;
  if (caCert !== undefined && caCertRef !== undefined)
    return { ok: false, reason: "objectStorage.caCert and objectStorage.caCertRef are both set, one of them is wanted" };
  const patience = new AbortController();
  const stop = clock.after(ANSWER_MS, () => patience.abort(new DrayError("TIMED_OUT", `the object store did not answer within ${ANSWER_MS / 1000} s`)));
  try {
    const either = AbortSignal.any([signal, patience.signal]);
    const store = await stores.open(location, either);
    return await store.validate(either);
  } catch (error) {
    if (signal.aborted && isAbort(error, signal)) throw error;
    return { ok: false, reason: messageOf(error) };
  } finally {
    stop();
  }
}

async function giveUpDefaults({ client, logger }: BackupLocationControllerDeps, locations: readonly BackupStorageLocation[]): Promise<void> {
  for (const location of superfluousDefaults(locations)) {
    logger.info("Backup location is no longer the default, since another one was made the default after it", { location: location.metadata.name });
    await client.patch(backupStorageLocations, keyOf(location), "merge", { spec: { default: null } });
  }
}
