import {
  backupStorageLocations,
  type CloudStorage,
  cloudStorages,
  type DataProtectionApplication,
  dataProtectionApplications,
  volumeSnapshotLocations,
} from "@drayage/api";
import { type Clock, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { REPO_CREDENTIALS } from "@drayage/install";
import {
  type ConfigMap,
  configMaps,
  createEventRecorder,
  daemonSets,
  deployments,
  type Informer,
  type InformerOptions,
  type KubeClient,
  type KubeObject,
  type ObjectKey,
  type ReconcileResult,
  type ResourceType,
  type Secret,
  secrets,
  services,
  source,
  startController,
  startInformer,
} from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import { type ApplierDeps, apply } from "./apply.ts";
import { decide, decideAfterRefusal, type Observed } from "./dpa.ts";
import { observe } from "./observe.ts";
import { DPA_NAME_LABEL, OADP_LABEL } from "./owned-manifest.ts";
import { referencedSecrets } from "./validate.ts";

export interface DpaControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** The one whose applications are looked after: permissions of the workloads came with the operator, in this namespace. */
  readonly namespace: string;
  /** Image of this operator; what it makes runs the same. */
  readonly image: string;
}

/** What nobody tells of is looked at again at this pace. */
const RESYNC_MS = 60_000;
const CONFLICT_MS = 500;
/** An API server that says no to what is asked of it, and not one that cannot answer. */
const REFUSALS = ["KUBE_INVALID", "KUBE_BAD_REQUEST", "KUBE_FORBIDDEN"] as const;
const EVENTS_FLUSH_MS = 2_000;

/** Keeps the installation of each DataProtectionApplication as it should be. */
export function startDpaController(deps: DpaControllerDeps): RunningController {
  const { client, clock, random, logger, namespace, image } = deps;
  const informer = <T extends KubeObject>(type: ResourceType<T>, options: InformerOptions<T> = {}): Informer<T> =>
    startInformer(type, { client, clock, random, logger, namespace, ...options });
  const applications = informer(dataProtectionApplications);
  const ours = { labelSelector: `${OADP_LABEL}=True` };
  const owned = [
    informer(configMaps, ours) as Informer<KubeObject>,
    informer(deployments, ours) as Informer<KubeObject>,
    informer(daemonSets, ours) as Informer<KubeObject>,
    informer(services, ours) as Informer<KubeObject>,
    informer(backupStorageLocations, ours) as Informer<KubeObject>,
    informer(volumeSnapshotLocations, ours) as Informer<KubeObject>,
  ];
  // All of the namespace, since one that is missing comes without a label; without what they hold.
  const secretCache: Informer<Secret> = informer(secrets, { transform: ({ data: _data, ...rest }) => rest });
  const buckets: Informer<CloudStorage> = informer(cloudStorages);
  const all = (): ObjectKey[] => applications.list().map(({ metadata }) => ({ namespace, name: metadata.name ?? "" }));
  const ownersOf = ({ metadata }: KubeObject): ObjectKey[] =>
    (metadata.ownerReferences ?? []).filter(({ kind }) => kind === dataProtectionApplications.kind).map(({ name }) => ({ namespace, name }));
  const events = createEventRecorder({ client, clock, random, logger, component: "drayage-operator" });
  const observer = { client, namespace, image, all: () => applications.list() };
  const applier = { client, namespace, logger, random, events, nowMs: () => clock.nowMs() };

  const isStillWanted = ({ metadata }: DataProtectionApplication): boolean => {
    const current = applications.get({ namespace, name: metadata.name ?? "" });
    return current?.metadata.uid === metadata.uid && current?.metadata.deletionTimestamp === undefined;
  };

  const controller = startController({
    name: "data-protection-application",
    clock,
    random,
    logger,
    resyncMs: RESYNC_MS,
    sources: [
      // One that comes or goes matters to the others of its namespace.
      source(applications, {
        toKeys: ({ metadata }) => [{ namespace, name: metadata.name ?? "" }, ...all().filter(({ name }) => name !== metadata.name)],
        when: (before, after) => after === undefined || before === undefined || stampOf(before) !== stampOf(after),
      }),
      // Their status changes all the time and says nothing here.
      ...owned.map((cache) =>
        source(cache, { toKeys: ownersOf, when: (before, after) => before === undefined || after === undefined || stampOf(before) !== stampOf(after) }),
      ),
      source(secretCache, {
        toKeys: ({ metadata }) =>
          applications
            .list()
            .filter(
              (dpa) =>
                metadata.labels?.[DPA_NAME_LABEL] === dpa.metadata.name ||
                metadata.name === REPO_CREDENTIALS ||
                referencedSecrets(dpa.spec).some(({ name }) => name === metadata.name),
            )
            .map((dpa) => ({ namespace, name: dpa.metadata.name ?? "" })),
      }),
      source(buckets, { toKeys: all }),
    ],
    async reconcile(key, signal) {
      const dpa = await client.find(dataProtectionApplications, key, signal);
      if (dpa === undefined) return {};
      return await carryOut(applier, await observe(observer, dpa, signal), () => isStillWanted(dpa), signal);
    },
  });
  return {
    idle: () => controller.idle(),
    async stop() {
      await controller.stop();
      for (const cache of [applications, ...owned, secretCache, buckets]) cache.stop();
      await events.flush(EVENTS_FLUSH_MS);
    },
  };
}

async function carryOut(applier: ApplierDeps, observed: Observed, isStillWanted: () => boolean, signal: AbortSignal): Promise<ReconcileResult> {
  const { dpa } = observed;
  for (const step of decide(observed)) {
    // What is deleted meanwhile takes along what it owned, and gets no more: it would come up once more, until it is collected.
    if (step.do === "apply" && !isStillWanted()) return {};
    try {
      await apply(applier, dpa, step, signal);
    } catch (error) {
      if (hasCode(error, "KUBE_CONFLICT")) return { requeueAfterMs: CONFLICT_MS };
      if (step.do !== "setCondition" && hasCode(error, ...REFUSALS)) await tellRefusal(applier, observed, messageOf(error), signal);
      // Tried again, since what refuses may be a quota or a webhook.
      throw error;
    }
  }
  return {};
}

async function tellRefusal(applier: ApplierDeps, observed: Observed, message: string, signal: AbortSignal): Promise<void> {
  try {
    await apply(applier, observed.dpa, decideAfterRefusal(observed, message), signal);
  } catch (error) {
    // Said by the next try.
    if (!hasCode(error, "KUBE_CONFLICT", "KUBE_NOT_FOUND")) throw error;
  }
}

/** Changes with what somebody wants: the generation of what has one, the contents of a ConfigMap, labels and owners. */
function stampOf(object: KubeObject): string {
  const { generation, labels, annotations, ownerReferences, deletionTimestamp } = object.metadata;
  return JSON.stringify([
    generation,
    labels,
    annotations,
    ownerReferences,
    deletionTimestamp,
    (object as ConfigMap).data,
    generation === undefined ? (object as { spec?: unknown }).spec : undefined,
  ]);
}
