/** Each field of a DataProtectionApplication for itself: what is there with it, and is not without it. docs/oadp-compatibility.md names these tests. */
import type { DataProtectionApplication } from "@drayage/api";
import { describe, expect, it } from "vitest";
import {
  annotated,
  application,
  bucketOf,
  credential,
  location,
  made,
  messageFor,
  observed,
  podOf,
  serverArgs,
} from "../testing/data-protection-application.ts";
import { decide } from "./dpa.ts";

type See = (dpa: DataProtectionApplication) => unknown;

const server: See = (dpa) => podOf(made(dpa, "Deployment", "velero"));
const container: See = (dpa) => podOf(made(dpa, "Deployment", "velero")).spec.containers[0];
const agent: See = (dpa) => podOf(made(dpa, "DaemonSet", "node-agent"));
const agentContainer: See = (dpa) => podOf(made(dpa, "DaemonSet", "node-agent")).spec.containers[0];
const agentArgs: See = (dpa) => podOf(made(dpa, "DaemonSet", "node-agent")).spec.containers[0]?.args;
const place: See = (dpa) => made(dpa, "BackupStorageLocation", "dpa-1")?.["spec"];
const snapshots: See = (dpa) => made(dpa, "VolumeSnapshotLocation", "dpa-1")?.["spec"];
const service: See = (dpa) => made(dpa, "Service", "openshift-adp-velero-metrics-svc");
const names: See = (dpa) => decide(observed(dpa)).flatMap((step) => (step.do === "apply" ? [`${step.manifest.kind}/${step.manifest.metadata.name}`] : []));
const told: See = (dpa) => decide(observed(dpa)).flatMap((step) => (step.do === "tell" ? [step.reason] : []));
const messages: See = (dpa) => [messageFor(dpa)];
const settings =
  (name: string, key: string): See =>
  (dpa) =>
    JSON.parse((made(dpa, "ConfigMap", name)?.["data"] as Record<string, string> | undefined)?.[key] ?? "{}");
const agentSettings = settings("node-agent-dpa", "node-agent-config");
const repositorySettings = settings("backup-repository-dpa", "kopia");
const maintenance = settings("repository-maintenance-dpa", "key");
const classOptions: See = (dpa) => made(dpa, "ConfigMap", "key-config")?.["data"];
const resticSecret: See = (dpa) => made(dpa, "Secret", "dpa-1-volsync-restic")?.["data"];

const nodes = { matchLabels: { disk: "ssd" } };
const onSsd = {
  nodeAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: "disk", operator: "In", values: ["ssd"] }] }] },
  },
};
const byBucket = (): DataProtectionApplication =>
  application({ backupLocations: [{ bucket: { cloudStorageRef: { name: "bucket" }, credential, prefix: "p", default: true } }] });
const withSnapshotLocation = (): DataProtectionApplication => application({ snapshotLocations: [{ velero: { provider: "aws", config: { region: "r" } } }] });
const nowhere = (): DataProtectionApplication => application({ backupLocations: [], backupImages: false });
const ofThen = (): DataProtectionApplication =>
  annotated(application({ features: { dataMover: { enable: true, credentialName: "restic" } } }), { "drayage.io/volsync-era": "true" });
const text = (value: string): string => Buffer.from(value).toString("base64");

/** `spec.a[].b{}.c`: the first of a list, the entry `key` of a map. */
function withField(dpa: DataProtectionApplication, path: string, value: unknown): DataProtectionApplication {
  const changed = structuredClone(dpa);
  const steps = path.split(".").flatMap((name) => (name.endsWith("[]") ? [name.slice(0, -2), 0] : name.endsWith("{}") ? [name.slice(0, -2), "key"] : [name]));
  let at = changed as unknown as Record<string | number, unknown>;
  for (const [index, step] of steps.slice(0, -1).entries()) {
    at[step] ??= steps[index + 1] === 0 ? [] : {};
    at = at[step] as Record<string | number, unknown>;
  }
  at[steps.at(-1) ?? ""] = value;
  return changed;
}

/** At least this, at any depth. */
function atLeast(wanted: unknown): unknown {
  if (Array.isArray(wanted)) return expect.arrayContaining(wanted.map(atLeast));
  if (typeof wanted !== "object" || wanted === null || "asymmetricMatch" in wanted) return wanted;
  return expect.objectContaining(Object.fromEntries(Object.entries(wanted).map(([key, value]) => [key, atLeast(value)])));
}

const has = (part: string): unknown => expect.stringContaining(part);
const HOUR_NS = 3_600_000_000_000;

describe("a field of a DataProtectionApplication", () => {
  it.each<[path: string, value: unknown, see: See, wanted: unknown, base?: () => DataProtectionApplication]>([
    ["spec.backupLocations[].name", "main", names, ["BackupStorageLocation/main"]],
    ["spec.backupLocations[].velero", location({ objectStorage: { bucket: "other", prefix: "p" } }), place, { objectStorage: { bucket: "other" } }],
    ["spec.backupLocations[].bucket.cloudStorageRef", { name: "gone" }, messages, [has('CloudStorage "gone" does not exist')], byBucket],
    ["spec.backupLocations[].bucket.config", { profile: "by-role" }, place, { config: { profile: "by-role" } }, byBucket],
    ["spec.backupLocations[].bucket.credential", { name: "gone", key: "k" }, messages, [has('Secret "gone" does not exist')], byBucket],
    ["spec.backupLocations[].bucket.default", false, messages, [has("has no default")], byBucket],
    ["spec.backupLocations[].bucket.backupSyncPeriod", "7m", place, { backupSyncPeriod: "7m" }, byBucket],
    ["spec.backupLocations[].bucket.prefix", "other", place, { objectStorage: { prefix: "other" } }, byBucket],
    ["spec.backupLocations[].bucket.caCert", "Y2E=", place, { objectStorage: { caCert: "Y2E=" } }, byBucket],
    ["spec.snapshotLocations[].name", "near", names, ["VolumeSnapshotLocation/near"], withSnapshotLocation],
    ["spec.snapshotLocations[].velero", { provider: "aws", config: { region: "other" } }, snapshots, { config: { region: "other" } }, withSnapshotLocation],
    ["spec.unsupportedOverrides", { veleroImageFqin: "example.com/dray:2" }, container, { image: "example.com/dray:2" }],
    ["spec.podAnnotations", { note: "n" }, server, { metadata: { annotations: { note: "n", "prometheus.io/port": "8085" } } }],
    [
      "spec.resourceLabels",
      { team: "a", "app.kubernetes.io/name": "mine" },
      service,
      { metadata: { labels: { team: "a", "app.kubernetes.io/name": "velero" } } },
    ],
    ["spec.resourceAnnotations", { "argocd.example/ignore": "true" }, service, { metadata: { annotations: { "argocd.example/ignore": "true" } } }],
    ["spec.podDnsPolicy", "None", server, { spec: { dnsPolicy: "None" } }],
    ["spec.podDnsConfig", { nameservers: ["10.0.0.1"] }, agent, { spec: { dnsConfig: { nameservers: ["10.0.0.1"] } } }],
    ["spec.backupImages", false, (dpa) => [messageFor(withField(dpa, "spec.backupLocations[].velero.objectStorage", { bucket: "b" }))], [undefined]],
    ["spec.imagePullPolicy", "Never", agentContainer, { imagePullPolicy: "Never" }],
    ["spec.logFormat", "json", serverArgs, ["--log-format=json"]],
    ["spec.logFormat", "json", agentArgs, ["--log-format=json"]],
    ["spec.configuration.repositoryMaintenance{}.loadAffinity[].nodeSelector", nodes, maintenance, { loadAffinity: [{ nodeSelector: nodes }] }],
    ["spec.configuration.repositoryMaintenance{}.podResources.cpuRequest", "1", maintenance, { podResources: { cpuRequest: "1" } }],
    ["spec.configuration.repositoryMaintenance{}.podResources.memoryRequest", "1Gi", maintenance, { podResources: { memoryRequest: "1Gi" } }],
    ["spec.configuration.repositoryMaintenance{}.podResources.cpuLimit", "1", maintenance, { podResources: { cpuLimit: "1" } }],
    ["spec.configuration.repositoryMaintenance{}.podResources.memoryLimit", "1Gi", maintenance, { podResources: { memoryLimit: "1Gi" } }],
  ])("%s as %j", shown);

  it.each<[path: string, value: unknown, see: See, wanted: unknown, base?: () => DataProtectionApplication]>([
    ["spec.configuration.velero.featureFlags", ["EnableCSI", "mine"], serverArgs, ["--features=EnableCSI,mine"]],
    ["spec.configuration.velero.defaultPlugins", ["aws", "vsm"], messages, [has("has vsm, which must go")]],
    ["spec.configuration.velero.customPlugins[].name", "other", server, { spec: { initContainers: [{ name: "other" }] } }, withPlugin],
    ["spec.configuration.velero.customPlugins[].image", "other:2", server, { spec: { initContainers: [{ image: "other:2" }] } }, withPlugin],
    ["spec.configuration.velero.restoreResourcesVersionPriority", "a.b=v1", names, ["ConfigMap/enableapigroupversions"]],
    ["spec.configuration.velero.noDefaultBackupLocation", true, messages, [undefined], nowhere],
    ["spec.configuration.velero.podConfig.labels", { team: "a" }, server, { metadata: { labels: { team: "a", component: "velero" } } }],
    ["spec.configuration.velero.podConfig.annotations", { note: "n" }, server, { metadata: { annotations: { note: "n" } } }],
    ["spec.configuration.velero.podConfig.nodeSelector", { disk: "ssd" }, server, { spec: { nodeSelector: { disk: "ssd" } } }],
    [
      "spec.configuration.velero.podConfig.tolerations",
      [{ key: "k", operator: "Exists" }],
      server,
      { spec: { tolerations: [{ key: "k", operator: "Exists" }] } },
    ],
    ["spec.configuration.velero.podConfig.resourceAllocations", { limits: { memory: "3Gi" } }, container, { resources: { limits: { memory: "3Gi" } } }],
    ["spec.configuration.velero.podConfig.env", [{ name: "A", value: "b" }], container, { env: [{ name: "A", value: "b" }] }],
    ["spec.configuration.velero.logLevel", "debug", serverArgs, ["--log-level=debug"]],
    ["spec.configuration.velero.itemOperationSyncFrequency", "30s", serverArgs, ["--item-operation-sync-frequency=30s"]],
    ["spec.configuration.velero.defaultItemOperationTimeout", "2h", serverArgs, ["--default-item-operation-timeout=2h"]],
    ["spec.configuration.velero.defaultVolumesToFSBackup", true, serverArgs, ["--default-volumes-to-fs-backup=true"]],
    ["spec.configuration.velero.disableFsBackup", true, agent, { spec: { securityContext: { runAsUser: 65534 } } }],
    ["spec.configuration.velero.defaultSnapshotMoveData", true, serverArgs, ["--default-snapshot-move-data=true"]],
    ["spec.configuration.velero.disableInformerCache", true, serverArgs, ["--disable-informer-cache=true"]],
    ["spec.configuration.velero.itemBlockWorkerCount", 3, serverArgs, ["--item-block-worker-count=3"]],
    ["spec.configuration.velero.concurrentBackups", 2, serverArgs, ["--concurrent-backups=2"]],
    ["spec.configuration.velero.resourceTimeout", "5m", serverArgs, ["--resource-timeout=5m"]],
    ["spec.configuration.velero.client-burst", 7, serverArgs, ["--client-burst=7"]],
    ["spec.configuration.velero.client-qps", 9, serverArgs, ["--client-qps=9"]],
    ["spec.configuration.velero.loadAffinity[].nodeSelector", nodes, server, { spec: { affinity: onSsd } }],
  ])("%s as %j", shown);

  it.each<[name: string, value: unknown, argument: string]>([
    ["metrics-address", ":9000", "--metrics-address=:9000"],
    ["backup-sync-period", HOUR_NS, "--backup-sync-period=1h0m0s"],
    ["fs-backup-timeout", HOUR_NS, "--fs-backup-timeout=1h0m0s"],
    ["terminating-resource-timeout", HOUR_NS, "--terminating-resource-timeout=1h0m0s"],
    ["default-backup-ttl", HOUR_NS, "--default-backup-ttl=1h0m0s"],
    ["store-validation-frequency", HOUR_NS, "--store-validation-frequency=1h0m0s"],
    ["restore-resource-priorities", "pods", "--restore-resource-priorities=pods"],
    ["disabled-controllers", ["gc", "schedule"], "--disable-controllers=gc,schedule"],
    ["client-qps", "1.5", "--client-qps=1.5"],
    ["client-burst", 4, "--client-burst=4"],
    ["client-page-size", 100, "--client-page-size=100"],
    ["profiler-address", ":6060", "--profiler-address=:6060"],
    ["item-operation-sync-frequency", HOUR_NS, "--item-operation-sync-frequency=1h0m0s"],
    ["log-format", "json", "--log-format=json"],
    ["default-repo-maintain-frequency", HOUR_NS, "--default-repo-maintain-frequency=1h0m0s"],
    ["garbage-collection-frequency", HOUR_NS, "--garbage-collection-frequency=1h0m0s"],
    ["default-volumes-to-fs-backup", true, "--default-volumes-to-fs-backup=true"],
    ["default-item-operation-timeout", HOUR_NS, "--default-item-operation-timeout=1h0m0s"],
    ["resource-timeout", HOUR_NS, "--resource-timeout=1h0m0s"],
    ["max-concurrent-k8s-connections", 5, "--max-concurrent-k8s-connections=5"],
    ["colorized", false, "--colorized=false"],
    ["logtostderr", true, "--logtostderr=true"],
    ["alsologtostderr", true, "--alsologtostderr=true"],
    ["stderrthreshold", 1, "--stderrthreshold=1"],
    ["log_backtrace_at", "a:1", "--log_backtrace_at=a:1"],
    ["vmodule", "a=1", "--vmodule=a=1"],
    ["v", 4, "--v=4"],
    ["log_dir", "/tmp", "--log_dir=/tmp"],
    ["log_file", "/tmp/l", "--log_file=/tmp/l"],
    ["log_file_max_size", 9, "--log_file_max_size=9"],
    ["skip_headers", true, "--skip_headers=true"],
    ["skip_log_headers", true, "--skip_log_headers=true"],
    ["add_dir_header", true, "--add_dir_header=true"],
    ["one_output", true, "--one_output=true"],
  ])("spec.configuration.velero.args.%s as %j", (name, value, argument) => {
    shown(`spec.configuration.velero.args.${name}`, value, serverArgs, [argument]);
  });

  it("spec.configuration.velero.args.metrics-address moves the port of the pod, of its Service, and what Prometheus is told", () => {
    const dpa = application({}, { args: { "metrics-address": "0.0.0.0:9000" } });
    expect(service(dpa)).toMatchObject({ spec: { ports: [{ name: "monitoring", port: 9000, targetPort: 9000 }] } });
    expect(server(dpa)).toMatchObject({ metadata: { annotations: { "prometheus.io/port": "9000", "prometheus.io/scrape": "true" } } });
    expect(container(dpa)).toMatchObject({ ports: [{ containerPort: 9000 }] });
    expect(service(application())).toMatchObject({ spec: { type: "ClusterIP", ports: [{ port: 8085 }] } });
  });

  it.each<[path: string, value: unknown, see: See, wanted: unknown, base?: () => DataProtectionApplication]>([
    ["spec.configuration.nodeAgent.enable", true, names, ["DaemonSet/node-agent"], () => application({}, {}, { enable: false })],
    ["spec.configuration.nodeAgent.supplementalGroups", [7], agent, { spec: { securityContext: { supplementalGroups: [7] } } }],
    ["spec.configuration.nodeAgent.timeout", "3h", serverArgs, ["--fs-backup-timeout=3h"]],
    ["spec.configuration.nodeAgent.podConfig.labels", { team: "a" }, agent, { metadata: { labels: { team: "a", name: "node-agent" } } }],
    ["spec.configuration.nodeAgent.podConfig.annotations", { note: "n" }, agent, { metadata: { annotations: { note: "n" } } }],
    ["spec.configuration.nodeAgent.podConfig.nodeSelector", { disk: "ssd" }, agentSettings, { loadAffinity: [{ nodeSelector: nodes }] }],
    ["spec.configuration.nodeAgent.podConfig.tolerations", [{ operator: "Exists" }], agent, { spec: { tolerations: [{ operator: "Exists" }] } }],
    ["spec.configuration.nodeAgent.podConfig.resourceAllocations", { requests: { cpu: 2 } }, agentContainer, { resources: { requests: { cpu: "2" } } }],
    ["spec.configuration.nodeAgent.podConfig.env", [{ name: "A", value: "b" }], agentContainer, { env: [{ name: "A", value: "b" }] }],
    ["spec.configuration.nodeAgent.dataMoverPrepareTimeout", "9m", agentArgs, ["--data-mover-prepare-timeout=9m"]],
    ["spec.configuration.nodeAgent.resourceTimeout", "8m", agentArgs, ["--resource-timeout=8m"]],
    ["spec.configuration.nodeAgent.uploaderType", "restic", told, ["DeprecationResticFileSystemBackup"]],
    ["spec.configuration.nodeAgent.loadConcurrency.globalConfig", 3, agentSettings, { loadConcurrency: { globalConfig: 3 } }],
    [
      "spec.configuration.nodeAgent.loadConcurrency.perNodeConfig[].nodeSelector",
      { matchLabels: { a: "other" } },
      agentSettings,
      { loadConcurrency: { perNodeConfig: [{ nodeSelector: { matchLabels: { a: "other" } }, number: 2 }] } },
      withRule,
    ],
    [
      "spec.configuration.nodeAgent.loadConcurrency.perNodeConfig[].number",
      5,
      agentSettings,
      { loadConcurrency: { perNodeConfig: [{ number: 5 }] } },
      withRule,
    ],
    ["spec.configuration.nodeAgent.loadConcurrency.prepareQueueLength", 4, agentSettings, { loadConcurrency: { prepareQueueLength: 4 } }],
    ["spec.configuration.nodeAgent.loadAffinity[].nodeSelector", nodes, agent, { spec: { affinity: onSsd } }],
    ["spec.configuration.nodeAgent.loadAffinity[].nodeSelector", nodes, agentSettings, { loadAffinity: [{ nodeSelector: nodes }] }],
    ["spec.configuration.nodeAgent.backupPVC{}.storageClass", "slow", agentSettings, { backupPVC: { key: { storageClass: "slow" } } }],
    ["spec.configuration.nodeAgent.backupPVC{}.readOnly", true, agentSettings, { backupPVC: { key: { readOnly: true } } }],
    ["spec.configuration.nodeAgent.backupPVC{}.spcNoRelabeling", true, agentSettings, { backupPVC: { key: { spcNoRelabeling: true } } }],
    ["spec.configuration.nodeAgent.backupPVC{}.annotations", { a: "b" }, agentSettings, { backupPVC: { key: { annotations: { a: "b" } } } }],
    ["spec.configuration.nodeAgent.restorePVC.ignoreDelayBinding", true, agentSettings, { restorePVC: { ignoreDelayBinding: true } }],
    ["spec.configuration.nodeAgent.podResources.cpuRequest", "1", agentSettings, { podResources: { cpuRequest: "1" } }],
    ["spec.configuration.nodeAgent.podResources.memoryRequest", "1Gi", agentSettings, { podResources: { memoryRequest: "1Gi" } }],
    ["spec.configuration.nodeAgent.podResources.cpuLimit", "1", agentSettings, { podResources: { cpuLimit: "1" } }],
    ["spec.configuration.nodeAgent.podResources.memoryLimit", "1Gi", agentSettings, { podResources: { memoryLimit: "1Gi" } }],
    ["spec.configuration.nodeAgent.cacheLimitMB", 9, repositorySettings, { cacheLimitMB: 9 }],
    ["spec.configuration.nodeAgent.fullMaintenanceInterval", "fastGC", repositorySettings, { fullMaintenanceInterval: "fastGC" }],
  ])("%s as %j", shown);

  it.each<[path: string, value: unknown]>([
    ["spec.configuration.restic.enable", true],
    ["spec.configuration.restic.supplementalGroups", [1]],
    ["spec.configuration.restic.timeout", "1h"],
    ["spec.configuration.restic.podConfig.labels", { a: "b" }],
    ["spec.configuration.restic.podConfig.annotations", { a: "b" }],
    ["spec.configuration.restic.podConfig.nodeSelector", { a: "b" }],
    ["spec.configuration.restic.podConfig.tolerations", []],
    ["spec.configuration.restic.podConfig.resourceAllocations", {}],
    ["spec.configuration.restic.podConfig.env", []],
  ])("%s as %j is refused, with what is wanted instead", (path, value) => {
    shown(path, value, messages, [has("spec.configuration.restic is not used any more: spec.configuration.nodeAgent is wanted")]);
  });

  it.each<[path: string, value: unknown]>([
    ["spec.nonAdmin", {}],
    ["spec.nonAdmin.enforceBackupSpec", { ttl: "1h" }],
    ["spec.nonAdmin.enforceRestoreSpec", { restorePVs: true }],
    ["spec.nonAdmin.enforceBSLSpec.provider", "aws"],
    ["spec.nonAdmin.enforceBSLSpec.config", { region: "r" }],
    ["spec.nonAdmin.enforceBSLSpec.credential", credential],
    ["spec.nonAdmin.enforceBSLSpec.objectStorage.bucket", "b"],
    ["spec.nonAdmin.enforceBSLSpec.objectStorage.prefix", "p"],
    ["spec.nonAdmin.enforceBSLSpec.objectStorage.caCert", "Y2E="],
    ["spec.nonAdmin.enforceBSLSpec.accessMode", "ReadOnly"],
    ["spec.nonAdmin.enforceBSLSpec.backupSyncPeriod", "1h"],
    ["spec.nonAdmin.enforceBSLSpec.validationFrequency", "1h"],
    ["spec.nonAdmin.requireApprovalForBSL", true],
    ["spec.nonAdmin.garbageCollectionPeriod", "1h"],
    ["spec.nonAdmin.backupSyncPeriod", "1h"],
    ["spec.nonAdmin.enable", false],
  ])("%s as %j says nothing while spec.nonAdmin.enable does not, as in OADP, and is refused with it", (path, value) => {
    const dpa = withField(application(), path, value);
    expect(messageFor(dpa)).toBeUndefined();
    expect(messageFor(withField(dpa, "spec.nonAdmin.enable", true))).toContain("spec.nonAdmin.enable is true, and NonAdminBackup, NonAdminRestore and");
  });

  it.each<[path: string, value: unknown, see: See, wanted: unknown, base?: () => DataProtectionApplication]>([
    ["spec.features.dataMover.enable", false, serverArgs, expect.not.arrayContaining(["--volsync-era=true"])],
    ["spec.features.dataMover.credentialName", "gone", messages, [has('Secret "gone" does not exist')]],
    ["spec.features.dataMover.timeout", "20m", serverArgs, ["--volsync-era-timeout=20m"]],
    ["spec.features.dataMover.maxConcurrentBackupVolumes", "3", serverArgs, ["--volsync-era-concurrent-backups=3"]],
    ["spec.features.dataMover.maxConcurrentRestoreVolumes", "4", serverArgs, ["--volsync-era-concurrent-restores=4"]],
    ["spec.features.dataMover.pruneInterval", "14", resticSecret, { "restic-prune-interval": text("14") }],
    ["spec.features.dataMover.schedule", "0 1 * * *", resticSecret, { SnapshotScheduleCron: text("0 1 * * *") }],
    ["spec.features.dataMover.snapshotRetainPolicy.hourly", "2", resticSecret, { SnapshotRetainPolicyHourly: text("2") }],
    ["spec.features.dataMover.snapshotRetainPolicy.daily", "2", resticSecret, { SnapshotRetainPolicyDaily: text("2") }],
    ["spec.features.dataMover.snapshotRetainPolicy.weekly", "2", resticSecret, { SnapshotRetainPolicyWeekly: text("2") }],
    ["spec.features.dataMover.snapshotRetainPolicy.monthly", "2", resticSecret, { SnapshotRetainPolicyMonthly: text("2") }],
    ["spec.features.dataMover.snapshotRetainPolicy.yearly", "2", resticSecret, { SnapshotRetainPolicyYearly: text("2") }],
    ["spec.features.dataMover.snapshotRetainPolicy.within", "2d", resticSecret, { SnapshotRetainPolicyWithin: text("2d") }],
    ...(["sourceVolumeOptions", "destinationVolumeOptions"] as const).flatMap((side): [string, unknown, See, unknown][] => {
      const [path, word] = [`spec.features.dataMover.volumeOptionsForStorageClasses{}.${side}`, side === "sourceVolumeOptions" ? "Source" : "Destination"];
      return [
        [`${path}.storageClassName`, "shallow", classOptions, { [`${word}StorageClassName`]: "shallow" }],
        [`${path}.accessMode`, "ReadOnlyMany", classOptions, { [`${word}AccessMode`]: "ReadOnlyMany" }],
        [`${path}.cacheStorageClassName`, "fast", classOptions, { [`${word}CacheStorageClassName`]: "fast" }],
        [`${path}.cacheCapacity`, "1Gi", classOptions, { [`${word}CacheCapacity`]: "1Gi" }],
        [`${path}.cacheAccessMode`, "ReadWriteOnce", classOptions, { [`${word}CacheAccessMode`]: "ReadWriteOnce" }],
      ];
    }),
  ])("%s as %j, where the era's annotation asks for it; without it, it is refused", (path, value, see, wanted) => {
    expect(messageFor(withField(application(), path, value))).toContain("spec.features.dataMover is of OADP 1.2 and must go");
    shown(path, value, see, wanted, ofThen);
  });
});

describe("a field of a CloudStorage", () => {
  it.each<[field: string, value: unknown, wanted: unknown]>([
    ["spec.name", "other-bucket", { objectStorage: { bucket: "other-bucket" } }],
    ["spec.region", "elsewhere", { config: { region: "elsewhere" } }],
    ["spec.enableSharedConfig", false, expect.not.objectContaining({ config: atLeast({ enableSharedConfig: "true" }) })],
  ])("%s as %j", (field, value, wanted) => {
    const storage = bucketOf("aws");
    const changed = { ...storage, spec: { ...storage.spec, [field.replace("spec.", "")]: value } };
    const seen = (found: typeof storage): unknown =>
      made(byBucket(), "BackupStorageLocation", "dpa-1", { cloudStorages: new Map([["bucket", found]]) })?.["spec"];
    expect(seen(changed)).toEqual(atLeast(wanted));
    expect(seen(storage)).not.toEqual(atLeast(wanted));
  });
});

function withPlugin(): DataProtectionApplication {
  return application({}, { customPlugins: [{ name: "plugin", image: "plugin:1" }] });
}

function withRule(): DataProtectionApplication {
  return application({}, {}, { loadConcurrency: { perNodeConfig: [{ nodeSelector: { matchLabels: { a: "b" } }, number: 2 }] } });
}

function shown(path: string, value: unknown, see: See, wanted: unknown, base: () => DataProtectionApplication = application): void {
  expect(see(withField(base(), path, value))).toEqual(atLeast(wanted));
  expect(see(base())).not.toEqual(atLeast(wanted));
}
