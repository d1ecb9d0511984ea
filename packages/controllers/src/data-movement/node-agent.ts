/** What a node-agent runs: the controllers of all four kinds over shared caches and slots, and the sweeper of what nobody owns any more. */
import { dataMovers, volumeSnapshots } from "@drayage/api";
import { type Clock, errorFields, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { createEventRecorder, type KubeClient, type KubeObject, nodes, type ResourceType } from "@drayage/kube";
import { startDataDownloadController } from "../data-download/data-download.ts";
import { startDataUploadController } from "../data-upload/data-upload.ts";
import type { MoverPodSettings } from "../exposers/exposer-deps.ts";
import { type Metrics, noMetrics } from "../metrics/metrics.ts";
import { startMovementMetrics } from "../metrics/movement-metrics.ts";
import { startPodVolumeBackupController, startPodVolumeRestoreController } from "../pod-volume/pod-volume.ts";
import { startDataMovementCaches } from "./caches.ts";
import type { DataMoverClaims } from "./data-movers.ts";
import { freshCredentials } from "./fresh-credentials.ts";
import { concurrencyFor, type NodeAgentConfig } from "./node-agent-config.ts";
import { Slots } from "./slots.ts";
import { sweepOrphans } from "./sweep-orphans.ts";
import { usableConfig } from "./usable-config.ts";

export interface NodeAgentDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation. */
  readonly namespace: string;
  readonly nodeName: string;
  readonly claims: DataMoverClaims;
  readonly pod: MoverPodSettings;
  readonly config: NodeAgentConfig;
  readonly prepareTimeoutMs?: number;
  /** Where what moves on this node is counted; nowhere when left out. */
  readonly metrics?: Metrics;
  /** The kubelet's folder on the nodes; `/var/lib/kubelet` when left out. */
  readonly kubeletRoot?: string;
}

const SWEEP_MS = 10 * 60_000;
/** A mover waits for five minutes (RenewingStorage); a kubelet takes up to a minute and a half to bring a changed Secret into a pod. */
const CREDENTIALS_MS = 60_000;
/** Who speaks in Events. */
const EVENT_SOURCE = "drayage-node-agent";
const LAST_EVENTS_MS = 5_000;

/** Starts everything once the node's own labels are known (its concurrency may depend on them). Throws what reading the node throws. */
export async function startNodeAgent(deps: NodeAgentDeps): Promise<{ stop(): Promise<void> }> {
  const { client, clock, logger, namespace, nodeName } = deps;
  const config = await usableConfig(deps.config, deps);
  const node = await client.find(nodes, { name: nodeName });
  const caches = startDataMovementCaches({
    ...deps,
    withMovers: await knows(client, dataMovers),
    withSnapshots: await knows(client, volumeSnapshots, namespace),
  });
  const endCounting = startMovementMetrics(caches, nodeName, deps.metrics ?? noMetrics);
  const slots = new Slots(concurrencyFor(config, node?.metadata.labels), () => caches.runningOn(nodeName));
  const events = createEventRecorder({ client, clock, random: deps.random, logger, component: EVENT_SOURCE, host: nodeName });
  const shared = { ...deps, config, caches, slots, events, prepareQueueLength: config.loadConcurrency?.prepareQueueLength ?? 0 };
  const controllers = [
    startDataUploadController(shared),
    startDataDownloadController(shared),
    startPodVolumeBackupController(shared),
    startPodVolumeRestoreController(shared),
  ];

  const ending = new AbortController();
  const repeated = async (everyMs: number, look: () => Promise<unknown>): Promise<void> => {
    try {
      await caches.synced(ending.signal);
      while (!ending.signal.aborted) {
        await look();
        await clock.sleep(everyMs, ending.signal);
      }
    } catch (error) {
      if (!ending.signal.aborted) throw error;
    }
  };
  const sweep = (): Promise<unknown> =>
    sweepOrphans({ client, logger, namespace, caches }).catch((error: unknown) => logger.warn("Cannot look for orphans", errorFields(error)));
  const looking = [
    repeated(SWEEP_MS, sweep),
    repeated(CREDENTIALS_MS, freshCredentials({ client, logger, namespace, nodeName, caches, nowMs: () => clock.nowMs() })),
  ];

  return {
    stop: async () => {
      ending.abort(new DOMException("The node-agent was stopped", "AbortError"));
      for (const controller of controllers) await controller.stop();
      await events.flush(LAST_EVENTS_MS);
      endCounting();
      caches.stop();
      await Promise.all(looking);
    },
  };
}

/** An installation of before, and one under Velero, knows no DataMovers or may not list them, and not every cluster has snapshots; it goes on without. */
async function knows<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, namespace?: string): Promise<boolean> {
  try {
    await client.list(type, { namespace, limit: 1 });
    return true;
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND", "KUBE_FORBIDDEN")) throw error;
    return false;
  }
}
