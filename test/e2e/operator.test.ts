/** An installation by the operator: the example of OADP's documentation as it is, and what its users do with it afterwards. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  backupStorageLocations,
  backups,
  cloudStorages,
  type DataProtectionApplication,
  dataDownloads,
  dataMoverClasses,
  dataMovers,
  dataProtectionApplications,
  dataProtectionTests,
  dataUploads,
  MOVER_ANNOTATIONS,
} from "@drayage/api";
import { messageOf } from "@drayage/base";
import {
  type ConnectedClient,
  configMaps,
  daemonSets,
  deployments,
  events,
  type KubeObject,
  namespaces,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  secrets,
  services,
  validatingWebhookConfigurations,
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { install } from "../../apps/dray/src/commands/install.ts";
import { Harness, KEYS, VELERO } from "./harness.ts";
import { quietTerminal } from "./quiet-terminal.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";

const OTHER = "openshift-adp";
const EXAMPLE = "dpa-sample";
const CLOUD = `[default]\r\naws_access_key_id = ${KEYS.accessKeyId}\r\naws_secret_access_key = ${KEYS.secretAccessKey}\r\n`;
let harness: Harness;
let client: ConnectedClient;

function example(namespace: string): DataProtectionApplication {
  const text = readFileSync(join(import.meta.dirname, "..", "fixtures", "oadp-1.5", "data-protection-application.yaml"), "utf8");
  const dpa = parse(text.replace("http://address-of-the-store", harness.store.url)) as DataProtectionApplication;
  dpa.metadata.namespace = namespace;
  // Of a bucket's two installations each has its own folder.
  const [location] = dpa.spec.backupLocations ?? [];
  if (location?.velero?.objectStorage !== undefined && namespace !== VELERO) location.velero.objectStorage.prefix = namespace;
  return dpa;
}

async function installOperator(namespace: string): Promise<void> {
  const options = { locationName: "default", secret: true, useNodeAgent: true, operator: true, image: "drayage/dray:e2e", wait: true };
  await install(options, { client: harness.client, namespace }, quietTerminal());
  const data = { cloud: Buffer.from(CLOUD).toString("base64") };
  await harness.client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace, name: "cloud-credentials" }, type: "Opaque", data });
}

const create = (dpa: DataProtectionApplication): Promise<DataProtectionApplication> =>
  client.create(dataProtectionApplications, dpa, { fieldValidation: "Strict" });
const conditionOf = ({ status }: DataProtectionApplication) => status?.conditions?.find(({ type }) => type === "Reconciled");
const reconciled = (namespace: string, name: string, status: "True" | "False"): Promise<DataProtectionApplication> =>
  harness.until(dataProtectionApplications, { namespace, name }, (dpa) => {
    const condition = conditionOf(dpa);
    return condition?.status === status && condition.observedGeneration === dpa.metadata.generation;
  });
const change = (spec: object, name = EXAMPLE): Promise<DataProtectionApplication> =>
  client.patch(dataProtectionApplications, { namespace: VELERO, name }, "merge", { spec });
const gone = (type: typeof deployments | typeof daemonSets | typeof backupStorageLocations | typeof configMaps, namespace: string, name: string) =>
  harness.seen(type as typeof configMaps, { namespace, fieldSelector: `metadata.name=${name}` }, (found) => (found.length === 0 ? true : undefined));

async function works(namespace: string): Promise<void> {
  await reconciled(namespace, EXAMPLE, "True");
  await harness.until(deployments, { namespace, name: "velero" }, ({ status }) => Number(status?.["availableReplicas"] ?? 0) === 1);
  await harness.until(
    daemonSets,
    { namespace, name: "node-agent" },
    ({ status }) => Number((status as { numberReady?: number } | undefined)?.numberReady ?? 0) === 1,
  );
  await harness.until(backupStorageLocations, { namespace, name: `${EXAMPLE}-1` }, ({ status }) => status?.phase === "Available");
}

beforeAll(async () => {
  harness = await Harness.start({
    nodes: 1,
    installBy: async (starting) => {
      harness = starting;
      await installOperator(VELERO);
    },
  });
  client = harness.client;
});
afterAll(() => harness?.destroy());

describe("the documentation's example", () => {
  it("brings a system that backs up an application and brings it back, with nothing said but its name", async () => {
    await create(example(VELERO));
    await works(VELERO);
    // The server may register movers, its own first.
    await harness.seen(dataMovers, {}, (found) => found.find(({ metadata }) => metadata.name === "drayage"));
    await deployApplication(harness, "shop", { files: {} });
    await fillFolder(harness, "shop", "files");
    const facts = await factsOf(harness, "shop", "files");
    expect((await harness.backUp("shop", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
    expect((await client.list(dataUploads, { namespace: VELERO })).items.map(({ status }) => status?.phase)).toEqual(["Completed"]);
    await harness.deleteNamespace("shop");
    expect((await harness.restore("shop", { backupName: "shop" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop");
    expect(await factsOf(harness, "shop", "files")).toBe(facts);
    expect((await client.list(dataDownloads, { namespace: VELERO })).items.map(({ status }) => status?.phase)).toEqual(["Completed"]);
    await harness.expectNothingLeft();
  });

  it("tells of a location how fast it is, and whether snapshots become ready, and leaves nothing of that", async () => {
    const source = { persistentVolumeClaimName: "files", persistentVolumeClaimNamespace: "shop" };
    const spec = {
      backupLocationName: `${EXAMPLE}-1`,
      uploadSpeedTestConfig: { fileSize: "2MB" },
      csiVolumeSnapshotTestConfigs: [{ volumeSnapshotSource: source }],
    };
    const key = { namespace: VELERO, name: "trial" };
    await client.create(dataProtectionTests, { metadata: key, spec }, { fieldValidation: "Strict" });
    const { status } = await harness.until(dataProtectionTests, key, ({ status: now }) => now?.phase === "Complete" || now?.phase === "Failed");
    expect(status).toMatchObject({
      phase: "Complete",
      bucketMetadata: { versioningStatus: "None" },
      uploadTest: { success: true },
      snapshotSummary: "1/1 passed",
    });
    await client.delete(dataProtectionTests, key);
    await harness.expectNothingLeft();
  });

  it("has labelled and owned everything it made, mended the Secret's line ends, and told of the password that nobody chose", async () => {
    const dpa = await client.get(dataProtectionApplications, { namespace: VELERO, name: EXAMPLE });
    const owner = [expect.objectContaining({ kind: "DataProtectionApplication", name: EXAMPLE, uid: dpa.metadata.uid })];
    const server = await client.get(deployments, { namespace: VELERO, name: "velero" });
    const labels = { "openshift.io/oadp": "True", "app.kubernetes.io/instance": EXAMPLE, "app.kubernetes.io/managed-by": "drayage-operator" };
    expect(server.metadata).toMatchObject({ labels, ownerReferences: owner });
    expect((await client.get(daemonSets, { namespace: VELERO, name: "node-agent" })).metadata).toMatchObject({ labels, ownerReferences: owner });
    const location = await client.get(backupStorageLocations, { namespace: VELERO, name: `${EXAMPLE}-1` });
    expect(location.metadata.ownerReferences).toEqual(owner);
    expect(location.spec.config).toMatchObject({ checksumAlgorithm: "", s3ForcePathStyle: "true" });
    const secret = await client.get(secrets, { namespace: VELERO, name: "cloud-credentials" });
    expect(secret.metadata.labels).toMatchObject({ "openshift.io/oadp": "True", "dataprotectionapplication.name": EXAMPLE });
    expect(Buffer.from(secret.data?.["cloud"] ?? "", "base64").toString()).toBe(CLOUD.replaceAll("\r\n", "\n"));
    expect((await client.list(events, { namespace: VELERO })).items.map(({ reason }) => reason)).toContain("RepositoryPasswordGenerated");
  });
});

describe("an application that changes", () => {
  it("is followed in place: a location is renamed, settings reach the node-agents and go again", async () => {
    const location = example(VELERO).spec.backupLocations?.[0];
    await change({
      backupLocations: [{ ...location, name: "main" }],
      configuration: { nodeAgent: { loadConcurrency: { globalConfig: 3 }, cacheLimitMB: 128 }, velero: { logLevel: "debug" } },
    });
    await harness.until(backupStorageLocations, { namespace: VELERO, name: "main" }, ({ status }) => status?.phase === "Available");
    await gone(backupStorageLocations, VELERO, `${EXAMPLE}-1`);
    const { data } = await client.get(configMaps, { namespace: VELERO, name: `node-agent-${EXAMPLE}` });
    expect(data).toEqual({ "node-agent-config": '{"loadConcurrency":{"globalConfig":3}}' });
    const argsOf = async (): Promise<string[]> =>
      (await client.get(deployments, { namespace: VELERO, name: "velero" })).spec.template.spec.containers[0]?.args ?? [];
    expect(await argsOf()).toEqual(expect.arrayContaining(["--log-level=debug", `--backup-repository-configmap=backup-repository-${EXAMPLE}`]));
    await reconciled(VELERO, EXAMPLE, "True");
    await change({ configuration: { nodeAgent: { loadConcurrency: null, cacheLimitMB: null }, velero: { logLevel: null } } });
    await gone(configMaps, VELERO, `node-agent-${EXAMPLE}`);
    await reconciled(VELERO, EXAMPLE, "True");
    expect((await argsOf()).filter((arg) => /log-level|backup-repository/.test(arg))).toEqual([]);
  });

  it("that is wrong says so and leaves what runs alone, until it is right", async () => {
    const before = await client.get(deployments, { namespace: VELERO, name: "velero" });
    await change({ configuration: { velero: { resourceTimeout: "soon" } } });
    const wrong = conditionOf(await reconciled(VELERO, EXAMPLE, "False"));
    expect(wrong).toMatchObject({ reason: "Error", message: 'spec.configuration.velero.resourceTimeout is "soon": a duration such as 1h30m is wanted' });
    // Its generation also counts the revision that the deployment controller notes on it.
    expect((await client.get(deployments, { namespace: VELERO, name: "velero" })).spec).toEqual(before.spec);
    await change({ configuration: { velero: { resourceTimeout: null } } });
    expect(conditionOf(await reconciled(VELERO, EXAMPLE, "True"))).toMatchObject({ reason: "Complete", message: "Reconcile complete" });
  });

  it("comes back when somebody takes a part of it away", async () => {
    await client.delete(daemonSets, { namespace: VELERO, name: "node-agent" });
    await harness.until(daemonSets, { namespace: VELERO, name: "node-agent" }, ({ metadata }) => metadata.deletionTimestamp === undefined);
    await change({ configuration: { nodeAgent: { enable: false } } });
    await gone(daemonSets, VELERO, "node-agent");
  });

  it("beside a second one is refused like it, and goes on when that one is gone", async () => {
    const second = example(VELERO);
    second.metadata.name = "second";
    await create(second);
    for (const name of [EXAMPLE, "second"])
      expect(conditionOf(await reconciled(VELERO, name, "False"))?.message).toContain("a namespace can have one DataProtectionApplication");
    await client.delete(dataProtectionApplications, { namespace: VELERO, name: "second" });
    await reconciled(VELERO, EXAMPLE, "True");
    expect((await client.list(deployments, { namespace: VELERO })).items.map(({ metadata }) => metadata.name).sort()).toEqual(["drayage-operator", "velero"]);
  });
});

describe("two namespaces", () => {
  /** What the API server says against an object; undefined where it takes it. Nothing is stored. */
  const refusalOf = async <T extends KubeObject>(type: ResourceType<T>, object: T): Promise<string | undefined> => {
    try {
      await client.create(type, object, { dryRun: true });
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  };
  const WRONG = 'parameter "level" must be integer of mover "leveled"';
  const marks = { annotations: { [MOVER_ANNOTATIONS.mover]: "leveled", [MOVER_ANNOTATIONS.parameters]: '{"level":"high"}' } };
  const backupIn = (namespace: string) => refusalOf(backups, { metadata: { namespace, name: "wrong", ...marks }, spec: { datamover: "leveled" } });
  const policies = `version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: snapshot, parameters: {dataMover: absent}}\n`;
  const policiesIn = (namespace: string) => refusalOf(configMaps, { metadata: { namespace, name: "wrong" }, data: { policies } });
  const claim = () =>
    refusalOf(persistentVolumeClaims, {
      metadata: { namespace: "shop", name: "wrong", ...marks },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
    });
  const moverClass = () => refusalOf(dataMoverClasses, { metadata: { name: "wrong" }, spec: { mover: "leveled", parameters: { level: "high" } } });
  const denials = (message: string | undefined): number => (message ?? "").split("denied the request").length - 1;
  const registered = async (): Promise<(string | undefined)[]> =>
    (await client.list(validatingWebhookConfigurations)).items.map(({ metadata }) => metadata.name).sort();

  it("have an installation each", async () => {
    await installOperator(OTHER);
    await create(example(OTHER));
    await works(OTHER);
    await reconciled(VELERO, EXAMPLE, "True");
  });

  it("have their own objects judged by their own webhook, those of the cluster by both with one answer, and those of a third by none", async () => {
    await client.create(namespaces, { metadata: { name: "third" } });
    await client.create(dataMovers, {
      metadata: { name: "leveled" },
      spec: {
        version: "1.0.0",
        description: "With a level",
        image: "leveled",
        command: ["leveled"],
        capabilities: { kinds: ["persistentvolumeclaims"] },
        parameters: { type: "object", properties: { level: { type: "integer", description: "How hard" } } },
      },
    });
    await expect.poll(registered, { timeout: 60_000 }).toEqual([`drayage-${OTHER}`, `drayage-${VELERO}`]);
    for (const namespace of [VELERO, OTHER]) {
      await expect.poll(() => backupIn(namespace), { timeout: 60_000 }).toContain(WRONG);
      expect(denials(await backupIn(namespace))).toBe(1);
      expect(await policiesIn(namespace)).toContain('dataMover is "absent", and there is no such mover');
    }
    for (const judged of [claim, moverClass]) {
      expect(await judged()).toContain(WRONG);
      expect(denials(await judged())).toBe(1);
    }
    for (const namespace of ["third", "shop"]) expect([await backupIn(namespace), await policiesIn(namespace)]).toEqual([undefined, undefined]);
  });

  it("lose only their own with it, and the webhook of the other goes on", async () => {
    await client.delete(dataProtectionApplications, { namespace: OTHER, name: EXAMPLE });
    for (const [type, name] of [
      [deployments, "velero"],
      [daemonSets, "node-agent"],
      [backupStorageLocations, `${EXAMPLE}-1`],
    ] as const)
      await gone(type, OTHER, name);
    await harness.seen(pods, { namespace: OTHER }, (found) =>
      found.every(({ metadata }) => metadata.name?.startsWith("drayage-operator") === true) ? true : undefined,
    );
    expect((await client.get(secrets, { namespace: OTHER, name: "velero-repo-credentials" })).data).toHaveProperty("repository-password");
    expect((await client.get(deployments, { namespace: VELERO, name: "velero" })).metadata.deletionTimestamp).toBeUndefined();
    expect((await client.list(persistentVolumeClaims, { namespace: "shop" })).items).toHaveLength(1);
    expect((await client.get(namespaces, { name: OTHER })).status?.phase).toBe("Active");
    await expect.poll(registered, { timeout: 60_000 }).toEqual([`drayage-${VELERO}`]);
    for (const judged of [() => backupIn(VELERO), claim, moverClass]) expect(await judged()).toContain(WRONG);
    expect([await backupIn(OTHER), await policiesIn(OTHER)]).toEqual([undefined, undefined]);
    await client.delete(dataMovers, { name: "leveled" });
  });
});

describe("a CloudStorage", () => {
  const key = { namespace: OTHER, name: "made" };
  const bucketIsThere = () => existsSync(join(harness.bucketFolder, "..", "made-for-it"));

  it("makes the bucket that a location of the application names, in the store that the location says", async () => {
    const creationSecret = { name: "cloud-credentials", key: "cloud" };
    await client.create(cloudStorages, { metadata: key, spec: { name: "made-for-it", provider: "aws", creationSecret } }, { fieldValidation: "Strict" });
    const dpa = example(OTHER);
    const config = { s3Url: harness.store.url, s3ForcePathStyle: "true" };
    dpa.spec.backupLocations = [
      { name: "main", bucket: { cloudStorageRef: { name: "made" }, prefix: "p", default: true, config, credential: creationSecret } },
    ];
    await create(dpa);
    const { status, metadata } = await harness.until(cloudStorages, key, (found) => found.status?.name !== undefined);
    expect(status).toEqual({ name: "made-for-it", lastSyncTimestamp: expect.stringMatching(/^2/) });
    // OADP puts its finalizer on every one: without an operator none of them could be deleted any more, nor their namespace.
    expect(metadata.finalizers ?? []).toEqual([]);
    await reconciled(OTHER, EXAMPLE, "True");
    await harness.until(backupStorageLocations, { namespace: OTHER, name: "main" }, (location) => location.status?.phase === "Available");
    expect((await client.get(backupStorageLocations, { namespace: OTHER, name: "main" })).spec.objectStorage).toEqual({ bucket: "made-for-it", prefix: "p" });
  });

  it("takes the bucket with it where that is asked for", async () => {
    expect(bucketIsThere()).toBe(true);
    await client.patch(cloudStorages, key, "merge", { metadata: { annotations: { "oadp.openshift.io/cloudstorage-delete": "true" } } });
    await harness.until(cloudStorages, key, ({ metadata }) => metadata.finalizers?.includes("oadp.openshift.io/bucket-protection") === true);
    await client.delete(cloudStorages, key);
    await harness.seen(cloudStorages, { namespace: OTHER }, (found) => (found.length === 0 ? true : undefined));
    expect(bucketIsThere()).toBe(false);
    const reasons = (await client.list(events, { namespace: OTHER })).items.filter(({ involvedObject }) => involvedObject.kind === "CloudStorage");
    expect(reasons.map(({ reason }) => reason)).toEqual(expect.arrayContaining(["BucketCreated", "BucketDeleted"]));
    await client.delete(dataProtectionApplications, { namespace: OTHER, name: EXAMPLE });
    await gone(deployments, OTHER, "velero");
  });

  it("does not wait for an operator that was removed: its bucket stays", async () => {
    const metadata = { ...key, annotations: { "oadp.openshift.io/cloudstorage-delete": "true" } };
    await client.create(cloudStorages, { metadata, spec: { name: "nobody-reaches-it", provider: "aws", creationSecret: { name: "absent", key: "cloud" } } });
    await harness.until(cloudStorages, key, ({ metadata: { finalizers = [] } }) => finalizers.length === 1);
    await client.delete(cloudStorages, key);
    await client.delete(deployments, { namespace: OTHER, name: "drayage-operator" });
    await harness.seen(cloudStorages, { namespace: OTHER }, (found) => (found.length === 0 ? true : undefined));
  });
});

describe("an application that becomes a guest", () => {
  const annotate = (mode: "guest" | null) =>
    client.patch(dataProtectionApplications, { namespace: VELERO, name: EXAMPLE }, "merge", { metadata: { annotations: { "drayage.io/mode": mode } } });
  const conditionTypes = async (): Promise<(string | undefined)[]> =>
    ((await client.get(dataProtectionApplications, { namespace: VELERO, name: EXAMPLE })).status?.conditions ?? []).map(({ type }) => type);
  const ours = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const type of [deployments, daemonSets, services, configMaps, backupStorageLocations, secrets] as (typeof configMaps)[]) {
      const { items } = await client.list(type, { namespace: VELERO, labelSelector: "openshift.io/oadp=True" });
      found.push(...items.map(({ metadata }) => `${type.kind}/${metadata.name}`));
    }
    return found.sort();
  };

  it("gives up everything but node-agents, which are Drayage's own, and says so by its own condition", async () => {
    await change({ configuration: { nodeAgent: { enable: true } } });
    await reconciled(VELERO, EXAMPLE, "True");
    expect(await ours()).toEqual([
      "BackupStorageLocation/main",
      "DaemonSet/node-agent",
      "Deployment/velero",
      "Secret/cloud-credentials",
      "Service/drayage-webhook",
      "Service/openshift-adp-velero-metrics-svc",
    ]);
    await annotate("guest");
    await harness.until(
      daemonSets,
      { namespace: VELERO, name: "drayage-node-agent" },
      ({ status }) => Number((status as { numberReady?: number } | undefined)?.numberReady ?? 0) === 1,
    );
    await harness.until(dataProtectionApplications, { namespace: VELERO, name: EXAMPLE }, ({ status }) =>
      Boolean(status?.conditions?.some(({ type, status: value }) => type === "DrayageReconciled" && value === "True")),
    );
    for (const [type, name] of [
      [deployments, "velero"],
      [daemonSets, "node-agent"],
      [backupStorageLocations, "main"],
    ] as const)
      await gone(type, VELERO, name);
    // The Secret is the user's, and what it is labelled with does no harm.
    expect(await ours()).toEqual(["DaemonSet/drayage-node-agent", "Secret/cloud-credentials"]);
    expect(await conditionTypes()).toEqual(["DrayageReconciled"]);
  });

  it("and one by itself again: its location and its backups are there", async () => {
    await annotate(null);
    await reconciled(VELERO, EXAMPLE, "True");
    await gone(daemonSets, VELERO, "drayage-node-agent");
    expect(await conditionTypes()).toEqual(["Reconciled"]);
    await harness.until(backupStorageLocations, { namespace: VELERO, name: "main" }, ({ status }) => status?.phase === "Available");
    await harness.seen(backups, { namespace: VELERO }, (found) => found.find(({ metadata }) => metadata.name === "shop"));
  });

  it("and removed takes server, node-agents, location and Service with it", async () => {
    await client.delete(dataProtectionApplications, { namespace: VELERO, name: EXAMPLE });
    await gone(deployments, VELERO, "velero");
    await gone(daemonSets, VELERO, "node-agent");
    await gone(backupStorageLocations, VELERO, "main");
    await gone(services as unknown as typeof configMaps, VELERO, "openshift-adp-velero-metrics-svc");
  });
});
