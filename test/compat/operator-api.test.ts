/**
 * The operator on a real kube-apiserver, from its bundle: the definitions, and the objects that OLM makes of the ClusterServiceVersion. It runs as its own service account, so that what
 * its rules do not cover is refused, and everything that it makes passes the API server's validation. There are no controllers: nothing runs, and nothing is collected.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { backupStorageLocations, cloudStorages, type DataProtectionApplication, dataProtectionApplications, volumeSnapshotLocations } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type CloudBuckets, type RunningController, startCloudStorageController, startDpaController } from "@drayage/controllers";
import {
  type ConnectedClient,
  type CustomResourceDefinition,
  clusterRoleBindings,
  clusterRoles,
  configMaps,
  createKubeClient,
  customResourceDefinitions,
  type Deployment,
  daemonSets,
  deployments,
  events,
  type KubeObject,
  namespaces,
  type ResourceType,
  roleBindings,
  roles,
  secrets,
  serviceAccounts,
  services,
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { clusterServiceVersionDefinition } from "./olm-definition.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const NS = "openshift-adp";
const WAIT_MS = 60_000;
const bundle = join(import.meta.dirname, "..", "..", "packages", "install", "olm");
let server: RealApiServer;
let client: ConnectedClient;
let asOperator: ConnectedClient;
let operator: RunningController;
let storages: RunningController;
/** Buckets that are made; the store is in test/compat/s3-contract.test.ts. */
const made: string[] = [];
const buckets: CloudBuckets = {
  exists: async ({ spec }) => made.includes(spec.objectStorage.bucket),
  create: async ({ spec }) => void made.push(spec.objectStorage.bucket),
  tag: async () => undefined,
  remove: async ({ spec }) => void made.splice(made.indexOf(spec.objectStorage.bucket), 1),
};

interface RulesOfAccount {
  readonly serviceAccountName: string;
  readonly rules: object[];
}

interface ClusterServiceVersion extends KubeObject {
  readonly spec: {
    readonly customresourcedefinitions: { readonly owned: readonly { readonly name: string; readonly kind: string; readonly version: string }[] };
    readonly install: {
      readonly spec: {
        readonly permissions: readonly RulesOfAccount[];
        readonly clusterPermissions: readonly RulesOfAccount[];
        readonly deployments: readonly { readonly name: string; readonly label: Record<string, string>; readonly spec: object }[];
      };
    };
  };
}

const manifest = <T>(name: string): T => parse(readFileSync(join(bundle, "manifests", name), "utf8")) as T;
const CSV_FILE = "drayage-operator.clusterserviceversion.yaml";
const clusterServiceVersions: ResourceType<ClusterServiceVersion> = {
  group: "operators.coreos.com",
  version: "v1alpha1",
  plural: "clusterserviceversions",
  kind: "ClusterServiceVersion",
  namespaced: true,
};
/** As the API server keeps it: what its definition does not know would be gone. */
let csv: ClusterServiceVersion;

function clientFor(token: string): ConnectedClient {
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: server.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  return createKubeClient({ kubeconfig: JSON.stringify(kubeconfig), qps: 0 });
}

beforeAll(async () => {
  server = await startRealApiServer();
  client = clientFor(server.token);
  for (const name of readdirSync(join(bundle, "manifests")).filter((file) => !file.includes("clusterserviceversion")))
    await client.create(customResourceDefinitions, manifest<CustomResourceDefinition>(name), { fieldValidation: "Strict" });
  await client.create(customResourceDefinitions, clusterServiceVersionDefinition, { fieldValidation: "Strict" });
  await until(async () => {
    const { items } = await client.list(customResourceDefinitions);
    return items.every(({ status }) => status?.conditions?.some(({ type, status: value }) => type === "Established" && value === "True") === true) || undefined;
  }, "definitions are established");
  await client.create(namespaces, { metadata: { name: NS } });
  const written = manifest<ClusterServiceVersion>(CSV_FILE);
  csv = await client.create(clusterServiceVersions, { ...written, metadata: { ...written.metadata, namespace: NS } }, { fieldValidation: "Strict" });
  await installAsOlm();
  const account = await client.request<{ status: { token: string } }>("POST", `/api/v1/namespaces/${NS}/serviceaccounts/drayage-operator/token`, {
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  });
  asOperator = clientFor(account.status.token);
  operator = startOperator();
  storages = startCloudStorageController({ ...surroundings(), buckets });
}, 120_000);

const surroundings = () => ({ client: asOperator, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: NS });
const startOperator = (): RunningController => startDpaController({ ...surroundings(), image: "drayage/dray:test" });

afterAll(async () => {
  await operator?.stop();
  await storages?.stop();
  await asOperator?.close();
  await client?.close();
  await server?.stop();
});

/** Service accounts, roles with their bindings, and the Deployment: what OLM creates of a ClusterServiceVersion, which owns them, and whose annotations the operator's pods have. */
async function installAsOlm(): Promise<void> {
  const { permissions, clusterPermissions, deployments: wanted } = csv.spec.install.spec;
  const { name: csvName = "", uid = "", annotations = {} } = csv.metadata;
  const owner = {
    apiVersion: "operators.coreos.com/v1alpha1",
    kind: "ClusterServiceVersion",
    name: csvName,
    uid,
    controller: false,
    blockOwnerDeletion: false,
  };
  const owned = { namespace: NS, ownerReferences: [owner] };
  const olmLabels = { "olm.owner": csvName, "olm.owner.kind": "ClusterServiceVersion", "olm.owner.namespace": NS };
  for (const name of new Set([...permissions, ...clusterPermissions].map(({ serviceAccountName }) => serviceAccountName)))
    await client.create(serviceAccounts, { metadata: { ...owned, name } });
  const bind = (name: string, kind: string) => ({
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name },
    subjects: [{ kind: "ServiceAccount", name, namespace: NS }],
  });
  for (const { serviceAccountName: name, rules } of permissions) {
    await client.create(roles, { metadata: { ...owned, name, labels: olmLabels }, rules: rules as never }, { fieldValidation: "Strict" });
    await client.create(roleBindings, { metadata: { ...owned, name, labels: olmLabels }, ...bind(name, "Role") });
  }
  for (const { serviceAccountName: name, rules } of clusterPermissions) {
    await client.create(clusterRoles, { metadata: { name, labels: olmLabels }, rules: rules as never }, { fieldValidation: "Strict" });
    await client.create(clusterRoleBindings, { metadata: { name, labels: olmLabels }, ...bind(name, "ClusterRole") });
  }
  const ofGroup = { "olm.operatorGroup": "group", "olm.operatorNamespace": NS, "olm.targetNamespaces": NS };
  for (const { name, label, spec } of wanted) {
    const { template, ...rest } = spec as { template: { metadata: object } };
    const inGroup = { ...template, metadata: { ...template.metadata, annotations: { ...annotations, ...ofGroup } } };
    const deployment = { metadata: { ...owned, name, labels: { ...label, ...olmLabels } }, spec: { ...rest, template: inGroup } };
    await client.create(deployments, deployment as never, { fieldValidation: "Strict" });
  }
}

async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const endMs = systemClock.monotonicMs() + WAIT_MS;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (systemClock.monotonicMs() > endMs) throw new Error(`${what}: it did not come to that`);
    await systemClock.sleep(50);
  }
}

const reconciled = (name: string, status: "True" | "False", message = "") =>
  until(async () => {
    const dpa = await client.get(dataProtectionApplications, { namespace: NS, name });
    const condition = dpa.status?.conditions?.find(({ type }) => type === "Reconciled");
    const isIt = condition?.status === status && condition.observedGeneration === dpa.metadata.generation && condition.message.includes(message);
    return isIt ? condition : undefined;
  }, `application "${name}" is reconciled: ${status}`);

const namesOf = async <T extends KubeObject>(type: ResourceType<T>): Promise<string[]> =>
  (await client.list(type, { namespace: NS, labelSelector: "openshift.io/oadp=True" })).items.map(({ metadata }) => metadata.name ?? "").sort();

/** Every field that reaches an object of the cluster. */
const EVERYTHING: DataProtectionApplication["spec"] = {
  backupLocations: [
    {
      name: "main",
      velero: {
        provider: "aws",
        default: true,
        objectStorage: { bucket: "b", prefix: "p", caCert: Buffer.from("pem").toString("base64") },
        config: { region: "r", s3ForcePathStyle: "true" },
        credential: { name: "cloud-credentials", key: "cloud" },
        backupSyncPeriod: "5m",
        accessMode: "ReadOnly",
      },
    },
    { bucket: { cloudStorageRef: { name: "bucket" }, credential: { name: "cloud-credentials", key: "cloud" }, prefix: "q" } },
  ],
  snapshotLocations: [{ velero: { provider: "aws", config: { region: "r" } } }],
  podAnnotations: { note: "n" },
  resourceLabels: { team: "a" },
  resourceAnnotations: { "argocd.argoproj.io/sync-options": "Prune=false" },
  podDnsPolicy: "None",
  podDnsConfig: { nameservers: ["10.0.0.1"], searches: ["example.com"], options: [{ name: "ndots", value: "2" }] },
  imagePullPolicy: "IfNotPresent",
  logFormat: "json",
  configuration: {
    repositoryMaintenance: { global: { podResources: { cpuLimit: "1" } } },
    velero: {
      defaultPlugins: ["openshift", "aws", "csi", "kubevirt"],
      customPlugins: [{ name: "custom", image: "example.com/plugin:1" }],
      restoreResourcesVersionPriority: "a.b=v1",
      defaultSnapshotMoveData: true,
      concurrentBackups: 2,
      podConfig: {
        labels: { team: "a" },
        annotations: { by: "b" },
        nodeSelector: { disk: "ssd" },
        tolerations: [{ key: "k", operator: "Exists", effect: "NoExecute", tolerationSeconds: 60 }],
        env: [
          { name: "A", value: "b" },
          { name: "SECRET", valueFrom: { secretKeyRef: { name: "cloud-credentials", key: "cloud" } } },
        ],
        resourceAllocations: { requests: { cpu: "100m" }, limits: { memory: "1Gi", "ephemeral-storage": "2Gi" } },
      },
      loadAffinity: [{ nodeSelector: { matchExpressions: [{ key: "zone", operator: "In", values: ["a", "b"] }] } }],
    },
    nodeAgent: {
      enable: true,
      uploaderType: "kopia",
      supplementalGroups: [1000],
      timeout: "2h",
      cacheLimitMB: 100,
      fullMaintenanceInterval: "fastGC",
      loadConcurrency: { globalConfig: 2, perNodeConfig: [{ nodeSelector: { matchLabels: { a: "b" } }, number: 3 }], prepareQueueLength: 5 },
      backupPVC: { fast: { storageClass: "slow", readOnly: true, annotations: { a: "b" } } },
      restorePVC: { ignoreDelayBinding: true },
      podResources: { memoryLimit: "1Gi" },
      dataMoverPrepareTimeout: "10m",
    },
  },
};

describe("the bundle", () => {
  it("is a ClusterServiceVersion of which the API server keeps everything, and refuses one that is none", async () => {
    const written = manifest<ClusterServiceVersion>(CSV_FILE);
    expect(csv.spec).toEqual(written.spec);
    expect(csv.metadata.annotations).toEqual(written.metadata.annotations);
    const wrong = (spec: object) =>
      client.create(
        clusterServiceVersions,
        { ...written, metadata: { namespace: NS, name: "wrong" }, spec: { ...written.spec, ...spec } },
        { fieldValidation: "Strict" },
      );
    await expect(wrong({ displayname: "x" })).rejects.toThrow(/unknown field "spec.displayname"/);
    await expect(wrong({ install: { spec: { deployments: [] } } })).rejects.toThrow(/spec.install.strategy: Required value/);
  });

  it("names every definition that it has, and no other, and its examples are accepted, of every kind that users make", async () => {
    const items = (await client.list(customResourceDefinitions)).items.filter(({ spec }) => spec.group !== clusterServiceVersions.group);
    const served = items.flatMap(({ spec }) => spec.versions.map(({ name }) => `${spec.names.plural}.${spec.group}/${name}`));
    expect(csv.spec.customresourcedefinitions.owned.map(({ name, version }) => `${name}/${version}`).sort()).toEqual(served.sort());
    const examples = JSON.parse(csv.metadata.annotations?.["alm-examples"] ?? "") as KubeObject[];
    for (const example of examples) {
      const [group = "", version = ""] = example.apiVersion?.split("/") ?? [];
      const definition = items.find(({ spec }) => spec.group === group && spec.names.kind === example.kind);
      const { names, scope } = (definition ?? { spec: { names: { plural: "" }, scope: "" } }).spec as { names: { plural: string }; scope: string };
      const type = { group, version, plural: names.plural, kind: example.kind ?? "", namespaced: scope === "Namespaced" };
      await client.create(type, example, { dryRun: true, fieldValidation: "Strict" });
    }
    const internal = JSON.parse(csv.metadata.annotations?.["operators.operatorframework.io/internal-objects"] ?? "[]") as string[];
    const shown = items.filter(({ spec }) => !internal.includes(`${spec.names.plural}.${spec.group}`));
    expect(examples.map(({ kind }) => kind).sort()).toEqual(shown.map(({ spec }) => spec.names.kind).sort());
  });

  it("lets the operator do nothing outside of its namespace", async () => {
    await expect(asOperator.list(secrets, { namespace: "default" })).rejects.toMatchObject({ code: "KUBE_FORBIDDEN" });
    await expect(asOperator.list(clusterRoles)).rejects.toMatchObject({ code: "KUBE_FORBIDDEN" });
    await expect(asOperator.create(roles, { metadata: { namespace: NS, name: "more" }, rules: [] })).rejects.toMatchObject({ code: "KUBE_FORBIDDEN" });
  });
});

describe("an application on a real API server", () => {
  it.each<[field: string, spec: object, message: RegExp]>([
    [
      "an uploader that is not known",
      { configuration: { velero: {}, nodeAgent: { enable: true, uploaderType: "rsync" } } },
      /uploaderType: Unsupported value: "rsync"/,
    ],
    ["node-agents without an uploader", { configuration: { velero: {}, nodeAgent: { enable: true } } }, /uploaderType: Required value/],
    ["no configuration", {}, /spec.configuration: Required value/],
    ["a plug-in that is not known", { configuration: { velero: { defaultPlugins: ["swift"] } } }, /defaultPlugins\[0\]: Unsupported value: "swift"/],
    ["a pull policy that is not known", { configuration: {}, imagePullPolicy: "Sometimes" }, /imagePullPolicy: Unsupported value/],
    ["a cache of less than nothing", { configuration: { nodeAgent: { uploaderType: "kopia", cacheLimitMB: -1 } } }, /cacheLimitMB: Invalid value: -1/],
    [
      "a quantity that is none",
      { configuration: { velero: { podConfig: { resourceAllocations: { limits: { cpu: "much" } } } } } },
      /limits.cpu: Invalid value: "much"/,
    ],
    ["a field that is not known", { configuration: {}, backupLocation: [] }, /unknown field "spec.backupLocation"/],
  ])("with %s is refused", async (_what, spec, message) => {
    const dpa = { metadata: { namespace: NS, name: "wrong" }, spec } as unknown as DataProtectionApplication;
    await expect(client.create(dataProtectionApplications, dpa, { fieldValidation: "Strict" })).rejects.toThrow(message);
  });

  it.each(["azure", "gcp"])("takes no bucket of %s, which the API server refuses as OADP's definition has it", async (provider) => {
    const storage = { metadata: { namespace: NS, name: "elsewhere" }, spec: { name: "b", provider, creationSecret: { name: "c", key: "cloud" } } };
    await expect(client.create(cloudStorages, storage as never)).rejects.toThrow(`spec.provider: Unsupported value: "${provider}": supported values: "aws"`);
  });

  it("says what it lacks, and becomes everything that it asks for once that is there", async () => {
    await client.create(dataProtectionApplications, { metadata: { namespace: NS, name: "dpa" }, spec: EVERYTHING }, { fieldValidation: "Strict" });
    expect((await reconciled("dpa", "False")).message).toBe('spec.backupLocations[0].velero.credential: Secret "cloud-credentials" does not exist');
    const cloud = Buffer.from("[default]\naws_access_key_id=a\naws_secret_access_key=b\n").toString("base64");
    await client.create(secrets, {
      metadata: { namespace: NS, name: "cloud-credentials" },
      data: { cloud },
    });
    await reconciled("dpa", "False", 'CloudStorage "bucket" does not exist');
    await client.request("POST", `/apis/oadp.openshift.io/v1alpha1/namespaces/${NS}/cloudstorages`, {
      body: {
        apiVersion: "oadp.openshift.io/v1alpha1",
        kind: "CloudStorage",
        metadata: { name: "bucket" },
        spec: { name: "bucket-of-it", provider: "aws", creationSecret: { name: "cloud-credentials", key: "cloud" } },
      },
    });
    expect(await reconciled("dpa", "True")).toMatchObject({ reason: "Complete", message: "Reconcile complete" });
    const storage = await until(
      async () => ((found) => (found.status?.name === undefined ? undefined : found))(await client.get(cloudStorages, { namespace: NS, name: "bucket" })),
      "the bucket is made",
    );
    // Only one that asks for its bucket's deletion waits for the operator; OADP's all do.
    expect(storage.metadata.finalizers ?? []).toEqual([]);
    const asked = (text: string | null) =>
      client.patch(cloudStorages, { namespace: NS, name: "bucket" }, "merge", {
        metadata: { annotations: { "oadp.openshift.io/cloudstorage-delete": text } },
      });
    const finalizersAre = (wanted: readonly string[]) =>
      until(async () => {
        const { metadata } = await client.get(cloudStorages, { namespace: NS, name: "bucket" });
        return JSON.stringify(metadata.finalizers ?? []) === JSON.stringify(wanted) ? true : undefined;
      }, `its finalizers are ${wanted.join()}`);
    await asked("true");
    await finalizersAre(["oadp.openshift.io/bucket-protection"]);
    await asked(null);
    await finalizersAre([]);
    expect(made).toEqual(["bucket-of-it"]);
    expect(await namesOf(deployments)).toEqual(["velero"]);
    expect(await namesOf(daemonSets)).toEqual(["node-agent"]);
    expect(await namesOf(services)).toEqual(["drayage-webhook", "openshift-adp-velero-metrics-svc"]);
    expect(await namesOf(backupStorageLocations)).toEqual(["dpa-2", "main"]);
    expect(await namesOf(volumeSnapshotLocations)).toEqual(["dpa-1"]);
    expect(await namesOf(configMaps)).toEqual(["backup-repository-dpa", "enableapigroupversions", "node-agent-dpa", "repository-maintenance-dpa"]);
  });

  it("that asks for what the API server refuses says so in the server's words, for each field, and is complete again without it", async () => {
    const velero = (podConfig: object) => ({ configuration: { velero: { podConfig } } });
    const nodeAgent = (podConfig: object) => ({ configuration: { nodeAgent: { podConfig } } });
    const wrong: readonly (readonly [spec: object, message: string])[] = [
      [{ podDnsPolicy: "Sometimes" }, 'spec.template.spec.dnsPolicy: Unsupported value: "Sometimes"'],
      [{ podDnsConfig: { nameservers: ["nonsense"] } }, 'spec.template.spec.dnsConfig.nameservers[0]: Invalid value: "nonsense"'],
      [{ podAnnotations: { "a b": "c" } }, 'Invalid value: "a b"'],
      [{ resourceLabels: { a: "b c" } }, 'metadata.labels: Invalid value: "b c"'],
      [{ resourceAnnotations: { "a b": "c" } }, 'metadata.annotations: Invalid value: "a b"'],
      [velero({ labels: { a: "b c" } }), 'labels: Invalid value: "b c"'],
      [velero({ nodeSelector: { a: "b c" } }), 'spec.template.spec.nodeSelector: Invalid value: "b c"'],
      [velero({ tolerations: [{ key: "k", operator: "Sometimes" }] }), 'spec.template.spec.tolerations[0].operator: Unsupported value: "Sometimes"'],
      [velero({ env: [{ name: "", value: "b" }] }), ".name: Required value"],
      [velero({ resourceAllocations: { requests: { cpu: "2" }, limits: { cpu: "1" } } }), "must be less than or equal to cpu limit of 1"],
      [nodeAgent({ tolerations: [{ key: "k", operator: "Exists", value: "v" }] }), "spec.template.spec.tolerations[0].operator: Invalid value"],
      [nodeAgent({ nodeSelector: { "a b": "c" } }), 'spec.template.spec.nodeSelector: Invalid value: "a b"'],
    ];
    const { spec: right } = await client.get(dataProtectionApplications, { namespace: NS, name: "dpa" });
    for (const [spec, message] of wrong) {
      await client.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", { spec });
      expect(await reconciled("dpa", "False", message)).toMatchObject({ reason: "Error" });
      const dpa = await client.get(dataProtectionApplications, { namespace: NS, name: "dpa" });
      await client.replace(dataProtectionApplications, { ...dpa, spec: right });
      await reconciled("dpa", "True");
    }
  });

  it("takes away what it does not ask for any more, and writes nothing when nothing has changed", async () => {
    const versionOf = async (): Promise<string | undefined> => (await client.get(deployments, { namespace: NS, name: "velero" })).metadata.resourceVersion;
    const settled = await versionOf();
    await client.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", { metadata: { labels: { touched: "yes" } } });
    await operator.idle();
    expect(await versionOf()).toBe(settled);
    const { podDnsPolicy: _policy, podDnsConfig: _config, ...rest } = EVERYTHING;
    const dpa = await client.get(dataProtectionApplications, { namespace: NS, name: "dpa" });
    await client.replace(dataProtectionApplications, {
      ...dpa,
      spec: {
        ...rest,
        snapshotLocations: [],
        backupLocations: (EVERYTHING.backupLocations ?? []).slice(0, 1),
        configuration: { velero: { defaultPlugins: ["aws"] } },
      },
    });
    await reconciled("dpa", "True");
    await until(
      async () => ((await namesOf(daemonSets)).length === 0 && (await namesOf(configMaps)).length === 0 ? true : undefined),
      "what is not wanted goes",
    );
    expect(await namesOf(backupStorageLocations)).toEqual(["main"]);
    expect(await namesOf(volumeSnapshotLocations)).toEqual([]);
    const { spec } = (await client.get(deployments, { namespace: NS, name: "velero" })).spec.template;
    expect(spec).not.toHaveProperty("affinity");
    expect(spec).not.toHaveProperty("initContainers");
    expect(spec.dnsPolicy).toBe("ClusterFirst");
    expect((await client.list(events, { namespace: NS })).items.map(({ reason }) => reason)).toContain("DaemonSetDeleted");
  });

  it("as a guest has node-agents and nothing else, and is by itself again when the annotation goes", async () => {
    const annotate = (mode: string | null) =>
      client.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", {
        metadata: { annotations: { "drayage.io/mode": mode } },
        spec: { configuration: { nodeAgent: EVERYTHING.configuration.nodeAgent } },
      });
    await annotate("guest");
    await until(async () => ((await namesOf(deployments)).length === 0 && (await namesOf(services)).length === 0 ? true : undefined), "the server goes");
    await until(async () => ((await namesOf(daemonSets)).join() === "drayage-node-agent" ? true : undefined), "only its own node-agent is there");
    expect(await namesOf(backupStorageLocations)).toEqual([]);
    const agent = (await client.get(daemonSets, { namespace: NS, name: "drayage-node-agent" })).spec.template.spec.containers[0];
    expect(agent?.args).toEqual(expect.arrayContaining(["--guest", "--daemonset-name=drayage-node-agent", "--node-agent-configmap=node-agent-dpa"]));
    await annotate(null);
    await reconciled("dpa", "True");
    await until(async () => ((await namesOf(daemonSets)).join() === "node-agent" ? true : undefined), "the other node-agent is back");
    expect(await namesOf(deployments)).toEqual(["velero"]);
    const { status } = await client.get(dataProtectionApplications, { namespace: NS, name: "dpa" });
    expect(status?.conditions?.map(({ type }) => type)).toEqual(["Reconciled"]);
  });
});

describe("an installation that an older operator made", () => {
  /** As an operator of before applied it: under the same name, and so with the same fields of its own. */
  const applied = <T extends KubeObject>(type: ResourceType<T>, object: T) => client.apply(type, object, { fieldManager: "drayage-operator", force: true });
  const server = { namespace: NS, name: "velero" };
  const agent = { namespace: NS, name: "node-agent" };
  /** Without what only says how often it was changed, and when. */
  const stateOf = async <T extends KubeObject>(type: ResourceType<T>, name: string): Promise<object> => {
    const { metadata, ...rest } = await client.get(type, { namespace: NS, name });
    const { labels, annotations, ownerReferences } = metadata;
    return { labels, annotations, ownerReferences, spec: (rest as { spec?: unknown }).spec, data: (rest as { data?: unknown }).data };
  };

  /**
   * Passes until one has written nothing. The API server orders managers by the second in which they applied, then by name, and writes an object when that order changes: of two that
   * applied in one second, ours may come to stand behind the other with the first pass of a later one.
   */
  const PASSES_MAX = 4;
  /** All of it, but for when it was changed and in which order managers are told. */
  const contentsOf = (object: KubeObject | undefined): object => {
    const { resourceVersion: _version, managedFields = [], ...metadata } = object?.metadata ?? {};
    const managers = managedFields as readonly Record<string, unknown>[];
    const fields = Object.fromEntries(
      managers.map(({ manager, operation, subresource = "", fieldsV1 }) => [`${manager} ${operation} ${subresource}`, fieldsV1]),
    );
    return { ...object, metadata: { ...metadata, fields } };
  };

  it("becomes what today's makes: what it had and is not wanted goes, what it lacked comes, and what others added stays", async () => {
    await client.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", { spec: { configuration: EVERYTHING.configuration } });
    await reconciled("dpa", "True");
    await until(async () => ((await namesOf(configMaps)).length === 4 ? true : undefined), "everything is there");
    const kept: readonly (readonly [ResourceType<KubeObject>, string])[] = [
      [deployments as ResourceType<KubeObject>, "velero"],
      [daemonSets as ResourceType<KubeObject>, "node-agent"],
      [services as ResourceType<KubeObject>, "openshift-adp-velero-metrics-svc"],
      [backupStorageLocations as ResourceType<KubeObject>, "main"],
      [configMaps, "node-agent-dpa"],
    ];
    const today = await Promise.all(kept.map(([type, name]) => stateOf(type, name)));
    await operator.stop();

    const { spec, metadata } = await client.get(deployments, server);
    const { ownerReferences = [] } = metadata;
    const { containers } = spec.template.spec;
    const [container] = containers;
    if (container === undefined) throw new Error("no container");
    const found = { "openshift.io/oadp": "True" };
    const shared = { ownerReferences, labels: found };
    const oldPod = {
      serviceAccountName: "velero",
      initContainers: [{ name: "old-plugin", image: "example.com/old:1", volumeMounts: [{ name: "plugins", mountPath: "/target" }] }],
      containers: [
        { name: container.name, image: "drayage/dray:0.0.1", args: ["server", "--of-before"], env: [{ name: "OF_BEFORE", value: "1" }] },
        { name: "sidecar-of-before", image: "example.com/sidecar:1" },
      ],
      volumes: [{ name: "plugins", emptyDir: {} }],
    };
    const template = { metadata: { labels: { ...spec.template.metadata?.labels, before: "yes" } }, spec: oldPod };
    const oldServer = { metadata: { ...server, ...shared, labels: { ...found, before: "yes" } }, spec: { replicas: 1, selector: spec.selector, template } };
    await applied(deployments, oldServer as never);
    // A selector cannot be changed.
    await client.delete(daemonSets, agent);
    const oldAgent = {
      selector: { matchLabels: { of: "before" } },
      template: { metadata: { labels: { of: "before" } }, spec: { containers: oldPod.containers } },
    };
    await applied(daemonSets, { metadata: { ...agent, ...shared }, spec: oldAgent } as never);
    const ports = [{ name: "of-before", port: 1234, protocol: "TCP" }];
    const service = { namespace: NS, name: "openshift-adp-velero-metrics-svc" };
    await applied(services, { metadata: { ...service, ...shared }, spec: { selector: { of: "before" }, ports } } as never);
    const location = await client.get(backupStorageLocations, { namespace: NS, name: "main" });
    const { provider, objectStorage } = location.spec;
    await applied(backupStorageLocations, {
      metadata: { namespace: NS, name: "main", ...shared },
      spec: { provider, objectStorage, config: { region: "of-before", kmsKeyId: "of-before" } },
    });
    await applied(configMaps, { metadata: { namespace: NS, name: "node-agent-dpa", ...shared }, data: { "of-before": "{}" } });
    // Under a name that is not used any more.
    await applied(configMaps, { metadata: { namespace: NS, name: "node-agent-config", ...shared }, data: { "node-agent-config": "{}" } });
    await applied(deployments, { metadata: { ...shared, namespace: NS, name: "oadp-registry" }, spec: { ...oldAgent, replicas: 1 } } as never);
    const theirs = { metadata: { namespace: NS, name: "velero", annotations: { "example.com/watched": "yes" } } };
    await client.apply(deployments, theirs as never, { fieldManager: "somebody", force: true });
    const password = { namespace: NS, name: "velero-repo-credentials" };
    const { data: before } = await client.get(secrets, password);

    operator = startOperator();
    await until(async () => ((await namesOf(configMaps)).includes("node-agent-config") ? undefined : true), "the old ConfigMap goes");
    await until(async () => ((await namesOf(deployments)).length === 1 ? true : undefined), "the old Deployment goes");
    await operator.idle();
    const { annotations, ...upgraded } = (await stateOf(deployments, "velero")) as { annotations?: Record<string, string> };
    expect(annotations).toMatchObject({ "example.com/watched": "yes" });
    const [wanted, ...others] = today as [{ annotations?: object }, ...object[]];
    expect({ ...upgraded, annotations: { ...annotations, "example.com/watched": undefined } }).toEqual({ ...wanted, annotations: { ...wanted.annotations } });
    for (const [index, [type, name]] of kept.slice(1).entries()) expect(await stateOf(type, name), name).toEqual(others[index]);
    expect((await client.get(secrets, password)).data).toEqual(before);
    // Each change here asks for a pass, whose end the condition shows, and for nothing else.
    const look = async (nonAdmin: object | null): Promise<Deployment> => {
      await client.patch(dataProtectionApplications, { namespace: NS, name: "dpa" }, "merge", { spec: { nonAdmin } });
      await reconciled("dpa", "True");
      return await client.get(deployments, server);
    };
    // One that is empty asks for nothing.
    const passes = [await look({})];
    const hasSettled = (): boolean => passes.length > 1 && passes.at(-1)?.metadata.resourceVersion === passes.at(-2)?.metadata.resourceVersion;
    while (!hasSettled() && passes.length <= PASSES_MAX) passes.push(await look(passes.length % 2 === 0 ? null : { enable: false }));
    expect(hasSettled(), JSON.stringify(passes)).toBe(true);
    // The passes before it changed the order of the managers, and nothing else.
    const settled = contentsOf(passes.at(-1));
    for (const pass of passes) expect(contentsOf(pass)).toEqual(settled);
  });
});
