/** An installation by the operator: the example of OADP's documentation as it is, and what its users do with it afterwards. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { backupStorageLocations, type DataProtectionApplication, dataDownloads, dataMovers, dataProtectionApplications, dataUploads } from "@drayage/api";
import { type ConnectedClient, configMaps, daemonSets, deployments, events, namespaces, persistentVolumeClaims, pods, secrets } from "@drayage/kube";
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
    expect((await client.get(deployments, { namespace: VELERO, name: "velero" })).metadata.generation).toBe(before.metadata.generation);
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
  it("have an installation each, and lose only their own with it", async () => {
    await installOperator(OTHER);
    await create(example(OTHER));
    await works(OTHER);
    await reconciled(VELERO, EXAMPLE, "True");
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
  });
});
