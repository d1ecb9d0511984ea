/** Sees what `decide` needs to know of one DataProtectionApplication. Reads only. */
import { backupStorageLocations, type CloudStorage, cloudStorages, type DataProtectionApplication, volumeSnapshotLocations } from "@drayage/api";
import { hasCode } from "@drayage/base";
import { REPO_CREDENTIALS } from "@drayage/install";
import {
  configMaps,
  daemonSets,
  deployments,
  isOwnedBy,
  type KubeClient,
  type KubeObject,
  type LabelSelector,
  type ResourceType,
  secrets,
  services,
} from "@drayage/kube";
import type { ArgumentOverride, Observed, OwnedObject, SecretFacts } from "./dpa.ts";
import { OADP_LABEL, type OwnedManifest } from "./owned-manifest.ts";
import { referencedSecrets } from "./validate.ts";
import { SERVER_DEPLOYMENT } from "./workloads.ts";

export interface ObserverDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  /** All of the namespace, as the cache has them. */
  readonly all: () => readonly DataProtectionApplication[];
  readonly image: string;
}

/** What a DataProtectionApplication brings about, by kind. */
export const OWNED_TYPES: Readonly<Record<OwnedManifest["kind"], ResourceType<KubeObject>>> = {
  ConfigMap: configMaps,
  Secret: secrets,
  BackupStorageLocation: backupStorageLocations as ResourceType<KubeObject>,
  VolumeSnapshotLocation: volumeSnapshotLocations as ResourceType<KubeObject>,
  Deployment: deployments,
  DaemonSet: daemonSets,
  Service: services,
};

const ARGUMENT_ANNOTATIONS = {
  server: "oadp.openshift.io/unsupported-velero-server-args",
  nodeAgent: "oadp.openshift.io/unsupported-node-agent-server-args",
} as const;
/** OADP's operator, as its bundle names it. */
const OADP_OPERATOR = "openshift-adp-controller-manager";

export async function observe(deps: ObserverDeps, dpa: DataProtectionApplication, signal: AbortSignal): Promise<Observed> {
  const { client, namespace, all, image } = deps;
  const operator = await client.find(deployments, { namespace, name: OADP_OPERATOR }, signal);
  const serverArguments = await argumentsFrom(deps, dpa, ARGUMENT_ANNOTATIONS.server, signal);
  const nodeAgentArguments = await argumentsFrom(deps, dpa, ARGUMENT_ANNOTATIONS.nodeAgent, signal);
  return {
    dpa,
    others: all()
      .filter(({ metadata }) => metadata.uid !== dpa.metadata.uid && metadata.deletionTimestamp === undefined)
      .map(({ metadata }) => metadata.name ?? ""),
    secrets: await secretsOf(deps, dpa, signal),
    cloudStorages: await cloudStoragesOf(deps, dpa, signal),
    server: await client.find(deployments, { namespace, name: SERVER_DEPLOYMENT }, signal),
    oadpOperatorRuns: operator !== undefined && operator.spec.replicas !== 0,
    owned: await ownedBy(client, namespace, dpa, signal),
    image,
    hasRepositoryPassword: (await client.find(secrets, { namespace, name: REPO_CREDENTIALS }, signal)) !== undefined,
    ...(serverArguments === undefined ? {} : { serverArguments }),
    ...(nodeAgentArguments === undefined ? {} : { nodeAgentArguments }),
  };
}

async function secretsOf({ client, namespace }: ObserverDeps, dpa: DataProtectionApplication, signal: AbortSignal): Promise<Map<string, SecretFacts>> {
  const found = new Map<string, SecretFacts>();
  for (const { name } of referencedSecrets(dpa.spec)) {
    if (found.has(name)) continue;
    const secret = await client.find(secrets, { namespace, name }, signal);
    if (secret === undefined) continue;
    const data = Object.fromEntries(Object.entries(secret.data ?? {}).map(([key, text]) => [key, Buffer.from(text, "base64").toString("utf8")]));
    found.set(name, { data, labels: secret.metadata.labels ?? {} });
  }
  return found;
}

async function cloudStoragesOf(
  { client, namespace }: ObserverDeps,
  { spec }: DataProtectionApplication,
  signal: AbortSignal,
): Promise<Map<string, CloudStorage>> {
  const found = new Map<string, CloudStorage>();
  for (const { bucket } of spec.backupLocations ?? []) {
    const name = bucket?.cloudStorageRef?.name ?? "";
    if (name === "" || found.has(name)) continue;
    const storage = await client.find(cloudStorages, { namespace, name }, signal);
    if (storage !== undefined) found.set(name, storage);
  }
  return found;
}

async function argumentsFrom(
  { client, namespace }: ObserverDeps,
  { metadata }: DataProtectionApplication,
  annotation: string,
  signal: AbortSignal,
): Promise<ArgumentOverride | undefined> {
  const configMap = metadata.annotations?.[annotation] ?? "";
  if (configMap === "") return undefined;
  const found = await client.find(configMaps, { namespace, name: configMap }, signal);
  return { configMap, data: found === undefined ? undefined : (found.data ?? {}) };
}

async function ownedBy(client: KubeClient, namespace: string, dpa: DataProtectionApplication, signal: AbortSignal): Promise<OwnedObject[]> {
  const owned: OwnedObject[] = [];
  for (const [kind, type] of Object.entries(OWNED_TYPES) as [OwnedManifest["kind"], ResourceType<KubeObject>][]) {
    try {
      for await (const object of client.listAll(type, { namespace, labelSelector: `${OADP_LABEL}=True`, signal })) {
        if (!isOwnedBy(object, dpa)) continue;
        const { selector } = (object as KubeObject & { spec?: { selector?: LabelSelector } }).spec ?? {};
        owned.push({ kind, name: object.metadata.name ?? "", ...(selector === undefined ? {} : { selector: selector.matchLabels ?? {} }) });
      }
    } catch (error) {
      // Guest in a cluster that lacks a kind.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  return owned;
}
