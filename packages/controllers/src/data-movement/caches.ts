/** What one node-agent keeps in memory of the cluster, shared by the controllers of its kinds. */
import {
  type BackupRepository,
  backupRepositories,
  DATA_PATH_EVENTS,
  type DataDownload,
  type DataMover,
  type DataUpload,
  dataDownloads,
  dataMovers,
  dataUploads,
  LABELS,
  type PodVolumeBackup,
  type PodVolumeRestore,
  podVolumeBackups,
  podVolumeRestores,
  type VolumeSnapshot,
  volumeSnapshots,
} from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type CoreEvent, events, formatKey, type Informer, type KubeClient, keyOf, type Node, nodes, type Pod, pods, startInformer } from "@drayage/kube";
import { AGENT_SELECTOR, type AgentPresence, watchAgents } from "./agent-presence.ts";
import { type AnyMovement, isMoving } from "./movement.ts";
import { type NodeHealth, watchNodes } from "./node-health.ts";

export interface DataMovementCaches {
  readonly uploads: Informer<DataUpload>;
  readonly downloads: Informer<DataDownload>;
  readonly volumeBackups: Informer<PodVolumeBackup>;
  readonly volumeRestores: Informer<PodVolumeRestore>;
  /** Every pod of this node: whose volumes are read and filled. */
  readonly localPods: Informer<Pod>;
  /** The mover pods of the whole installation: a pod may come up on any node. */
  readonly pods: Informer<Pod>;
  /** Progress events; index `about` by `namespace/name` of their object. */
  readonly events: Informer<CoreEvent>;
  readonly nodes: Informer<Node>;
  readonly nodeHealth: NodeHealth;
  /** Where agents run. */
  readonly agents: AgentPresence;
  readonly repositories: Informer<BackupRepository>;
  /** Absent in a cluster that does not know the kind. */
  readonly movers?: Informer<DataMover>;
  /** Made for movers. Absent in a cluster that does not know the kind. */
  readonly snapshots?: Informer<VolumeSnapshot>;
  /** Objects of all kinds that are being prepared. */
  exposing(): readonly AnyMovement[];
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
  readonly nodeName: string;
  /** Whether the cluster knows DataMovers. */
  readonly withMovers?: boolean;
  /** Whether it knows VolumeSnapshots. */
  readonly withSnapshots?: boolean;
}

export function startDataMovementCaches(options: CachesOptions): DataMovementCaches {
  const { client, clock, random, logger, namespace, nodeName } = options;
  const base = { client, clock, random, logger };
  const indexes = { exposing: exposingOf, running: runningOf };
  const uploads = startInformer(dataUploads, { ...base, namespace, indexes });
  const downloads = startInformer(dataDownloads, { ...base, namespace, indexes });
  const volumeBackups = startInformer(podVolumeBackups, { ...base, namespace, indexes });
  const volumeRestores = startInformer(podVolumeRestores, { ...base, namespace, indexes });
  const localPods = startInformer(pods, { ...base, fieldSelector: `spec.nodeName=${nodeName}` });
  const movers = startInformer(pods, { ...base, namespace, labelSelector: LABELS.exposerPodGroup });
  const progress = startInformer(events, {
    ...base,
    namespace,
    fieldSelector: `reason=${DATA_PATH_EVENTS.progress}`,
    indexes: { about: ({ involvedObject }) => [formatKey({ namespace: involvedObject.namespace, name: involvedObject.name ?? "" })] },
  });
  const allNodes = startInformer(nodes, { ...base, transform: withoutImages });
  const agentPods = startInformer(pods, { ...base, namespace, labelSelector: AGENT_SELECTOR });
  const repositories = startInformer(backupRepositories, { ...base, namespace });
  const registered = options.withMovers === true ? startInformer(dataMovers, base) : undefined;
  const snapshots = options.withSnapshots === true ? startInformer(volumeSnapshots, { ...base, namespace }) : undefined;
  const kinds = [uploads, downloads, volumeBackups, volumeRestores] as const;
  const informers: readonly { synced(signal?: AbortSignal): Promise<void>; stop(): void }[] = [
    ...kinds,
    localPods,
    movers,
    progress,
    allNodes,
    agentPods,
    repositories,
    ...(registered === undefined ? [] : [registered]),
    ...(snapshots === undefined ? [] : [snapshots]),
  ];
  return {
    uploads,
    downloads,
    volumeBackups,
    volumeRestores,
    localPods,
    pods: movers,
    events: progress,
    nodes: allNodes,
    nodeHealth: watchNodes(allNodes, clock),
    agents: watchAgents(agentPods, nodeName, clock),
    repositories,
    ...(registered === undefined ? {} : { movers: registered }),
    ...(snapshots === undefined ? {} : { snapshots }),
    exposing: () => kinds.flatMap((informer) => informer.byIndex("exposing", "true") as readonly AnyMovement[]),
    runningOn: (nodeName) =>
      new Set(
        kinds.flatMap((informer) =>
          (informer.byIndex("running", nodeName) as readonly AnyMovement[]).map((movement) => `${informer.type.plural}/${formatKey(keyOf(movement))}`),
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

/** Both are looked into with each look at any movement, of which there may be thousands that have ended. */
function exposingOf({ metadata }: AnyMovement): readonly string[] {
  return metadata.labels?.[LABELS.exposeOnGoing] === "true" ? ["true"] : [];
}

function runningOf(movement: AnyMovement): readonly string[] {
  const node = isMoving(movement) ? nodeOf(movement) : undefined;
  return node === undefined ? [] : [node];
}

function nodeOf({ spec, status }: AnyMovement): string | undefined {
  return "node" in spec ? spec.node : (status as { readonly node?: string } | undefined)?.node;
}

/** A node's list of images is the larger part of it, and of no use here. */
function withoutImages(node: Node): Node {
  const { images: _, ...status } = (node.status ?? {}) as NonNullable<Node["status"]> & { images?: unknown };
  return { ...node, status };
}
