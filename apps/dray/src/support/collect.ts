/**
 * What a support bundle holds: the objects of the installation and of snapshots, events, logs, and what the doctor says; each text without secrets.
 * What cannot be read is named in the manifest, and the rest is kept: a bundle is wanted most where something is broken.
 */
import * as api from "@drayage/api";
import { hasCode, messageOf } from "@drayage/base";
import {
  configMaps,
  customResourceDefinitions,
  daemonSets,
  deployments,
  events,
  jobs,
  type KubeObject,
  leases,
  nodes,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  secrets,
  storageClasses,
} from "@drayage/kube";
import type { ClusterAccess } from "../cluster/access.ts";
import { downloadText } from "../cluster/download.ts";
import { examine } from "../doctor/examine.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { createRedactor, type Redactor } from "./redaction.ts";

export interface BundleFile {
  readonly name: string;
  readonly text: string;
}

export interface BundleRequest {
  /** Backups and Restores whose log and results are fetched from the bucket as well. */
  readonly backups: readonly string[];
  readonly restores: readonly string[];
}

interface Skipped {
  readonly what: string;
  readonly why: string;
}

/** Of each kind; what is beyond is counted out in the manifest. */
const OBJECTS_MAX = 2_000;
const LOG_LINES = 10_000;
const LOG_BYTES = 4 << 20;
const PODS_MAX = 200;

/** Kinds of the installation's namespace. */
const NAMESPACED: readonly ResourceType<KubeObject>[] = [
  ...[api.backups, api.restores, api.schedules, api.backupStorageLocations, api.volumeSnapshotLocations, api.backupRepositories, api.deleteBackupRequests],
  ...[api.downloadRequests, api.serverStatusRequests, api.podVolumeBackups, api.podVolumeRestores, api.dataUploads, api.dataDownloads],
  ...[deployments, daemonSets, jobs, pods, persistentVolumeClaims, configMaps, secrets, leases, events, api.volumeSnapshots],
] as readonly unknown[] as ResourceType<KubeObject>[];
const CLUSTER_WIDE: readonly ResourceType<KubeObject>[] = [
  nodes,
  storageClasses,
  persistentVolumes,
  api.volumeSnapshotClasses,
  api.volumeSnapshotContents,
  customResourceDefinitions,
] as readonly unknown[] as ResourceType<KubeObject>[];
/** Of a definition only its name and its conditions say anything here. */
const NAMES_ONLY: ReadonlySet<string> = new Set([customResourceDefinitions.plural]);

/** Of Secrets that hold a token or a certificate: the name of a namespace would be taken out of everything. */
const PUBLIC_KEYS: ReadonlySet<string> = new Set(["namespace", "ca.crt", "tls.crt"]);

/** The files of a bundle, one at a time, the manifest last. Throws only when cancelled or when nobody answers at all. */
export async function* collectBundle(access: ClusterAccess, request: BundleRequest, terminal: Terminal): AsyncGenerator<BundleFile> {
  const skipped: Skipped[] = [];
  const names: string[] = [];
  const redactor = createRedactor(await knownSecrets(access, skipped, terminal));
  const file = (name: string, text: string): BundleFile => {
    names.push(name);
    return { name, text };
  };
  const findings = await examine({ ...access, nowMs: terminal.clock.nowMs(), signal: terminal.signal });
  yield file("doctor.json", json(redactor.object(findings)));
  for (const [types, folder] of [
    [NAMESPACED, "namespace"],
    [CLUSTER_WIDE, "cluster"],
  ] as const) {
    for (const type of types) {
      const objects = await objectsOf(access, type, folder === "namespace", redactor, skipped, terminal);
      if (objects.length > 0) yield file(`${folder}/${type.plural}${type.group === "" ? "" : `.${type.group}`}.json`, json(objects));
    }
  }
  for await (const { name, text } of containerLogs(access, skipped, terminal)) yield file(name, redactor.text(text));
  for await (const { name, text } of bucketFiles(access, request, skipped, terminal)) yield file(name, redactor.text(text));
  const createdAt = new Date(terminal.clock.nowMs()).toISOString();
  yield { name: "manifest.json", text: json({ schema: 1, createdAt, version: programVersion(), namespace: access.namespace, files: names, skipped }) };
}

async function knownSecrets({ client, namespace }: ClusterAccess, skipped: Skipped[], { signal }: Terminal): Promise<readonly string[]> {
  const values: string[] = [];
  try {
    for await (const { data } of client.listAll(secrets, { namespace, signal }))
      for (const [name, value] of Object.entries(data ?? {})) if (!PUBLIC_KEYS.has(name)) values.push(Buffer.from(value, "base64").toString("utf8"));
  } catch (error) {
    // Shapes and names still find what they can; logs of ours hold no secrets to begin with.
    skip(skipped, "values of Secrets, to look for them", error, signal);
  }
  return values;
}

async function objectsOf(
  { client, namespace }: ClusterAccess,
  type: ResourceType<KubeObject>,
  isNamespaced: boolean,
  redactor: Redactor,
  skipped: Skipped[],
  { signal }: Terminal,
): Promise<readonly object[]> {
  const objects: object[] = [];
  let left = 0;
  try {
    for await (const object of client.listAll(type, { ...(isNamespaced ? { namespace } : {}), signal })) {
      if (objects.length >= OBJECTS_MAX) left++;
      else if (NAMES_ONLY.has(type.plural)) objects.push({ metadata: { name: object.metadata.name } });
      else objects.push(redactor.object({ kind: type.kind, ...object }));
    }
  } catch (error) {
    // A kind that is not installed has no objects; the doctor says so where it matters.
    if (!hasCode(error, "KUBE_NOT_FOUND")) skip(skipped, `${type.plural}`, error, signal);
  }
  if (left > 0) skipped.push({ what: `${left} ${type.plural}`, why: `${OBJECTS_MAX} of a kind are kept` });
  return objects;
}

async function* containerLogs(access: ClusterAccess, skipped: Skipped[], terminal: Terminal): AsyncGenerator<BundleFile> {
  const { client, namespace } = access;
  const found: Pod[] = [];
  try {
    for await (const pod of client.listAll(pods, { namespace, signal: terminal.signal })) found.push(pod);
  } catch (error) {
    skip(skipped, "logs", error, terminal.signal);
  }
  if (found.length > PODS_MAX) skipped.push({ what: `logs of ${found.length - PODS_MAX} pods`, why: `those of ${PODS_MAX} are kept` });
  for (const { metadata, spec, status } of found.slice(0, PODS_MAX)) {
    const statuses = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])];
    for (const { name } of [...(spec.initContainers ?? []), ...spec.containers]) {
      const restarted = (statuses.find((container) => container.name === name)?.restartCount ?? 0) > 0;
      for (const previous of restarted ? [false, true] : [false]) {
        const path = `logs/${metadata.name}/${name}${previous ? ".previous" : ""}.log`;
        try {
          const options = { container: name, previous, tailLines: LOG_LINES, limitBytes: LOG_BYTES, signal: terminal.signal };
          const parts: Uint8Array[] = [];
          for await (const part of client.podLog({ namespace, name: metadata.name ?? "" }, options)) parts.push(part);
          yield { name: path, text: Buffer.concat(parts).toString("utf8") };
        } catch (error) {
          skip(skipped, path, error, terminal.signal);
        }
      }
    }
  }
}

async function* bucketFiles(access: ClusterAccess, request: BundleRequest, skipped: Skipped[], terminal: Terminal): AsyncGenerator<BundleFile> {
  const wanted = [
    ...request.backups.flatMap((name) => [["BackupLog", name, "log"] as const, ["BackupResults", name, "results.json"] as const]),
    ...request.restores.flatMap((name) => [["RestoreLog", name, "log"] as const, ["RestoreResults", name, "results.json"] as const]),
  ];
  for (const [kind, name, ending] of wanted) {
    const path = `${kind.startsWith("Backup") ? "backups" : "restores"}/${name}.${ending}`;
    try {
      yield { name: path, text: await downloadText(access, kind, name, terminal) };
    } catch (error) {
      skip(skipped, path, error, terminal.signal);
    }
  }
}

function skip(skipped: Skipped[], what: string, error: unknown, signal: AbortSignal): void {
  signal.throwIfAborted();
  skipped.push({ what, why: messageOf(error) });
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
