import type { DataMover, DataUpload, VolumeSnapshot } from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import type { EnvVar, Informer, KubeClient } from "@drayage/kube";
import type { NodeAgentConfig } from "../data-movement/node-agent-config.ts";

/** How mover pods look where neither Velero's shape nor the node-agent ConfigMap says. */
export interface MoverPodSettings {
  readonly image: string;
  /** IfNotPresent when left out. */
  readonly imagePullPolicy?: "Always" | "IfNotPresent" | "Never";
  readonly imagePullSecrets?: readonly { readonly name: string }[];
  /** The service account may read the movement's own kinds and write Events; it reads no Secrets. */
  readonly serviceAccount: string;
  /** The program; `["/velero"]` when left out, which our image answers to as Velero's does. */
  readonly command?: readonly string[];
  /** Beside Velero's own variables: a proxy, a CA bundle. */
  readonly env?: readonly EnvVar[];
  readonly envFrom?: readonly unknown[];
  /** Those of the cluster when left out. */
  readonly dnsPolicy?: string;
  readonly dnsConfig?: Readonly<Record<string, unknown>>;
  /** After Velero's arguments: `--log-level=debug`. */
  readonly extraArgs?: readonly string[];
  /** Where the ConfigMap names none. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly tolerations?: readonly Record<string, unknown>[];
}

export interface ExposerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation; every intermediate object is in it. */
  readonly namespace: string;
  readonly pod: MoverPodSettings;
  readonly config: NodeAgentConfig;
  /** VolumeSnapshots of the installation's namespace, where they are watched. */
  readonly snapshots?: Pick<Informer<VolumeSnapshot>, "get"> | undefined;
  /** What this agent was refused, and does not try again. */
  readonly refused?: Set<string>;
  /** The operating system of a node; undefined where that is not known. */
  readonly systemOf?: (nodeName: string) => string | undefined;
  /** What the mover of an upload is not made beside yet. */
  readonly startsAfter?: (upload: DataUpload) => string | undefined;
  /** The registered mover of a name, where pods of ours run it. */
  readonly moverOf?: (name: string) => DataMover | undefined;
}
