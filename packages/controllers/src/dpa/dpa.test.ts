/** What is made of a DataProtectionApplication, and what is said of one with each field wrong in turn. */
import type { DataProtectionApplication } from "@drayage/api";
import type { Deployment } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import {
  AWS_FILE,
  annotated,
  application,
  appliedBy,
  bucketOf,
  conditionIn,
  credential,
  location,
  made,
  messageFor,
  observed,
  podOf,
  serverArgs,
  type Velero,
  withBucket,
  withLocation,
  withSnapshots,
} from "../testing/data-protection-application.ts";
import { decide, type Observed } from "./dpa.ts";

describe("a DataProtectionApplication that is wrong says", () => {
  it.each<[what: string, dpa: DataProtectionApplication, message: string | RegExp, over?: Partial<Observed>]>([
    ["that there is another", application(), 'this one has "b" as well', { others: ["b"] }],
    ["that it has no velero", application({ configuration: {} }), "spec.configuration.velero is missing"],
    ["that it has no location", application({ backupLocations: [] }), "spec.backupLocations is empty"],
    [
      "that it has locations and confirms that there are none",
      application({}, { noDefaultBackupLocation: true }),
      "noDefaultBackupLocation is true, and there are",
    ],
    ["that images need a location", application({ backupLocations: [] }, { noDefaultBackupLocation: true }), "spec.backupImages: false is wanted"],
    ["that a location is empty", application({ backupLocations: [{}] }), "spec.backupLocations[0] has neither velero nor bucket"],
    [
      "that a location is both",
      application({ backupLocations: [{ velero: location(), bucket: { cloudStorageRef: { name: "x" } } }] }),
      "has both velero and bucket",
    ],
    ["that a prefix is wanted", withLocation({ objectStorage: { bucket: "b" } }), "spec.backupLocations[0].velero.objectStorage.prefix is empty"],
    ["that a bucket's prefix is wanted", withBucket({ credential, default: true }), "spec.backupLocations[0].bucket.prefix is empty"],
    ["that a bucket needs a credential", withBucket({ prefix: "p" }), "bucket.credential is missing"],
    ["that a credential has no name", withLocation({ credential: { name: "", key: "k" } }), "credential.name is empty"],
    ["that a credential has no key", withLocation({ credential: { name: "cloud-credentials", key: "" } }), "credential.key is empty"],
    ["that a Secret is missing", withLocation({ credential: { name: "gone", key: "k" } }), 'Secret "gone" does not exist'],
    ["that the Secret that goes without saying is missing", application(), 'Secret "cloud-credentials" does not exist', { secrets: new Map() }],
    ["that a Secret has no such key", withLocation({ credential: { name: "cloud-credentials", key: "nope" } }), 'has no data at key "nope"'],
    ["that a Secret's key is empty", withLocation({ credential: { name: "cloud-credentials", key: "empty" } }), 'has no data at key "empty"'],
    ["that a profile is missing", withLocation({ config: { profile: "other" } }), "has no profile [other]"],
    ["that a profile is half", withLocation({ config: { profile: "half" } }), "profile [half]"],
    [
      "that default is not the default",
      application({ backupLocations: [{ name: "default", velero: location({ default: false }) }] }),
      "is named default, and is not the default",
    ],
    ["that a provider is unknown", withLocation({ provider: "swift" }), 'provider is "swift"'],
    ["that a bucket's name is empty", withLocation({ objectStorage: { bucket: "", prefix: "p" } }), "objectStorage.bucket is empty"],
    ["that a region is wanted", withLocation({ config: { s3ForcePathStyle: "true" } }), "velero.config.region is missing"],
    ["that Azure wants its group", withLocation({ provider: "azure", config: {} }), "config.resourceGroup is missing"],
    ["that Azure wants its account", withLocation({ provider: "velero.io/azure", config: { resourceGroup: "g" } }), "config.storageAccount is missing"],
    ["that a period is none", withLocation({ backupSyncPeriod: "often" }), 'backupSyncPeriod is "often"'],
    [
      "that a CloudStorage is missing",
      application({ backupLocations: [{ bucket: { cloudStorageRef: { name: "x" }, prefix: "p", credential } }] }),
      'CloudStorage "x" does not exist',
    ],
    [
      "that a CloudStorage is of another cloud",
      withBucket({ credential, prefix: "p" }),
      'is of provider "gcp"',
      { cloudStorages: new Map([["bucket", bucketOf("gcp")]]) },
    ],
    ["that there are two defaults", application({ backupLocations: [{ velero: location() }, { velero: location() }] }), "has 2 defaults"],
    ["that there is no default", withLocation({ default: false }), "has no default"],
    [
      "that two have one name",
      application({
        backupLocations: [
          { name: "a", velero: location() },
          { name: "a", velero: location({ default: false }) },
        ],
      }),
      'two locations named "a"',
    ],
    ["that a snapshot location is empty", withSnapshots(undefined as unknown as object), "spec.snapshotLocations[0].velero is missing"],
    ["that a snapshot provider is unknown", withSnapshots({ provider: "x" }), 'snapshotLocations[0].velero.provider is "x"'],
    ["that a snapshot location wants a region", withSnapshots({ provider: "aws" }), "config.region is missing"],
    ["that a snapshot setting is unknown", withSnapshots({ provider: "aws", config: { region: "r", speed: "9" } }), "config.speed is not known"],
    ["that a snapshot provider has no plug-in", withSnapshots({ provider: "gcp", config: {} }), "which spec.configuration.velero.defaultPlugins does not have"],
    [
      "that a snapshot credential is missing",
      withSnapshots({ provider: "aws", config: { region: "r" }, credential: { name: "gone", key: "k" } }),
      'Secret "gone" does not exist',
    ],
    [
      "that movers would run where no node-agent is",
      application({}, {}, { podConfig: { nodeSelector: { a: "1" } }, loadAffinity: [{ nodeSelector: { matchLabels: { b: "2" } } }] }),
      "lacks a=1",
    ],
    ["that there are too many alternatives", application({}, {}, { podConfig: { nodeSelector: { a: "1" } }, loadAffinity: [{}, {}] }), "has 2 entries"],
    ["that the data mover is of then", application({ features: { dataMover: { enable: true } } }), "spec.features.dataMover is of OADP 1.2"],
    ["that restic is of then", application({ configuration: { velero: {}, restic: { enable: true } } }), "spec.configuration.restic is not used any more"],
    ["that it is of another product", application({ unsupportedOverrides: { "operator-type": "acm" } }), 'operator-type is "acm"'],
    ["that vsm must go", application({}, { defaultPlugins: ["vsm"] }), "has vsm, which must go"],
    ["that one AWS is enough", application({}, { defaultPlugins: ["aws", "legacy-aws"] }), "has aws and legacy-aws"],
    [
      "that plug-ins have one name",
      application(
        {},
        {
          customPlugins: [
            { name: "a", image: "x" },
            { name: "a", image: "y" },
          ],
        },
      ),
      'two plug-ins named "a"',
    ],
    ["that a request is no quantity", application({}, { podConfig: { resourceAllocations: { requests: { cpu: "much" } } } }), 'requests.cpu is "much"'],
    [
      "that a limit is no quantity",
      application({}, {}, { podConfig: { resourceAllocations: { limits: { memory: "1 GB" } } } }),
      'nodeAgent.podConfig.resourceAllocations.limits.memory is "1 GB"',
    ],
    ["that a mover's memory is none", application({}, {}, { podResources: { memoryLimit: "x" } }), 'podResources.memoryLimit is "x"'],
    [
      "that a Job's memory is none",
      application({ configuration: { velero: {}, repositoryMaintenance: { global: { podResources: { cpuLimit: "x" } } } } }),
      "repositoryMaintenance.global.podResources.cpuLimit",
    ],
    ["that a timeout is none", application({}, { resourceTimeout: "soon" }), 'velero.resourceTimeout is "soon"'],
    ["that a frequency is none", application({}, { itemOperationSyncFrequency: "5" }), 'velero.itemOperationSyncFrequency is "5"'],
    ["that a node-agent's timeout is none", application({}, {}, { timeout: "4 hours" }), 'nodeAgent.timeout is "4 hours"'],
    ["that a rate is none", application({}, { args: { "client-qps": "fast" } }), 'client-qps is "fast"'],
    ["that it cannot serve others", application({ nonAdmin: { enable: true } }), "spec.nonAdmin.enable is true"],
    ["that arguments are missing", application(), 'ConfigMap "args", which an annotation names', { serverArguments: { configMap: "args", data: undefined } }],
    [
      "that somebody else serves",
      application(),
      'Deployment "velero" of this namespace was made by somebody else',
      { server: { metadata: { name: "velero" } } as Deployment },
    ],
    ["that OADP works here", application(), "OADP's operator runs in this namespace", { oadpOperatorRuns: true }],
    ["that its mode is unknown", annotated(application(), { "drayage.io/mode": "host" }), 'drayage.io/mode is "host"'],
    [
      "that the era wants a Secret",
      annotated(application({ features: { dataMover: { enable: true } } }), { "drayage.io/volsync-era": "true" }),
      "credentialName is empty",
    ],
  ])("%s", (_what, dpa, message, over) => {
    expect(messageFor(dpa, over)).toEqual(expect.stringContaining(String(message)));
  });

  it("the first of two faults, in OADP's order, and takes nothing away", () => {
    const dpa = application({ backupLocations: [], nonAdmin: { enable: true } });
    const steps = decide(observed(dpa, { owned: [{ kind: "DaemonSet", name: "node-agent" }] }));
    expect(steps).toEqual([
      {
        do: "setCondition",
        condition: expect.objectContaining({
          type: "Reconciled",
          status: "False",
          reason: "Error",
          message: expect.stringContaining("backupLocations is empty"),
        }),
        without: "DrayageReconciled",
      },
    ]);
  });

  it("nothing of credentials where the flag no-secret is set", () => {
    expect(messageFor(application({ backupImages: false }, { featureFlags: ["no-secret"] }), { secrets: new Map() })).toBeUndefined();
  });

  it("nothing when it is being deleted: what it owns goes by itself", () => {
    const dpa = application();
    expect(decide(observed({ ...dpa, metadata: { ...dpa.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } }))).toEqual([]);
  });
});

describe("a DataProtectionApplication", () => {
  it("with a CloudStorage has a location of its bucket, credential and shared configuration", () => {
    const dpa = withBucket({ credential, prefix: "p", default: true, caCert: "Y2E=", config: { s3Url: "http://s:80/x" }, backupSyncPeriod: "5m" });
    expect(made(dpa, "BackupStorageLocation", "dpa-1")?.["spec"]).toEqual({
      provider: "aws",
      default: true,
      objectStorage: { bucket: "real-bucket", prefix: "p", caCert: "Y2E=" },
      credential,
      backupSyncPeriod: "5m",
      config: { checksumAlgorithm: "", enableSharedConfig: "true", region: "r", s3Url: "http://s/x" },
    });
  });

  it("of Azure or Google gives a location the Secret that goes without saying", () => {
    const config = { resourceGroup: "g", storageAccount: "a" };
    expect(made(withLocation({ provider: "azure", config }), "BackupStorageLocation", "dpa-1")?.["spec"]).toMatchObject({
      config,
      credential: { name: "cloud-credentials-azure", key: "cloud" },
    });
    expect(made(withLocation({ provider: "gcp", config: {} }), "BackupStorageLocation", "dpa-1")?.["spec"]).toMatchObject({
      credential: { name: "cloud-credentials-gcp" },
    });
  });

  it("turns fields into arguments of the server, an empty one into none", () => {
    const velero: Velero = {
      defaultPlugins: ["csi"],
      featureFlags: ["EnableCSI"],
      defaultSnapshotMoveData: true,
      defaultVolumesToFSBackup: false,
      disableInformerCache: true,
      itemBlockWorkerCount: 3,
      resourceTimeout: "5m",
      "client-burst": 7,
      "client-qps": 9,
      logLevel: "warning",
      itemOperationSyncFrequency: "30s",
      defaultItemOperationTimeout: "2h",
    };
    const args = serverArgs(application({ logFormat: "json" }, velero, { timeout: "3h", cacheLimitMB: 9 }));
    expect(args.filter((arg) => !arg.startsWith("--restore-resource-priorities"))).toEqual([
      ...[
        "server",
        "--features=EnableCSI",
        "--uploader-type=kopia",
        "--fs-backup-timeout=3h",
        "--default-volumes-to-fs-backup=false",
        "--client-burst=7",
        "--client-qps=9",
      ],
      ...["--resource-timeout=5m", "--item-operation-sync-frequency=30s", "--default-item-operation-timeout=2h", "--log-format=json", "--log-level=warning"],
      ...[
        "--default-snapshot-move-data=true",
        "--disable-informer-cache=true",
        "--item-block-worker-count=3",
        "--backup-repository-configmap=backup-repository-dpa",
      ],
    ]);
    const bare = application({}, { defaultVolumesToFSBackup: null as unknown as boolean });
    delete bare.spec.configuration.velero?.defaultVolumesToFSBackup;
    expect(serverArgs(bare).join(" ")).not.toMatch(/fs-backup=|move-data|client-/);
    expect(serverArgs(bare).find((arg) => arg.startsWith("--restore-resource-priorities"))).toMatch(
      /=securitycontextconstraints,.*,services,-,clusterbootstraps/,
    );
  });

  it("with args has only these, in nanoseconds, and what comes after them", () => {
    const args = serverArgs(
      application(
        {},
        {
          args: { "backup-sync-period": 90_000_000_000, "disabled-controllers": ["gc"] as never, "client-qps": "1.5", v: 4 },
          "client-burst": 1,
          logLevel: "debug",
        },
      ),
    );
    expect(args.filter((arg) => !arg.startsWith("--restore-resource-priorities"))).toEqual([
      ...["server", "--features=EnableCSI", "--backup-sync-period=1m30s", "--disable-controllers=gc", "--client-qps=1.5", "--v=4"],
      ...["--fs-backup-timeout=4h", "--log-level=debug", "--disable-informer-cache=false"],
    ]);
  });

  it("takes every argument from a ConfigMap that an annotation names", () => {
    const over = { serverArguments: { configMap: "args", data: { "log-level": "debug", "--b": "TRUE" } } };
    expect(serverArgs(application(), over)).toEqual(["server", "--b=true", "--log-level=debug"]);
  });

  it("gives the pods what it says of them", () => {
    const podConfig = {
      labels: { team: "a", deploy: "mine" },
      nodeSelector: { disk: "ssd" },
      tolerations: [{ key: "k", operator: "Exists" }],
      env: [{ name: "HTTPS_PROXY", value: "p" }],
      resourceAllocations: { requests: { cpu: 1 }, limits: { memory: "1Gi" } },
    };
    const dpa = application(
      { podAnnotations: { note: "n" }, podDnsPolicy: "None", podDnsConfig: { nameservers: ["1.1.1.1"] }, imagePullPolicy: "Never", backupImages: false },
      {
        podConfig,
        loadAffinity: [{ nodeSelector: { matchLabels: { zone: "z" } } }],
        customPlugins: [{ name: "p", image: "i@sha256:".concat("a".repeat(64)) }],
      },
      { podConfig: { nodeSelector: { disk: "ssd" } }, supplementalGroups: [7] },
    );
    const { metadata, spec } = podOf(made(dpa, "Deployment", "velero"));
    expect(metadata).toMatchObject({ labels: { team: "a", deploy: "velero" }, annotations: { note: "n" } });
    expect(spec).toMatchObject({
      nodeSelector: { disk: "ssd" },
      tolerations: podConfig.tolerations,
      dnsPolicy: "None",
      dnsConfig: { nameservers: ["1.1.1.1"] },
    });
    expect(spec.affinity).toEqual({
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: "zone", operator: "In", values: ["z"] }] }] },
      },
    });
    expect(spec.containers[0]).toMatchObject({ imagePullPolicy: "Never", resources: { requests: { cpu: "1", memory: "128Mi" }, limits: { memory: "1Gi" } } });
    expect(spec.containers[0]?.env).toContainEqual({ name: "HTTPS_PROXY", value: "p" });
    expect(spec.initContainers).toMatchObject([{ name: "p", volumeMounts: [{ mountPath: "/target" }] }]);
    const agent = podOf(made(dpa, "DaemonSet", "node-agent")).spec;
    expect(agent).toMatchObject({ nodeSelector: { disk: "ssd" }, securityContext: { runAsUser: 65532, supplementalGroups: [7] } });
    expect(made(dpa, "ConfigMap", "node-agent-dpa")?.["data"]).toEqual({
      "node-agent-config": '{"loadAffinity":[{"nodeSelector":{"matchLabels":{"disk":"ssd"}}}]}',
    });
  });

  it.each([
    ["drayage/dray:1", "Always"],
    [`drayage/dray@sha256:${"0".repeat(64)}`, "IfNotPresent"],
    [`drayage/dray@sha256:${"0".repeat(63)}`, "Always"],
  ])("runs image %s with pull policy %s", (image, policy) => {
    const dpa = application({ unsupportedOverrides: { veleroImageFqin: image, awsPluginImageFqin: "x" } });
    expect(podOf(made(dpa, "DaemonSet", "node-agent")).spec.containers[0]).toMatchObject({ image, imagePullPolicy: policy });
    expect(decide(observed(dpa))).toContainEqual(expect.objectContaining({ do: "tell", reason: "PluginImageNotUsed" }));
  });

  it("without file-system backup has node-agents without privileges, and without node-agents none", () => {
    const pod = podOf(made(application({}, { disableFsBackup: true }), "DaemonSet", "node-agent")).spec;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true });
    expect(pod.containers[0]?.securityContext).toMatchObject({ capabilities: { drop: ["ALL"] } });
    const steps = decide(observed(application({}, {}, { enable: false }), { owned: [{ kind: "DaemonSet", name: "node-agent" }] }));
    expect(steps).toContainEqual({ do: "delete", kind: "DaemonSet", name: "node-agent" });
  });

  it("writes one key of a ConfigMap for each repository that is maintained otherwise", () => {
    const dpa = application();
    dpa.spec.configuration.repositoryMaintenance = { global: { podResources: { cpuLimit: "1" } }, "shop-default-kopia": {} };
    expect(made(dpa, "ConfigMap", "repository-maintenance-dpa")?.["data"]).toEqual({ global: '{"podResources":{"cpuLimit":"1"}}', "shop-default-kopia": "{}" });
  });

  it("makes room for a workload whose selector is another's", () => {
    const owned = [{ kind: "Deployment" as const, name: "velero", selector: { component: "velero" } }];
    const steps = decide(observed(application(), { owned }));
    const [remove, apply] = [
      { do: "delete", kind: "Deployment", name: "velero" },
      expect.objectContaining({ do: "apply", manifest: expect.objectContaining({ kind: "Deployment" }) }),
    ];
    expect(steps.findIndex((step) => expect.objectContaining(remove).asymmetricMatch(step))).toBeLessThan(
      steps.findIndex((step) => apply.asymmetricMatch(step)),
    );
  });

  it("warns of restic, and labels the Secrets it refers to", () => {
    const steps = decide(
      observed(application({}, {}, { uploaderType: "restic" }), {
        secrets: new Map([["cloud-credentials", { data: { cloud: AWS_FILE.replaceAll("\n", "\r\n") }, labels: {} }]]),
      }),
    );
    expect(steps).toContainEqual(expect.objectContaining({ do: "tell", type: "Warning", reason: "DeprecationResticFileSystemBackup" }));
    expect(steps).toContainEqual({ do: "labelSecret", name: "cloud-credentials", data: { cloud: Buffer.from(AWS_FILE).toString("base64") } });
  });

  it("of the VolSync era hands the restic password to each location", () => {
    const dpa = annotated(application({ features: { dataMover: { enable: true, credentialName: "restic" } } }, { defaultPlugins: ["aws", "vsm"] }), {
      "drayage.io/volsync-era": "true",
    });
    expect(made(dpa, "Secret", "dpa-1-volsync-restic")?.["data"]).toEqual({ RESTIC_PASSWORD: "cA==" });
  });

  it("of the VolSync era has the server move volumes with VolSync, and hands on the options of storage classes", () => {
    const dataMover = {
      enable: true,
      credentialName: "restic",
      timeout: "20m",
      maxConcurrentBackupVolumes: "3",
      pruneInterval: "14",
      snapshotRetainPolicy: { daily: "2" },
      volumeOptionsForStorageClasses: {
        cephfs: { sourceVolumeOptions: { storageClassName: "shallow", accessMode: "ReadOnlyMany" }, destinationVolumeOptions: { cacheCapacity: "1Gi" } },
      },
    };
    const dpa = annotated(application({ features: { dataMover } }, { defaultPlugins: ["aws", "vsm"] }), { "drayage.io/volsync-era": "true" });
    expect(podOf(made(dpa, "Deployment", "velero")).spec.containers[0]?.args).toEqual(
      expect.arrayContaining(["--volsync-era=true", "--volsync-era-timeout=20m", "--volsync-era-concurrent-backups=3"]),
    );
    expect(made(dpa, "ConfigMap", "cephfs-config")).toMatchObject({
      metadata: { labels: { "openshift.io/volume-snapshot-mover": "True", "openshift.io/vsm-storageclass": "cephfs" } },
      data: {
        SourceStorageClassName: "shallow",
        SourceAccessMode: "ReadOnlyMany",
        DestinationCacheCapacity: "1Gi",
        SnapshotRetainPolicyDaily: "2",
      },
    });
    const text = (value: string) => Buffer.from(value).toString("base64");
    expect(made(dpa, "Secret", "dpa-1-volsync-restic")?.["data"]).toEqual({
      RESTIC_PASSWORD: "cA==",
      "restic-prune-interval": text("14"),
      SnapshotRetainPolicyDaily: text("2"),
    });
    const off = annotated(application({ features: { dataMover: { ...dataMover, enable: false } } }), { "drayage.io/volsync-era": "true" });
    expect(podOf(made(off, "Deployment", "velero")).spec.containers[0]?.args).not.toContain("--volsync-era=true");
  });

  it("as a guest adds node-agents beside Velero's, and leaves everything else to it", () => {
    const dpa = annotated(application({ backupLocations: [] }), { "drayage.io/mode": "guest" });
    const steps = decide(observed(dpa, { server: { metadata: { name: "velero" } } as Deployment, oadpOperatorRuns: true, hasRepositoryPassword: false }));
    expect(appliedBy(steps).map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual(["DaemonSet/drayage-node-agent"]);
    expect(podOf(appliedBy(steps)[0]).spec.containers[0]?.args).toEqual(["node-agent", "server", "--guest", "--daemonset-name=drayage-node-agent"]);
    expect(conditionIn(steps)).toMatchObject({ type: "DrayageReconciled", status: "True" });
    // What was said as the only one here is taken back, unless OADP says it.
    expect(steps.at(-1)).not.toHaveProperty("without");
    expect(decide(observed(dpa)).at(-1)).toMatchObject({ do: "setCondition", without: "Reconciled" });
    expect(steps.some((step) => step.do === "createRepositoryPassword" || step.do === "labelSecret")).toBe(false);
  });
});
