/** The plug-ins of a server: as Velero has them, each is an init container of its Deployment that copies itself into a folder which the server looks through. */
import { type Backup, backups, type Restore, restores, serverStatusRequests } from "@drayage/api";
import { DrayError, randomHex, randomSuffix } from "@drayage/base";
import { SERVER_NAME } from "@drayage/install";
import { type Container, type Deployment, deployments, type KubeClient, keyOf, type ResourceType } from "@drayage/kube";
import type { Terminal } from "../terminal.ts";
import type { ClusterAccess } from "./access.ts";

/** Where an init container finds the folder, and where the server does: Velero's own places. */
const TARGET = "/target";
const FOLDER = "/plugins";
const VOLUME = "plugins";
/** Of a container: an RFC 1123 label. */
const NAME_LENGTH_MAX = 63;
const OPERATOR_LABEL = "openshift.io/oadp";
const ANSWER_MS = 30_000;
const LOOK_MS = 200;

/**
 * The Deployment of the server: ours, or that of the Velero whose guests our node-agents are. Throws KUBE_NOT_FOUND; NOT_PERMITTED when an application has it made, to which plug-ins
 * are to be told.
 */
async function serverOf(access: ClusterAccess, terminal: Terminal): Promise<Deployment> {
  const found = await findServer(access, terminal);
  const { name, labels, ownerReferences } = found.metadata;
  const owner = ownerReferences?.find(({ kind }) => kind === "DataProtectionApplication");
  if (labels?.[OPERATOR_LABEL] !== undefined && owner !== undefined) {
    throw new DrayError("NOT_PERMITTED", `Cannot change the plug-ins of server "${name}": DataProtectionApplication "${owner.name}" has it made`, {
      hint: "Name them in spec.configuration.velero.customPlugins of it.",
    });
  }
  return found;
}

async function findServer({ client, namespace }: ClusterAccess, { signal }: Terminal): Promise<Deployment> {
  for (const name of [SERVER_NAME, "velero"]) {
    const found = await client.find(deployments, { namespace, name }, signal);
    if (found !== undefined) return found;
  }
  // Velero's Helm chart names it by its release; Velero itself looks for this label.
  const { items } = await client.list(deployments, { namespace, labelSelector: "component=velero", signal });
  const [labelled] = items;
  if (labelled !== undefined) return labelled;
  throw new DrayError(
    "KUBE_NOT_FOUND",
    `Cannot find a server in namespace "${namespace}": there is neither Deployment "${SERVER_NAME}" nor "velero", nor one with the label component=velero`,
    { hint: "dray install makes one; -n names another namespace." },
  );
}

/** A server that starts anew ends what it is doing, as Velero's command warns. Throws USAGE naming what runs. */
export async function rejectWhileBusy({ client, namespace }: ClusterAccess, action: string, { signal }: Terminal): Promise<void> {
  const busy: string[] = [];
  for (const type of [backups, restores] as const)
    for await (const { metadata, status } of client.listAll<Backup | Restore>(type as ResourceType<Backup | Restore>, { namespace, signal }))
      if (status?.phase === "InProgress") busy.push(`${type.kind} "${metadata.name}"`);
  if (busy.length === 0) return;
  throw new DrayError("USAGE", `Cannot ${action} without --confirm: the server starts anew, and ${busy.join(", ")} would end`, {
    hint: "Wait until nothing runs, or give --confirm.",
  });
}

/** An image without tag and digest. */
const repositoryOf = (image: string): string => image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");

/** The name of its init container, from its image: path, without registry, tag and digest. */
export function pluginContainerName(image: string): string {
  const parts = repositoryOf(image).split("/");
  const bare = parts.length > 1 && /[.:]|^localhost$/.test(parts[0] ?? "") ? parts.slice(1) : parts;
  return bare
    .join("-")
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-")
    .slice(0, NAME_LENGTH_MAX)
    .replace(/^-+|-+$/g, "");
}

/** Adds a plug-in; the server starts anew with it. Throws KUBE_ALREADY_EXISTS. */
export async function addPlugin(access: ClusterAccess, image: string, pullPolicy: string, terminal: Terminal): Promise<string> {
  const server = await serverOf(access, terminal);
  const { initContainers = [], volumes = [], containers } = server.spec.template.spec;
  const called = pluginContainerName(image);
  if (called === "") throw new DrayError("USAGE", `Cannot add plug-in "${image}": the name of an image is wanted`);
  const other = initContainers.find((container) => repositoryOf(container.image ?? "") === repositoryOf(image));
  if (other !== undefined) {
    throw new DrayError("KUBE_ALREADY_EXISTS", `Cannot add plug-in "${image}": the server has "${other.name}" of image "${other.image}" already`, {
      hint: `dray plugin remove ${other.name} first, to put another release in its place.`,
    });
  }
  // Of two registries there may be images of one path; Velero tells them apart in this way.
  const isTaken = initContainers.some(({ name }) => name === called);
  const name = isTaken ? `${called.slice(0, NAME_LENGTH_MAX - 6)}-${randomSuffix(terminal.random)}` : called;
  const added: Container = { name, image, imagePullPolicy: pullPolicy, volumeMounts: [{ name: VOLUME, mountPath: TARGET }] };
  const [container, ...others] = containers;
  if (container === undefined) throw new DrayError("VALIDATION_FAILED", `Cannot add a plug-in to Deployment "${server.metadata.name}": it has no container`);
  const mounts = container.volumeMounts ?? [];
  const mounted = mounts.some(({ mountPath }) => mountPath === FOLDER)
    ? container
    : { ...container, volumeMounts: [...mounts, { name: VOLUME, mountPath: FOLDER }] };
  await write(
    access.client,
    server,
    {
      ...server.spec.template.spec,
      initContainers: [...initContainers, added],
      containers: [mounted, ...others],
      volumes: volumes.some((volume) => volume.name === VOLUME) ? volumes : [...volumes, { name: VOLUME, emptyDir: {} }],
    },
    terminal,
  );
  return name;
}

/** Removes a plug-in by the name of its init container or by its image. Throws KUBE_NOT_FOUND naming those that there are. */
export async function removePlugin(access: ClusterAccess, nameOrImage: string, terminal: Terminal): Promise<string> {
  const server = await serverOf(access, terminal);
  const { initContainers = [] } = server.spec.template.spec;
  const found = initContainers.find(({ name, image }) => name === nameOrImage || image === nameOrImage);
  if (found === undefined) {
    const names = initContainers.map(({ name }) => `"${name}"`).join(", ");
    throw new DrayError("KUBE_NOT_FOUND", `Cannot remove plug-in "${nameOrImage}": the server has ${names === "" ? "none" : names}`);
  }
  await write(access.client, server, { ...server.spec.template.spec, initContainers: initContainers.filter((container) => container !== found) }, terminal);
  return found.name;
}

/** A compare-and-swap: what somebody else has changed meanwhile is not lost. */
async function write(client: KubeClient, server: Deployment, spec: Deployment["spec"]["template"]["spec"], terminal: Terminal): Promise<void> {
  const { template } = server.spec;
  await client.replace(deployments, { ...server, spec: { ...server.spec, template: { ...template, spec } } }, { signal: terminal.signal });
}

export interface ServerPlugin {
  readonly kind: string;
  readonly name: string;
}

/** Asks the server itself what it offers. Throws TIMED_OUT when it does not answer. */
export async function pluginsOfServer({ client, namespace }: ClusterAccess, terminal: Terminal): Promise<readonly ServerPlugin[]> {
  const request = await client.create(
    serverStatusRequests,
    { apiVersion: "velero.io/v1", kind: "ServerStatusRequest", metadata: { namespace, name: `dray-plugins-${randomHex(terminal.random, 5)}` }, spec: {} },
    { signal: terminal.signal },
  );
  const untilMs = terminal.clock.monotonicMs() + ANSWER_MS;
  try {
    for (;;) {
      const { status } = await client.get(serverStatusRequests, keyOf(request), terminal.signal);
      if (status?.phase === "Processed") return status.plugins ?? [];
      if (terminal.clock.monotonicMs() > untilMs)
        throw new DrayError("TIMED_OUT", `Cannot list plug-ins: no server of namespace "${namespace}" has answered within ${ANSWER_MS / 1000} s`, {
          hint: "dray doctor says why.",
        });
      await terminal.clock.sleep(LOOK_MS, terminal.signal);
    }
  } finally {
    await client.delete(serverStatusRequests, keyOf(request)).catch(() => undefined);
  }
}
