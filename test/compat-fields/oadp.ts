/** Every field of OADP's kinds, how it is treated, and the test that shows it. The page docs/oadp-compatibility.md is made of this. */
import { different, type Evidence, type FieldEntry, type FieldTable, refused, supported, testsOf } from "./evidence.ts";

const fieldTest = testsOf("packages/controllers/src/dpa/dpa-fields.test.ts");
const SHOWN = "%s as %j";

/** The tests that show a field under `prefix`: the first that fits. The field's own path must stand in them. */
const TESTS: readonly (readonly [prefix: string, title: string])[] = [
  ["spec.configuration.restic", "%s as %j is refused, with what is wanted instead"],
  ["spec.nonAdmin", "%s as %j says nothing while spec.nonAdmin.enable does not, as in OADP, and is refused with it"],
  ["spec.features.dataMover", "%s as %j, where the era's annotation asks for it; without it, it is refused"],
  ["spec.configuration.velero.args.", "spec.configuration.velero.args.%s as %j"],
];

function evidenceOf(field: string): Evidence {
  const [prefix, title] = TESTS.find(([start]) => field.startsWith(start)) ?? ["", SHOWN];
  if (prefix.endsWith(".")) return fieldTest(title, field.slice(prefix.length));
  // Both sides of a storage class have the same options, which one row stands for.
  const options = /\{\}\.(source|destination)VolumeOptions\.(.*)$/.exec(field)?.[2];
  return fieldTest(title, options === undefined ? `"${field}"` : `.${options}`);
}

const shown = (...fields: readonly string[]): FieldTable => Object.fromEntries(fields.map((field) => [field, supported(evidenceOf(field))]));
const under = (prefix: string, ...names: readonly string[]): string[] => names.map((name) => `${prefix}.${name}`);
const noted = (how: (note: string, evidence: Evidence) => FieldEntry, note: string, ...fields: readonly string[]): FieldTable =>
  Object.fromEntries(fields.map((field) => [field, how(note, evidenceOf(field))]));

const POD = ["labels", "annotations", "nodeSelector", "tolerations", "resourceAllocations", "env"].map((name) => `podConfig.${name}`);
const RESOURCES = ["cpuRequest", "memoryRequest", "cpuLimit", "memoryLimit"].map((name) => `podResources.${name}`);
const VELERO = "spec.configuration.velero";
const ARGS = `${VELERO}.args`;
const AGENT = "spec.configuration.nodeAgent";
const ERA = "spec.features.dataMover";
const OPTIONS = ["storageClassName", "accessMode", "cacheStorageClassName", "cacheCapacity", "cacheAccessMode"];

const dataProtectionApplicationFields: FieldTable = {
  ...shown("spec.backupLocations[].name", "spec.backupLocations[].velero"),
  ...shown(...under("spec.backupLocations[].bucket", "cloudStorageRef", "config", "credential", "default", "backupSyncPeriod", "prefix", "caCert")),
  ...shown("spec.snapshotLocations[].name", "spec.snapshotLocations[].velero"),
  ...noted(different, "`veleroImageFqin` and `operator-type`; images of plug-ins have no effect, and an Event says so", "spec.unsupportedOverrides"),
  ...shown(...under("spec", "podAnnotations", "resourceLabels", "resourceAnnotations", "podDnsPolicy", "podDnsConfig", "imagePullPolicy")),
  ...noted(different, "it demands a prefix and a readable credential; images of the internal registry are not copied", "spec.backupImages"),
  ...noted(different, "accepted; the log is JSON", "spec.logFormat"),
  ...shown("spec.configuration.repositoryMaintenance{}.loadAffinity[].nodeSelector", ...under("spec.configuration.repositoryMaintenance{}", ...RESOURCES)),
  ...shown(...under(VELERO, "featureFlags", "customPlugins[].name", "customPlugins[].image", "restoreResourcesVersionPriority", "noDefaultBackupLocation")),
  ...noted(different, "what they do is part of the server ([plugins](plugins.md))", `${VELERO}.defaultPlugins`),
  ...shown(...under(VELERO, ...POD, "logLevel", "defaultItemOperationTimeout", "defaultVolumesToFSBackup", "disableFsBackup", "defaultSnapshotMoveData")),
  ...noted(
    different,
    "accepted; movements of data are followed as they happen",
    `${VELERO}.itemOperationSyncFrequency`,
    `${ARGS}.item-operation-sync-frequency`,
  ),
  ...noted(different, "accepted; a restore reads what is there from the API server", `${VELERO}.disableInformerCache`),
  ...shown(...under(VELERO, "itemBlockWorkerCount", "concurrentBackups", "resourceTimeout", "client-burst", "client-qps", "loadAffinity[].nodeSelector")),
  ...shown(...under(ARGS, "metrics-address", "backup-sync-period", "fs-backup-timeout", "default-backup-ttl", "store-validation-frequency")),
  ...shown(...under(ARGS, "restore-resource-priorities", "disabled-controllers", "client-qps", "client-burst", "default-repo-maintain-frequency")),
  ...shown(...under(ARGS, "garbage-collection-frequency", "default-volumes-to-fs-backup", "default-item-operation-timeout", "resource-timeout")),
  ...noted(
    different,
    "handed on, and accepted without effect",
    ...under(ARGS, "terminating-resource-timeout", "client-page-size", "profiler-address", "log-format", "max-concurrent-k8s-connections", "colorized"),
    ...under(ARGS, "logtostderr", "alsologtostderr", "stderrthreshold", "log_backtrace_at", "vmodule", "v", "log_dir", "log_file", "log_file_max_size"),
    ...under(ARGS, "skip_headers", "skip_log_headers", "add_dir_header", "one_output"),
  ),
  ...noted(refused, "as in OADP", ...under("spec.configuration.restic", "enable", "supplementalGroups", "timeout", ...POD)),
  ...shown(...under(AGENT, "enable", "supplementalGroups", "timeout", ...POD, "dataMoverPrepareTimeout", "resourceTimeout")),
  ...noted(different, "volumes are read as kopia does, and restic is warned of", `${AGENT}.uploaderType`),
  ...shown(...under(`${AGENT}.loadConcurrency`, "globalConfig", "perNodeConfig[].nodeSelector", "perNodeConfig[].number", "prepareQueueLength")),
  ...shown(`${AGENT}.loadAffinity[].nodeSelector`, ...under(`${AGENT}.backupPVC{}`, "storageClass", "readOnly", "spcNoRelabeling", "annotations")),
  ...shown(...under(AGENT, "restorePVC.ignoreDelayBinding", ...RESOURCES, "cacheLimitMB", "fullMaintenanceInterval")),
  ...noted(
    refused,
    'as in OADP; supported with the annotation `drayage.io/volsync-era: "true"`',
    ...under(ERA, "enable", "credentialName", "timeout", "maxConcurrentBackupVolumes", "maxConcurrentRestoreVolumes", "pruneInterval", "schedule"),
    ...under(`${ERA}.snapshotRetainPolicy`, "hourly", "daily", "weekly", "monthly", "yearly", "within"),
    ...["source", "destination"].flatMap((side) => under(`${ERA}.volumeOptionsForStorageClasses{}.${side}VolumeOptions`, ...OPTIONS)),
  ),
  ...noted(
    refused,
    "where `enable` is true: backups by users who do not administrate the cluster are not supported",
    ...under("spec.nonAdmin", "enable", "enforceBackupSpec", "enforceRestoreSpec", "requireApprovalForBSL", "garbageCollectionPeriod", "backupSyncPeriod"),
    ...under("spec.nonAdmin.enforceBSLSpec", "provider", "config", "credential", "objectStorage.bucket", "objectStorage.prefix", "objectStorage.caCert"),
    ...under("spec.nonAdmin.enforceBSLSpec", "accessMode", "backupSyncPeriod", "validationFrequency"),
  ),
  "status.conditions": supported(testsOf("test/e2e/operator.test.ts")("that is wrong says so and leaves what runs alone, until it is right", "conditionOf")),
};

const storageTest = testsOf("packages/controllers/src/dpa/dpa-fields.test.ts");
const bucketTest = testsOf("packages/controllers/src/cloud-storage/cloud-storage-controller.test.ts")("makes its bucket, tags it, and says so");

const cloudStorageFields: FieldTable = {
  ...Object.fromEntries(["name", "region", "enableSharedConfig"].map((name) => [`spec.${name}`, supported(storageTest(SHOWN, `"spec.${name}"`))])),
  "spec.provider": supported(testsOf("packages/controllers/src/dpa/dpa.test.ts")("%s", 'is of provider "gcp"')),
  ...Object.fromEntries(["spec.creationSecret", "spec.tags", "status.name", "status.lastSyncTimestamp"].map((path) => [path, supported(bucketTest)])),
};

const trialTest = testsOf("packages/controllers/src/data-protection-test/data-protection-test.test.ts");
const FAST = "says how fast a location is, who made it, and whether it keeps versions and encrypts";
const INLINE = "takes a location that is written in it, and tries no upload that nobody asked for";
const PARTS = "has ended when a part of it failed, and says why of that part alone: errorMessage";
const SNAPSHOTS = "tries snapshots of claims with csiVolumeSnapshotTestConfigs, counts those that become ready, and takes all of them away";
const trialed = (title: string, ...fields: readonly string[]): FieldTable => Object.fromEntries(fields.map((field) => [field, supported(trialTest(title))]));
const CONFIG = "spec.csiVolumeSnapshotTestConfigs[]";

const dataProtectionTestFields: FieldTable = {
  ...trialed(FAST, "spec.backupLocationName", "spec.uploadSpeedTestConfig.fileSize"),
  ...trialed(INLINE, "spec.backupLocationSpec"),
  ...trialed("gives an upload up after uploadSpeedTestConfig.timeout", "spec.uploadSpeedTestConfig.timeout"),
  ...trialed(SNAPSHOTS, ...under(CONFIG, "snapshotClassName", "timeout")),
  ...trialed(SNAPSHOTS, ...under(`${CONFIG}.volumeSnapshotSource`, "persistentVolumeClaimName", "persistentVolumeClaimNamespace")),
  ...trialed("is run once, and again when forceRun asks for it, which is taken back", "spec.forceRun"),
  "spec.skipTLSVerify": different("accepted; the certificate is checked as the location says, as it is for backups", trialTest(INLINE)),
  ...trialed(FAST, ...under("status", "lastTested", "s3Vendor", "phase", "bucketMetadata.encryptionAlgorithm", "bucketMetadata.versioningStatus")),
  ...trialed(FAST, ...under("status.uploadTest", "speedMbps", "duration", "success")),
  ...trialed(PARTS, "status.bucketMetadata.errorMessage", "status.uploadTest.errorMessage"),
  ...trialed("with %s has failed, and says so", "status.errorMessage"),
  ...trialed(SNAPSHOTS, "status.snapshotSummary", ...under("status.snapshotTests[]", "persistentVolumeClaimName", "persistentVolumeClaimNamespace")),
  ...trialed(SNAPSHOTS, ...under("status.snapshotTests[]", "status", "readyDuration", "errorMessage")),
};

export const oadpFieldTables: Readonly<Record<string, FieldTable>> = {
  DataProtectionApplication: dataProtectionApplicationFields,
  CloudStorage: cloudStorageFields,
  DataProtectionTest: dataProtectionTestFields,
};
