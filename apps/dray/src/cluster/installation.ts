/** Brings an installation's manifests into a cluster, and waits until they work. Used by `dray install` and by the demo. */
import {
  backupStorageLocations,
  cloudStorages,
  dataDownloads,
  dataMovers,
  dataUploads,
  FINALIZERS,
  restores,
  VOLSYNC_GROUP,
  type VolumeSnapshotBackup,
  type VolumeSnapshotRestore,
  VSM_FINALIZER,
  volumeSnapshotBackups,
  volumeSnapshotRestores,
} from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { type Manifest, NODE_AGENT_NAME, OPERATOR_NAME, SERVER_NAME } from "@drayage/install";
import {
  clusterRoleBindings,
  clusterRoles,
  customResourceDefinitions,
  daemonSets,
  deployments,
  type GenericObject,
  type KubeClient,
  type KubeObject,
  namespaces,
  pods,
  type ResourceType,
  roleBindings,
  roles,
  secrets,
  serviceAccounts,
  services,
  validatingWebhookConfigurations,
} from "@drayage/kube";
import type { Terminal } from "../terminal.ts";
import { LiveLine } from "./wait.ts";

/** Every kind that `installManifests` can give. */
const TYPES: readonly ResourceType[] = [
  customResourceDefinitions,
  namespaces,
  serviceAccounts,
  clusterRoles,
  clusterRoleBindings,
  roles,
  roleBindings,
  secrets,
  services,
  validatingWebhookConfigurations,
  deployments,
  daemonSets,
  backupStorageLocations,
  dataMovers,
  { group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy", namespaced: true },
].map(({ group, version, plural, kind, namespaced }) => ({ group, version, plural, kind, namespaced }));

const POLL_MS = 200;
const FIELD_MANAGER = "dray-install";

export function typeOfManifest(manifest: Manifest): ResourceType {
  const type = TYPES.find(({ kind }) => kind === manifest.kind);
  if (type === undefined) throw new DrayError("INVARIANT", `Unexpected kind "${manifest.kind}" in the manifests`);
  return type;
}

/** Applies everything in order; what is there is brought up to date. CRDs are waited for before what needs them. */
export async function applyManifests(client: KubeClient, manifests: readonly Manifest[], terminal: Terminal): Promise<void> {
  const crds = manifests.filter(({ kind }) => kind === "CustomResourceDefinition");
  for (const manifest of crds) if (!(await isOfVolSync(client, manifest, terminal))) await apply(client, manifest, terminal);
  for (const { metadata } of crds) await waitForCrd(client, metadata.name, terminal);
  for (const manifest of manifests) if (manifest.kind !== "CustomResourceDefinition") await apply(client, manifest, terminal);
}

/** Whether a kind of VolSync's is there that VolSync brought: its definition knows more than ours, and objects of its kinds lose what ours does not know. */
async function isOfVolSync(client: KubeClient, { metadata, spec }: Manifest, { signal }: Terminal): Promise<boolean> {
  if ((spec as { group?: string } | undefined)?.group !== VOLSYNC_GROUP) return false;
  const found = await client.find(customResourceDefinitions, { name: metadata.name }, signal);
  return found !== undefined && found.metadata.labels?.["component"] !== metadata.labels?.["component"];
}

async function apply(client: KubeClient, manifest: Manifest, terminal: Terminal): Promise<void> {
  await client.apply(typeOfManifest(manifest), manifest as unknown as GenericObject, { fieldManager: FIELD_MANAGER, force: true, signal: terminal.signal });
}

async function waitForCrd(client: KubeClient, name: string, terminal: Terminal): Promise<void> {
  const untilMs = terminal.clock.monotonicMs() + 30_000;
  for (;;) {
    const crd = await client.get(customResourceDefinitions, { name }, terminal.signal);
    if (crd.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") === true) return;
    if (terminal.clock.monotonicMs() > untilMs) throw new DrayError("TIMED_OUT", `Cannot install "${name}": the server did not establish it within 30 s`);
    await terminal.clock.sleep(POLL_MS, terminal.signal);
  }
}

/** Waits until the operator runs. Throws TIMED_OUT saying why not, as far as the cluster says. */
export function waitForOperator(client: KubeClient, namespace: string, terminal: Terminal, limitMs: number): Promise<void> {
  return waitWhile(() => deploymentTrouble(client, namespace, { name: OPERATOR_NAME, what: "the operator" }, terminal.signal), namespace, terminal, limitMs);
}

/** Waits until server and node-agents run and the location is there to write to. Throws TIMED_OUT saying what is missing and why, as far as the cluster says. */
export function waitForInstallation(client: KubeClient, namespace: string, terminal: Terminal, limitMs: number): Promise<void> {
  return waitWhile(() => whatIsMissing(client, namespace, terminal.signal), namespace, terminal, limitMs);
}

/** Waits until the node-agents of a DaemonSet run. Throws TIMED_OUT. */
export function waitForNodeAgents(client: KubeClient, namespace: string, name: string, terminal: Terminal, limitMs: number): Promise<void> {
  return waitWhile(() => nodeAgentTrouble(client, namespace, name, terminal.signal), namespace, terminal, limitMs);
}

/** Waits while something is missing. */
async function waitWhile(look: () => Promise<string | undefined>, namespace: string, terminal: Terminal, limitMs: number): Promise<void> {
  const untilMs = terminal.clock.monotonicMs() + limitMs;
  const live = new LiveLine(terminal);
  try {
    for (;;) {
      const missing = await look();
      if (missing === undefined) return;
      live.show(`Waiting: ${missing}`);
      if (terminal.clock.monotonicMs() > untilMs) {
        throw new DrayError("TIMED_OUT", `Cannot finish the installation in namespace "${namespace}": ${missing}`, {
          hint: `kubectl -n ${namespace} get pods,events tells more.`,
        });
      }
      await terminal.clock.sleep(POLL_MS, terminal.signal);
    }
  } finally {
    live.end();
  }
}

async function whatIsMissing(client: KubeClient, namespace: string, signal: AbortSignal): Promise<string | undefined> {
  const trouble = await deploymentTrouble(client, namespace, { name: SERVER_NAME, what: "the server" }, signal);
  if (trouble !== undefined) return trouble;
  const agents = await nodeAgentTrouble(client, namespace, NODE_AGENT_NAME, signal);
  if (agents !== undefined) return agents;
  const locations = await client.list(backupStorageLocations, { namespace, signal });
  const bad = locations.items.find(({ status }) => status?.phase !== "Available");
  return bad === undefined
    ? undefined
    : `backup location "${bad.metadata.name}" is ${bad.status?.phase ?? "not looked at yet"}${bad.status?.message === undefined ? "" : `: ${withoutRepetition(bad.status.message)}`}`;
}

/** An installation without node-agents lacks none. */
async function nodeAgentTrouble(client: KubeClient, namespace: string, name: string, signal: AbortSignal): Promise<string | undefined> {
  const agents = await client.find(daemonSets, { namespace, name }, signal);
  if (agents === undefined) return undefined;
  const wanted = Number(agents.status?.["desiredNumberScheduled"] ?? -1);
  const ready = Number(agents.status?.["numberReady"] ?? 0);
  if (wanted >= 0 && ready >= wanted) return undefined;
  return `${ready} of ${Math.max(wanted, 0)} node-agents are ready${await podTrouble(client, namespace, `name=${name}`, signal)}`;
}

async function deploymentTrouble(
  client: KubeClient,
  namespace: string,
  { name, what }: { readonly name: string; readonly what: string },
  signal: AbortSignal,
): Promise<string | undefined> {
  const deployment = await client.find(deployments, { namespace, name }, signal);
  if (Number(deployment?.status?.["availableReplicas"] ?? 0) >= 1) return undefined;
  return `${what} is not available${await podTrouble(client, namespace, `deploy=${name}`, signal)}`;
}

/** Velero's form of the message names the location once more. */
function withoutRepetition(message: string): string {
  return message.replace(/^BackupStorageLocation "[^"]*" is unavailable: /, "");
}

/** The first reason why a pod of this selector does not run, as ` (…)`. */
async function podTrouble(client: KubeClient, namespace: string, labelSelector: string, signal: AbortSignal): Promise<string> {
  const { items } = await client.list(pods, { namespace, labelSelector, signal });
  for (const { status } of items) {
    const waiting = status?.containerStatuses
      ?.map(({ state }) => state?.waiting)
      .find((state) => state?.reason !== undefined && state.reason !== "ContainerCreating");
    if (waiting !== undefined) return ` (${waiting.reason}${waiting.message === undefined ? "" : `: ${waiting.message}`})`;
    const unschedulable = status?.conditions?.find(({ type, status: value }) => type === "PodScheduled" && value === "False");
    if (unschedulable !== undefined) return ` (${unschedulable.message ?? unschedulable.reason})`;
  }
  return "";
}

/**
 * Removes an installation: workloads and permissions first, then its namespace, then, when asked, the kinds with everything of them; returns when all of it is gone.
 * The bucket is not touched: what would ask the server to clean up there (finalizers of Restores, data movements and CloudStorages) is let go. Throws TIMED_OUT naming what stays.
 */
export async function removeInstallation(
  client: KubeClient,
  manifests: readonly Manifest[],
  options: { readonly withKinds: boolean; readonly limitMs: number },
  terminal: Terminal,
): Promise<string[]> {
  const removed: Manifest[] = [];
  const remove = async (manifest: Manifest): Promise<void> => {
    const { name, namespace } = manifest.metadata;
    if (await isOfVolSync(client, manifest, terminal)) return;
    try {
      if (await client.delete(typeOfManifest(manifest), { name, namespace }, { signal: terminal.signal })) removed.push(manifest);
    } catch (error) {
      // A namespace or a kind that went first took this with it.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  };
  const isKind = ({ kind }: Manifest): boolean => kind === "CustomResourceDefinition";
  for (const manifest of [...manifests].reverse()) if (!isKind(manifest)) await remove(manifest);
  const namespace = manifests.find(({ kind }) => kind === "Namespace")?.metadata.name;
  if (namespace !== undefined) await letGoOfMovers(client, namespace, terminal.signal);
  if (options.withKinds) for (const manifest of manifests) if (isKind(manifest)) await remove(manifest);
  await untilGone(client, removed, options.withKinds ? undefined : namespace, options.limitMs, terminal);
  return removed.map(({ kind, metadata }) => `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`);
}

/** Kinds whose objects wait for server, node-agents or operator before they go. */
const WITH_FINALIZERS = [restores, dataUploads, dataDownloads, cloudStorages] as readonly unknown[] as readonly ResourceType<KubeObject>[];
const OUR_FINALIZERS: ReadonlySet<string> = new Set(Object.values(FINALIZERS));

async function untilGone(client: KubeClient, removed: readonly Manifest[], namespace: string | undefined, limitMs: number, terminal: Terminal): Promise<void> {
  const live = new LiveLine(terminal);
  const untilMs = terminal.clock.monotonicMs() + limitMs;
  const waitedFor = removed.filter(({ kind }) => kind === "Namespace" || kind === "CustomResourceDefinition");
  try {
    for (;;) {
      const left: string[] = [];
      for (const manifest of waitedFor)
        if ((await client.find(typeOfManifest(manifest), { name: manifest.metadata.name }, terminal.signal)) !== undefined)
          left.push(`${manifest.kind} ${manifest.metadata.name}`);
      if (left.length === 0) return;
      live.show(`Waiting until ${left.join(", ")} ${left.length === 1 ? "is" : "are"} gone`);
      for (const type of WITH_FINALIZERS) await letGo(client, type, namespace, terminal.signal);
      if (terminal.clock.monotonicMs() > untilMs) {
        throw new DrayError("TIMED_OUT", `Cannot finish removing the installation: ${left.join(", ")} not gone within ${Math.round(limitMs / 1000)} s`, {
          hint: "status.conditions of it say what it waits for.",
        });
      }
      await terminal.clock.sleep(POLL_MS, terminal.signal);
    }
  } finally {
    live.end();
  }
}

/** VolumeSnapshotBackups and VolumeSnapshotRestores lie in the namespaces of applications, which could not be deleted any more once nobody is there to let them go. */
async function letGoOfMovers(client: KubeClient, namespace: string, signal: AbortSignal): Promise<void> {
  try {
    for (const type of [volumeSnapshotBackups, volumeSnapshotRestores] as ResourceType<VolumeSnapshotBackup | VolumeSnapshotRestore>[])
      for await (const { metadata, spec } of client.listAll(type, { signal })) {
        const finalizers = metadata.finalizers ?? [];
        if (spec?.protectedNamespace !== namespace || !finalizers.includes(VSM_FINALIZER)) continue;
        const others = finalizers.filter((finalizer) => finalizer !== VSM_FINALIZER);
        await client.patch(type, { namespace: metadata.namespace, name: metadata.name ?? "" }, "merge", { metadata: { finalizers: others } }, { signal });
      }
  } catch (error) {
    // The kind is not defined, or one went meanwhile.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

async function letGo(client: KubeClient, type: ResourceType<KubeObject>, namespace: string | undefined, signal: AbortSignal): Promise<void> {
  try {
    for await (const { metadata } of client.listAll(type, { namespace, signal })) {
      const finalizers = metadata.finalizers ?? [];
      const others = finalizers.filter((finalizer) => !OUR_FINALIZERS.has(finalizer));
      if (metadata.deletionTimestamp === undefined || others.length === finalizers.length) continue;
      await client.patch(type, { namespace: metadata.namespace, name: metadata.name ?? "" }, "merge", { metadata: { finalizers: others } }, { signal });
    }
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}
