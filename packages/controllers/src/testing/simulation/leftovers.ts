/** What nobody owns any more, once all backups and all restored namespaces are gone. */
import {
  dataMoverBackups,
  dataMoverRestores,
  locationResticSecret,
  replicationDestinations,
  replicationSources,
  USER_RESTIC_SECRET,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotBackups,
  volumeSnapshotContents,
  volumeSnapshotRestores,
  volumeSnapshots,
} from "@drayage/api";
import { configMaps, type KubeObject, keyOf, persistentVolumeClaims, persistentVolumes, pods, type ResourceType, secrets } from "@drayage/kube";
import { NAMESPACE } from "../recorded-cluster.ts";
import { APPLICATION, type SimulatedInstallation } from "./simulated-installation.ts";

/** Of the installation itself. */
const LASTING_SECRETS = ["velero-repo-credentials", USER_RESTIC_SECRET, locationResticSecret("default")];

/** None of these outlives the backup or the restore that it is of. */
const NOTHING_OF = [
  ...[volumeSnapshots, volumeSnapshotContents, volumeGroupSnapshots, volumeGroupSnapshotContents, dataMoverBackups, dataMoverRestores],
  ...[volumeSnapshotBackups, volumeSnapshotRestores, replicationSources, replicationDestinations],
] as unknown as readonly ResourceType<KubeObject>[];

export function leftovers({ client, storage, nodes, store, vendor }: SimulatedInstallation, endOf: (uid: string) => string): string[] {
  const name = (kind: string, object: KubeObject): string => `left over: ${kind} ${keyOf(object).namespace ?? ""}/${keyOf(object).name}`;
  const here = <T extends KubeObject>(objects: readonly T[]): T[] => objects.filter(({ metadata }) => metadata.namespace === NAMESPACE);
  return [
    ...here(client.all(pods))
      .filter(({ metadata }) => metadata.labels?.["role"] !== "node-agent")
      .map((each) => name("pod", each)),
    ...here(client.all(persistentVolumeClaims)).map((each) => name("claim", each)),
    ...here(client.all(secrets))
      .filter(({ metadata }) => !LASTING_SECRETS.includes(metadata.name ?? "") && metadata.labels?.["velero.io/repo-name"] === undefined)
      .map((each) => name("secret", each)),
    ...here(client.all(configMaps)).map((each) => name("config map", each)),
    ...client
      .all(persistentVolumes)
      .filter(({ spec }) => spec.claimRef?.namespace !== APPLICATION)
      .map((each) => name("volume", each)),
    ...NOTHING_OF.flatMap((type) => client.all(type).map((each) => name(type.kind, each))),
    ...[...storage.snapshots].map((handle) => `left over: snapshot ${handle} in the storage`),
    ...[...nodes.snapshots].map(([id, owner]) => `left over: snapshot ${id} in the repository, of ${endOf(owner)}`),
    ...[...(vendor?.data.keys() ?? [])].map((id) => `left over: data of move ${id} in the vendor's target`),
    ...[...store.backups.keys()].map((backup) => `left over: files of backup ${backup} in the bucket`),
    ...(store.openArchives === 0 ? [] : [`left over: ${store.openArchives} tarballs that are still open`]),
  ];
}
