/** Arguments of the roles, as a DataProtectionApplication asks for them. */
import type { DataProtectionApplication } from "@drayage/api";
import { formatDuration } from "@drayage/kube";
import { configMapNames, maintenanceData, nodeAgentData, repositoryData } from "./config-maps.ts";
import type { ArgumentOverride } from "./dpa.ts";
import type { Spec, VeleroSpec } from "./spec.ts";
import { dataMoverOf } from "./volsync-era.ts";

/** How long reading or filling one volume through the file system may take, unless the node-agent's timeout says otherwise. */
const FS_BACKUP_TIMEOUT = "4h";
const NANOSECONDS_PER_MS = 1_000_000;

/**
 * The order in which resources come back on OpenShift: before "-" first, after it last. OADP's list; with the volumes of OADP 1.1 and 1.2 where those releases had them.
 */
export const RESTORE_PRIORITIES: string = [
  ["securitycontextconstraints", "customresourcedefinitions", "klusterletconfigs.config.open-cluster-management.io"],
  ["managedcluster.cluster.open-cluster-management.io", "namespaces", "roles", "rolebindings", "clusterrolebindings"],
  ["klusterletaddonconfig.agent.open-cluster-management.io", "managedclusteraddon.addon.open-cluster-management.io", "storageclasses"],
  ["volumesnapshotbackups.datamover.oadp.openshift.io", "volumesnapshotclass.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"],
  ["volumesnapshots.snapshot.storage.k8s.io", "datauploads.velero.io", "persistentvolumes", "persistentvolumeclaims", "serviceaccounts", "secrets"],
  ["configmaps", "limitranges", "pods", "replicasets.apps", "clusterclasses.cluster.x-k8s.io", "endpoints", "services", "-"],
  ["clusterbootstraps.run.tanzu.vmware.com", "clusters.cluster.x-k8s.io", "clusterresourcesets.addons.cluster.x-k8s.io"],
]
  .flat()
  .join(",");

type Flags = readonly (readonly [flag: string, value: string | number | boolean | undefined])[];

/** A value that is not set leaves its flag out; so does an empty text. */
function written(flags: Flags): string[] {
  return flags.filter(([, value]) => value !== undefined && value !== "").map(([flag, value]) => `--${flag}=${value}`);
}

/** What follows `server`. */
export function serverArguments(dpa: DataProtectionApplication, spec: Spec, override: ArgumentOverride | undefined): string[] {
  if (override?.data !== undefined) return overriding(override.data);
  const velero: VeleroSpec = spec.configuration.velero ?? {};
  const { nodeAgent } = spec.configuration;
  const first: Flags =
    velero.args === undefined
      ? [
          ["features", velero.featureFlags?.join(",")],
          ["uploader-type", nodeAgent?.uploaderType],
          ["fs-backup-timeout", nodeAgent?.timeout || FS_BACKUP_TIMEOUT],
          ["restore-resource-priorities", RESTORE_PRIORITIES],
          ["default-volumes-to-fs-backup", velero.defaultVolumesToFSBackup],
          ["client-burst", velero["client-burst"]],
          ["client-qps", velero["client-qps"]],
          ["resource-timeout", velero.resourceTimeout],
          ["item-operation-sync-frequency", velero.itemOperationSyncFrequency],
          ["default-item-operation-timeout", velero.defaultItemOperationTimeout],
          ["log-format", spec.logFormat],
        ]
      : [["features", velero.featureFlags?.join(",")], ...givenArguments(spec, velero.args)];
  const repository = repositoryData(spec) === undefined ? undefined : configMapNames.repository(dpa);
  const maintenance = maintenanceData(spec) === undefined ? undefined : configMapNames.maintenance(dpa);
  return written([
    ...first,
    ["log-level", velero.logLevel],
    ["default-snapshot-move-data", velero.defaultSnapshotMoveData],
    ["disable-informer-cache", velero.disableInformerCache ?? false],
    ["item-block-worker-count", (velero.itemBlockWorkerCount ?? 0) > 0 ? velero.itemBlockWorkerCount : undefined],
    ["concurrent-backups", (velero.concurrentBackups ?? 0) > 0 ? velero.concurrentBackups : undefined],
    ["backup-repository-configmap", repository],
    ["repo-maintenance-job-configmap", maintenance],
    ...volSyncEra(dpa, spec),
  ]);
}

/** Of the data mover of OADP 1.2. */
function volSyncEra(dpa: DataProtectionApplication, spec: Spec): Flags {
  const dataMover = dataMoverOf(dpa, spec);
  if (dataMover === undefined) return [];
  return [
    ["volsync-era", true],
    ["volsync-era-timeout", dataMover.timeout],
    ["volsync-era-concurrent-backups", dataMover.maxConcurrentBackupVolumes],
    ["volsync-era-concurrent-restores", dataMover.maxConcurrentRestoreVolumes],
  ];
}

/** Fields whose value is a number of nanoseconds. */
const DURATIONS: ReadonlySet<string> = new Set([
  ...["backup-sync-period", "fs-backup-timeout", "terminating-resource-timeout", "default-backup-ttl", "store-validation-frequency"],
  ...["item-operation-sync-frequency", "default-repo-maintain-frequency", "garbage-collection-frequency", "default-item-operation-timeout", "resource-timeout"],
]);

/** `velero.args`: all of it and, of what it leaves out, the two that are never left out. */
function givenArguments(spec: Spec, args: NonNullable<VeleroSpec["args"]>): Flags {
  const flags = Object.entries(args).map(([name, value]): readonly [string, string | number | boolean] => {
    // The server's flag has another name than the field.
    if (name === "disabled-controllers") return ["disable-controllers", [value].flat().join(",")];
    if (DURATIONS.has(name)) return [name, formatDuration(Number(value) / NANOSECONDS_PER_MS)];
    return [name, value as string | number | boolean];
  });
  const has = (name: string): boolean => flags.some(([flag]) => flag === name);
  return [
    ...flags,
    ...(has("fs-backup-timeout") ? [] : [["fs-backup-timeout", spec.configuration.nodeAgent?.timeout || FS_BACKUP_TIMEOUT] as const]),
    ...(has("restore-resource-priorities") ? [] : [["restore-resource-priorities", RESTORE_PRIORITIES] as const]),
  ];
}

/** What follows `node-agent server`. */
export function nodeAgentArguments(dpa: DataProtectionApplication, spec: Spec, override: ArgumentOverride | undefined): string[] {
  if (override?.data !== undefined) return overriding(override.data);
  const { nodeAgent } = spec.configuration;
  return written([
    ["log-format", spec.logFormat],
    ["data-mover-prepare-timeout", nodeAgent?.dataMoverPrepareTimeout],
    ["resource-timeout", nodeAgent?.resourceTimeout],
    ["node-agent-configmap", nodeAgentData(spec) === undefined ? undefined : configMapNames.nodeAgent(dpa)],
  ]);
}

/** Data of a ConfigMap as arguments, in order of their names; true and false in lower case. */
function overriding(data: Readonly<Record<string, string>>): string[] {
  return Object.keys(data)
    .sort()
    .map((key) => {
      const value = data[key] ?? "";
      return `${key.startsWith("-") ? key : `--${key}`}=${/^(true|false)$/i.test(value) ? value.toLowerCase() : value}`;
    });
}
