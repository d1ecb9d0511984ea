/**
 * The operator on a real kube-apiserver, from its bundle: the definitions, and the objects that OLM makes of the ClusterServiceVersion. It runs as its own service account, so that what
 * its rules do not cover is refused, and everything that it makes passes the API server's validation. There are no controllers: nothing runs, and nothing is collected.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { backupStorageLocations, type DataProtectionApplication, dataProtectionApplications, volumeSnapshotLocations } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type RunningController, startDpaController } from "@drayage/controllers";
import {
  type ConnectedClient,
  type CustomResourceDefinition,
  clusterRoleBindings,
  clusterRoles,
  configMaps,
  createKubeClient,
  customResourceDefinitions,
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
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const NS = "openshift-adp";
const WAIT_MS = 60_000;
const bundle = join(import.meta.dirname, "..", "..", "packages", "install", "olm");
let server: RealApiServer;
let client: ConnectedClient;
let asOperator: ConnectedClient;
let operator: RunningController;

interface RulesOfAccount {
  readonly serviceAccountName: string;
  readonly rules: object[];
}

interface ClusterServiceVersion {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
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
const csv = manifest<ClusterServiceVersion>("drayage-operator.clusterserviceversion.yaml");

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
  await until(async () => {
    const { items } = await client.list(customResourceDefinitions);
    return items.every(({ status }) => status?.conditions?.some(({ type, status: value }) => type === "Established" && value === "True") === true) || undefined;
  }, "definitions are established");
  await client.create(namespaces, { metadata: { name: NS } });
  await installAsOlm();
  const account = await client.request<{ status: { token: string } }>("POST", `/api/v1/namespaces/${NS}/serviceaccounts/drayage-operator/token`, {
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  });
  asOperator = clientFor(account.status.token);
  operator = startDpaController({
    client: asOperator,
    clock: systemClock,
    random: systemRandom,
    logger: nullLogger,
    namespace: NS,
    image: "drayage/dray:test",
  });
}, 120_000);

afterAll(async () => {
  await operator?.stop();
  await asOperator?.close();
  await client?.close();
  await server?.stop();
});

/** Service accounts, roles with their bindings, and the Deployment: what OLM creates of a ClusterServiceVersion. */
async function installAsOlm(): Promise<void> {
  const { permissions, clusterPermissions, deployments: wanted } = csv.spec.install.spec;
  for (const name of new Set([...permissions, ...clusterPermissions].map(({ serviceAccountName }) => serviceAccountName)))
    await client.create(serviceAccounts, { metadata: { namespace: NS, name } });
  const bind = (name: string, kind: string) => ({
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name },
    subjects: [{ kind: "ServiceAccount", name, namespace: NS }],
  });
  for (const { serviceAccountName: name, rules } of permissions) {
    await client.create(roles, { metadata: { namespace: NS, name }, rules: rules as never });
    await client.create(roleBindings, { metadata: { namespace: NS, name }, ...bind(name, "Role") });
  }
  for (const { serviceAccountName: name, rules } of clusterPermissions) {
    await client.create(clusterRoles, { metadata: { name }, rules: rules as never });
    await client.create(clusterRoleBindings, { metadata: { name }, ...bind(name, "ClusterRole") });
  }
  for (const { name, label, spec } of wanted)
    await client.create(deployments, { metadata: { namespace: NS, name, labels: label }, spec: spec as never }, { fieldValidation: "Strict" });
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
      podConfig: {
        labels: { team: "a" },
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
      loadConcurrency: { globalConfig: 2, perNodeConfig: [{ nodeSelector: { matchLabels: { a: "b" } }, number: 3 }] },
      backupPVC: { fast: { storageClass: "slow", readOnly: true } },
      restorePVC: { ignoreDelayBinding: true },
      podResources: { memoryLimit: "1Gi" },
      dataMoverPrepareTimeout: "10m",
    },
  },
};

describe("the bundle", () => {
  it("names every definition that it has, and no other, and its example is accepted", async () => {
    const { items } = await client.list(customResourceDefinitions);
    const served = items.flatMap(({ spec }) => spec.versions.map(({ name }) => `${spec.names.plural}.${spec.group}/${name}`));
    expect(csv.spec.customresourcedefinitions.owned.map(({ name, version }) => `${name}/${version}`).sort()).toEqual(served.sort());
    const [example] = JSON.parse(csv.metadata.annotations["alm-examples"] ?? "") as DataProtectionApplication[];
    if (example === undefined) throw new Error("no example");
    await client.create(dataProtectionApplications, example, { dryRun: true, fieldValidation: "Strict" });
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
    expect(await namesOf(deployments)).toEqual(["velero"]);
    expect(await namesOf(daemonSets)).toEqual(["node-agent"]);
    expect(await namesOf(backupStorageLocations)).toEqual(["dpa-2", "main"]);
    expect(await namesOf(volumeSnapshotLocations)).toEqual(["dpa-1"]);
    expect(await namesOf(configMaps)).toEqual(["backup-repository-dpa", "enableapigroupversions", "node-agent-dpa", "repository-maintenance-dpa"]);
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
});
