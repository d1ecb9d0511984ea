/** What one node-agent keeps in memory of the cluster, shared by the controllers of its kinds. */
import {
  type BackupRepository,
  backupRepositories,
  DATA_PATH_EVENTS,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  LABELS,
} from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type CoreEvent, events, formatKey, type Informer, type KubeClient, keyOf, type Node, nodes, type Pod, pods, startInformer } from "@drayage/kube";

export interface DataMovementCaches {
  readonly uploads: Informer<DataUpload>;
  readonly downloads: Informer<DataDownload>;
  /** The mover pods of the whole installation: a pod may come up on any node. */
  readonly pods: Informer<Pod>;
  /** Progress events; index `about` by `namespace/name` of their object. */
  readonly events: Informer<CoreEvent>;
  readonly nodes: Informer<Node>;
  readonly repositories: Informer<BackupRepository>;
  /** Objects of both kinds that are being prepared. */
  exposing(): readonly (DataUpload | DataDownload)[];
  /** Keys (`datauploads/ns/name`) of what runs on a node. */
  runningOn(nodeName: string): ReadonlySet<string>;
  synced(signal?: AbortSignal): Promise<void>;
  stop(): void;
}

export interface CachesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
}

export function startDataMovementCaches(options: CachesOptions): DataMovementCaches {
  const { client, clock, random, logger, namespace } = options;
  const base = { client, clock, random, logger };
  const uploads = startInformer(dataUploads, { ...base, namespace });
  const downloads = startInformer(dataDownloads, { ...base, namespace });
  const movers = startInformer(pods, { ...base, namespace, labelSelector: LABELS.exposerPodGroup });
  const progress = startInformer(events, {
    ...base,
    namespace,
    fieldSelector: `reason=${DATA_PATH_EVENTS.progress}`,
    indexes: { about: ({ involvedObject }) => [formatKey({ namespace: involvedObject.namespace, name: involvedObject.name ?? "" })] },
  });
  const allNodes = startInformer(nodes, { ...base, transform: withoutImages });
  const repositories = startInformer(backupRepositories, { ...base, namespace });
  const informers: readonly { synced(signal?: AbortSignal): Promise<void>; stop(): void }[] = [uploads, downloads, movers, progress, allNodes, repositories];
  return {
    uploads,
    downloads,
    pods: movers,
    events: progress,
    nodes: allNodes,
    repositories,
    exposing: () => [...uploads.list(), ...downloads.list()].filter(({ metadata }) => metadata.labels?.[LABELS.exposeOnGoing] === "true"),
    runningOn: (nodeName) =>
      new Set(
        [uploads, downloads].flatMap((informer) =>
          (informer.list() as readonly (DataUpload | DataDownload)[])
            .filter(({ status }) => status?.node === nodeName && (status.phase === "InProgress" || status.phase === "Canceling"))
            .map((movement) => `${informer.type.plural}/${formatKey(keyOf(movement))}`),
        ),
      ),
    synced: async (signal) => {
      for (const informer of informers) await informer.synced(signal);
    },
    stop: () => {
      for (const informer of informers) informer.stop();
    },
  };
}

/** A node's list of images is the larger part of it, and of no use here. */
function withoutImages(node: Node): Node {
  const { images: _, ...status } = (node.status ?? {}) as NonNullable<Node["status"]> & { images?: unknown };
  return { ...node, status };
}
