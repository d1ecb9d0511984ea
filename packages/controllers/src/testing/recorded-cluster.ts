/**
 * The cluster of the recording in test/fixtures/velero-1.18.3, as it was before backup `second`: a namespace with a Deployment, its pod and three claims, one of them a block volume.
 * The fake client plays the API server; a reaction plays the snapshot controller.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import {
  type Backup,
  type BackupStorageLocation,
  backupStorageLocations,
  backups,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  type PodVolumeBackup,
  podVolumeBackups,
  podVolumeRestores,
  type Restore,
  restores,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { VirtualClock } from "@drayage/base/testing";
import {
  type DiscoveredResource,
  type Discovery,
  fixedDiscovery,
  type GenericObject,
  type KubeObject,
  keyOf,
  namespaces,
  type Pod,
  pods,
  type ResourceType,
  resourceOf,
} from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import type { ArchivedItemRef, BackupVolumeInfo, ItemOperation } from "../ports.ts";
import type { MemoryBackupStore } from "./memory-backup-store.ts";

const folder = new URL("../../../../test/fixtures/velero-1.18.3/objects/", import.meta.url);

/** One of the files that were cut out of the recording. */
export function recorded<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(file, folder), "utf8")) as T;
}

/** An item of the recorded tarball, with its path in it. */
export interface RecordedItem {
  readonly path: string;
  readonly object: GenericObject;
}

export const recordedItems = (): RecordedItem[] => recorded<RecordedItem[]>("second-items.json");

const served = (group: string, version: string, plural: string, kind: string, namespaced = true): DiscoveredResource => ({
  group,
  version,
  plural,
  kind,
  namespaced,
  verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
  shortNames: [],
  singular: kind.toLowerCase(),
  categories: [],
  preferred: true,
});

/** What the cluster serves, in the order in which an API server tells it. */
export const servedResources: readonly DiscoveredResource[] = [
  served("", "v1", "configmaps", "ConfigMap"),
  served("", "v1", "endpoints", "Endpoints"),
  served("", "v1", "events", "Event"),
  served("", "v1", "namespaces", "Namespace", false),
  served("", "v1", "nodes", "Node", false),
  served("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
  served("", "v1", "persistentvolumes", "PersistentVolume", false),
  served("", "v1", "pods", "Pod"),
  served("", "v1", "secrets", "Secret"),
  served("", "v1", "serviceaccounts", "ServiceAccount"),
  served("", "v1", "services", "Service"),
  served("apps", "v1", "deployments", "Deployment"),
  served("apps", "v1", "replicasets", "ReplicaSet"),
  served("batch", "v1", "jobs", "Job"),
  served("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false),
  served("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false),
  served("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
  served("rbac.authorization.k8s.io", "v1", "roles", "Role"),
  served("storage.k8s.io", "v1", "storageclasses", "StorageClass", false),
  served("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
  served("events.k8s.io", "v1", "events", "Event"),
  served("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false),
  served("snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", false),
  served("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", false),
  served("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot"),
  served("velero.io", "v1", "backups", "Backup"),
  served("velero.io", "v1", "restores", "Restore"),
  served("velero.io", "v2alpha1", "datauploads", "DataUpload"),
];

export const NAMESPACE = "velero";
export const START_MS = Date.UTC(2026, 10, 21, 4, 10, 42);

export interface RecordedCluster {
  readonly clock: VirtualClock;
  readonly client: FakeKubeClient;
  readonly discovery: Discovery;
  readonly resources: DiscoveredResource[];
}

/** An empty cluster that has the kinds, a storage location, a storage class and a driver. */
export function emptyCluster(): RecordedCluster {
  const clock = new VirtualClock(START_MS);
  const client = new FakeKubeClient({ clock });
  const resources = [...servedResources];
  client.seed<BackupStorageLocation>(backupStorageLocations, {
    metadata: { namespace: NAMESPACE, name: "default" },
    spec: { provider: "aws", default: true, objectStorage: { bucket: "velero" } },
    status: { phase: "Available" },
  });
  client.seed(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  client.seed<VolumeSnapshotClass>(volumeSnapshotClasses, {
    metadata: { name: "csi", labels: { "velero.io/csi-volumesnapshot-class": "true" } },
    driver: "hostpath.csi.k8s.io",
    deletionPolicy: "Delete",
  });
  client.react(volumeSnapshots, (before, after) => {
    if (before !== undefined || after === undefined || after.status?.boundVolumeSnapshotContentName !== undefined) return;
    const contentName = `snapcontent-${after.metadata.uid}`;
    client.seed<VolumeSnapshotContent>(volumeSnapshotContents, {
      metadata: { name: contentName },
      spec: {
        driver: "hostpath.csi.k8s.io",
        deletionPolicy: "Delete",
        source: { volumeHandle: "v" },
        volumeSnapshotRef: { name: after.metadata.name ?? "", namespace: after.metadata.namespace ?? "" },
      },
      status: { snapshotHandle: `handle-${after.metadata.name}`, readyToUse: true },
    });
    // Its namespace may have been deleted in the same moment.
    if (!client.all(volumeSnapshots).some(({ metadata }) => metadata.uid === after.metadata.uid)) return;
    client.mutate(volumeSnapshots, keyOf(after), (snapshot) => {
      snapshot.status = { boundVolumeSnapshotContentName: contentName, readyToUse: true };
    });
  });
  // The agents, and what they do with the volumes that they are to read.
  client.seed<Pod>(pods, {
    metadata: { namespace: NAMESPACE, name: "node-agent-1", labels: { role: "node-agent" } },
    spec: { nodeName: "node1", containers: [] },
    status: { phase: "Running" },
  });
  client.react(podVolumeBackups, (before, after) => {
    if (before !== undefined || after === undefined) return;
    client.mutate(podVolumeBackups, keyOf(after), (current) => {
      current.status = completedPodVolumeBackup(current);
    });
  });
  client.react(podVolumeRestores, (before, after) => {
    if (before !== undefined || after === undefined) return;
    client.mutate(podVolumeRestores, keyOf(after), (current) => {
      current.status = { phase: "Completed", progress: { bytesDone: 4, totalBytes: 4 } };
    });
  });
  client.handlers.podExec = () => ({ exitCode: 0, stdout: "", stderr: "" });
  return { clock, client, discovery: fixedDiscovery(resources), resources };
}

/**
 * The recorded cluster: every item of the tarball, without what the backup itself had written into it. Its pod has one of its three volumes read through the file system,
 * as it was recorded, only where that is asked for.
 */
export function recordedCluster({ readsVolume = false }: { readonly readsVolume?: boolean } = {}): RecordedCluster {
  const cluster = emptyCluster();
  for (const { object } of recordedItems()) {
    if (object.kind === "DataUpload") continue;
    const original = structuredClone(object);
    if (original.kind === "PersistentVolumeClaim") withoutBackupMarks(original);
    if (!readsVolume) delete original.metadata.annotations?.["backup.velero.io/backup-volumes"];
    cluster.client.seed(typeOf(original), original);
  }
  return cluster;
}

/** Puts the recorded backup `second` into a store, and its Backup into a cluster. */
export async function recordedBackup({ client }: RecordedCluster, store: MemoryBackupStore): Promise<Backup> {
  const files = recorded<{ backup: Backup; itemOperations: ItemOperation[]; volumeInfos: BackupVolumeInfo[]; resourceList: Record<string, string[]> }>(
    "second-files.json",
  );
  const archive = await store.newArchiveWriter();
  for (const { path, object } of recordedItems()) await archive.add(refOf(path, object), object);
  await store.putBackup({ ...files, podVolumeBackups: recordedPodVolumeBackups(), archive: await archive.finish() });
  await archive.dispose();
  return client.seed(backups, files.backup);
}

/** The file beside the recorded tarball. */
export function recordedPodVolumeBackups(): GenericObject[] {
  const packed = readFileSync(new URL("../bucket/backups/second/second-podvolumebackups.json.gz", folder));
  return JSON.parse(gunzipSync(packed).toString("utf8")) as GenericObject[];
}

/** Where an item lies, from its path in the tarball: `resources/pods/namespaces/notes/web.json`. */
export function refOf(path: string, object: GenericObject): ArchivedItemRef {
  const [, groupResource = "", scope, ...rest] = path.replace(/\.json$/, "").split("/");
  const version = (object.apiVersion ?? "").split("/").at(-1) ?? "";
  return scope === "cluster"
    ? { groupResource, namespace: undefined, name: rest.join("/"), version, preferred: true }
    : { groupResource, namespace: rest[0] ?? "", name: rest.slice(1).join("/"), version, preferred: true };
}

/** A Restore as the command line makes it. */
export function newRestore(name: string, spec: Restore["spec"] = {}): Restore {
  return {
    apiVersion: "velero.io/v1",
    kind: "Restore",
    metadata: { name, namespace: NAMESPACE },
    spec: { backupName: "second", hooks: {}, includedNamespaces: ["*"], itemOperationTimeout: "0s", uploaderConfig: {}, ...spec },
  };
}

export function typeOf(object: KubeObject): ResourceType {
  const found = servedResources.find(
    ({ kind, group, version }) => kind === object.kind && (group === "" ? version : `${group}/${version}`) === object.apiVersion,
  );
  return found ?? resourceOf(object.apiVersion ?? "", object.kind ?? "");
}

function withoutBackupMarks({ metadata }: GenericObject): void {
  for (const marks of [metadata.labels, metadata.annotations]) {
    for (const key of Object.keys(marks ?? {})) if (key.includes("velero.io/")) delete marks?.[key];
  }
  if (Object.keys(metadata.labels ?? {}).length === 0) delete metadata.labels;
}

/** A Backup as the command line makes it. */
export function newBackup(name: string, spec: Backup["spec"] = {}): Backup {
  return {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      csiSnapshotTimeout: "0s",
      hooks: {},
      includedNamespaces: ["notes"],
      itemOperationTimeout: "0s",
      metadata: {},
      snapshotMoveData: true,
      ttl: "0s",
      ...spec,
    },
  };
}

/** Ends every DataUpload that has not ended. */
export function endUploads(client: FakeKubeClient, change: (upload: DataUpload) => DataUpload["status"] = completedUpload): void {
  for (const upload of client.all(dataUploads)) {
    if (["Completed", "Failed", "Canceled"].includes(upload.status?.phase ?? "")) continue;
    client.mutate(dataUploads, keyOf(upload), (current) => {
      const status = change(current);
      if (status !== undefined) current.status = status;
    });
  }
}

export function completedUpload(_upload: DataUpload): NonNullable<DataUpload["status"]> {
  return {
    phase: "Completed",
    snapshotID: "9a35fc4e36e2a664fc06d756daeb30f5",
    progress: { bytesDone: 1500101, totalBytes: 1500101 },
    incrementalBytes: 13,
    nodeOS: "linux",
    startTimestamp: "2026-11-21T04:10:57Z",
    completionTimestamp: "2026-11-21T04:11:01Z",
  };
}

export function completedPodVolumeBackup({ metadata }: PodVolumeBackup): NonNullable<PodVolumeBackup["status"]> {
  return {
    acceptedTimestamp: "2026-11-21T04:10:53Z",
    completionTimestamp: "2026-11-21T04:10:56Z",
    path: `/${metadata.uid}`,
    phase: "Completed",
    progress: { bytesDone: 4, totalBytes: 4 },
    snapshotID: "0ad9ce55d6b51843a114df508cb6a774",
    startTimestamp: "2026-11-21T04:10:54Z",
  };
}

/** Ends every DataDownload that has not ended. */
export function endDownloads(client: FakeKubeClient, status: NonNullable<DataDownload["status"]>): void {
  for (const download of client.all(dataDownloads)) {
    if (["Completed", "Failed", "Canceled"].includes(download.status?.phase ?? "")) continue;
    client.mutate(dataDownloads, keyOf(download), (current) => {
      current.status = status;
    });
  }
}

/** Moves the clock until `check` gives something; what it sees at the end of its patience is in the error. */
export async function eventually<T>(clock: VirtualClock, check: () => T | undefined, what: () => unknown = () => undefined): Promise<T> {
  for (let turn = 0; turn < 400; turn++) {
    const found = check();
    if (found !== undefined) return found;
    await clock.advance(25);
  }
  throw new Error(`It did not come to that; at the end: ${JSON.stringify(what())}`);
}

/** The Backup once it is in one of these phases. */
export function backupIn(cluster: RecordedCluster, name: string, ...phases: readonly string[]): Promise<Backup> {
  const find = (): Backup | undefined => cluster.client.peek(backups, { namespace: NAMESPACE, name });
  return eventually(
    cluster.clock,
    () => (phases.includes(find()?.status?.phase ?? "") ? find() : undefined),
    () => find()?.status,
  );
}

/** The Restore once it is in one of these phases. */
export function restoreIn(cluster: RecordedCluster, name: string, ...phases: readonly string[]): Promise<Restore> {
  const find = (): Restore | undefined => cluster.client.peek(restores, { namespace: NAMESPACE, name });
  return eventually(
    cluster.clock,
    () => (phases.includes(find()?.status?.phase ?? "") ? find() : undefined),
    () => find()?.status,
  );
}
