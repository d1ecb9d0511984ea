/**
 * The admission webhook on a real kube-apiserver: it takes the registration as the server makes it, once, and refuses each kind by what the server answers. Nobody forwards to Services
 * there, so the registration is then pointed at the server's address.
 */
import { type Backup, backups, dataMoverClasses, dataMovers, MOVER_ANNOTATIONS, schedules } from "@drayage/api";
import { messageOf, nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type RunningController, startAdmissionWebhookController } from "@drayage/controllers";
import { installManifests, webhookConfigurationName } from "@drayage/install";
import {
  type ConnectedClient,
  configMaps,
  createKubeClient,
  type KubeObject,
  namespaces,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  type ResourceType,
  storageClasses,
  type ValidatingWebhookConfiguration,
  validatingWebhookConfigurations,
} from "@drayage/kube";
import { Authority } from "@drayage/protocols/x509";
import { afterAll, beforeAll, expect, it } from "vitest";
import { applyManifests } from "../../apps/dray/src/cluster/installation.ts";
import { type AdmissionServer, startAdmissionServer } from "../../apps/dray/src/roles/admission-server.ts";
import { quietTerminal } from "../e2e/quiet-terminal.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const NS = "velero";
const CONFIGURATION = { name: webhookConfigurationName(NS) };
const WRONG_LEVEL = `metadata.annotations[${MOVER_ANNOTATIONS.parameters}]: parameter "level" must be >= 1 of mover "tar"`;
let api: RealApiServer;
let client: ConnectedClient;
let served: AdmissionServer;
let controller: RunningController | undefined;

const registered = (): Promise<ValidatingWebhookConfiguration | undefined> => client.find(validatingWebhookConfigurations, CONFIGURATION);

beforeAll(async () => {
  api = await startRealApiServer();
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: api.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: api.token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  client = createKubeClient({ kubeconfig: JSON.stringify(kubeconfig), qps: 0 });
  const manifests = installManifests({ namespace: NS, image: "drayage/dray:test", repositoryPassword: "p", nodeAgent: false });
  await applyManifests(
    client,
    manifests.filter(({ kind }) => kind !== "Deployment"),
    quietTerminal(),
  );
  await client.create(namespaces, { metadata: { name: "shop" } });
  await client.create(dataMovers, {
    metadata: { name: "tar" },
    spec: {
      version: "1.0.0",
      description: "tar",
      image: "tar",
      command: ["tar"],
      capabilities: { kinds: ["persistentvolumeclaims"] },
      parameters: { type: "object", properties: { level: { type: "integer", minimum: 1, description: "How hard" } } },
    },
  });
  const base = { client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: NS };
  controller = startAdmissionWebhookController({
    ...base,
    isServed: true,
    // Also for the address by which the test has it asked.
    issue: async ({ host, ...validity }) => {
      const authority = await Authority.create(systemRandom, { subject: "CN=ca", ...validity });
      return { ...(await authority.issue({ subject: `CN=${host}`, hosts: [host, "127.0.0.1"], ...validity })), authorityPem: authority.pem };
    },
  });
  served = startAdmissionServer({ ...base, address: "127.0.0.1:0", podAddress: undefined });
  await served.listening;
});
afterAll(async () => {
  await controller?.stop();
  await served?.close();
  await client?.close();
  await api?.stop();
});

/** What the API server says against an object; undefined where it takes it. Nothing is stored. */
async function refusalOf<T extends KubeObject>(type: ResourceType<T>, object: T): Promise<string | undefined> {
  try {
    await client.create(type, object, { dryRun: true });
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

const marks = (level: number, mover = "tar") => ({
  annotations: { [MOVER_ANNOTATIONS.mover]: mover, [MOVER_ANNOTATIONS.parameters]: JSON.stringify({ level }) },
});
const backup = (datamover: string, level: number): Backup => ({ metadata: { namespace: NS, name: "b", ...marks(level) }, spec: { datamover } });
const claim = (metadata: object): PersistentVolumeClaim => ({
  metadata: { namespace: "shop", name: "c", ...metadata },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
});
const policies = (level: number) =>
  `version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: snapshot, parameters: {dataMover: tar, dataMoverParameters: {level: ${level}}}}\n`;

it("takes the registration, and says it back so that it is written once", async () => {
  await expect.poll(registered, { timeout: 60_000 }).toBeDefined();
  await controller?.idle();
  const { metadata, webhooks } = (await registered()) ?? { metadata: {} };
  expect(metadata.generation).toBe(1);
  expect(metadata.ownerReferences).toMatchObject([{ kind: "ClusterRole" }]);
  expect(webhooks).toHaveLength(5);
  await controller?.stop();
  controller = undefined;
  for (const webhook of webhooks ?? []) {
    const { caBundle } = webhook.clientConfig;
    const { port } = await served.listening;
    webhook.clientConfig = { url: `https://127.0.0.1:${port}/admit`, ...(caBundle === undefined ? {} : { caBundle }) };
  }
  await client.replace(validatingWebhookConfigurations, { ...(await registered()), metadata, webhooks: webhooks ?? [] });
});

it("refuses each kind with the path of what is wrong", async () => {
  await expect.poll(() => refusalOf(backups, backup("tar", 0)), { timeout: 60_000 }).toContain(WRONG_LEVEL);
  expect(await refusalOf(backups, backup("tape", 1))).toContain('spec.datamover is "tape", and there is no such mover; there is drayage, tar, velero');
  const schedule = { metadata: { namespace: NS, name: "s", ...marks(0) }, spec: { schedule: "0 0 * * *", template: { datamover: "tar" } } };
  expect(await refusalOf(schedules, schedule)).toContain(WRONG_LEVEL);
  expect(await refusalOf(persistentVolumeClaims, claim(marks(0)))).toContain(
    `admission webhook "claims.admission.drayage.io" denied the request: ${WRONG_LEVEL}`,
  );
  expect(await refusalOf(storageClasses, { metadata: { name: "s", ...marks(0) }, provisioner: "p" })).toContain(WRONG_LEVEL);
  expect(await refusalOf(dataMoverClasses, { metadata: { name: "c" }, spec: { mover: "tar", parameters: { level: 0 } } })).toContain(
    'spec.parameters: parameter "level" must be >= 1 of mover "tar"',
  );
  const { spec } = await client.get(dataMovers, { name: "tar" });
  const mute = { ...spec, parameters: { type: "object", properties: { level: { type: "integer" } } } };
  expect(await refusalOf(dataMovers, { metadata: { name: "m" }, spec: mute })).toContain('spec.parameter "level" has no description');
  expect(await refusalOf(configMaps, { metadata: { namespace: NS, name: "p" }, data: { p: policies(0) } })).toContain(
    'volumePolicies[0].action.parameters.dataMoverParameters: parameter "level" must be >= 1 of mover "tar"',
  );
});

it("takes what is right, what may be right later, and what is none of its business", async () => {
  const refusals = [
    await refusalOf(backups, backup("tar", 1)),
    await refusalOf(persistentVolumeClaims, claim(marks(1))),
    await refusalOf(persistentVolumeClaims, claim(marks(0, "tape"))),
    await refusalOf(persistentVolumeClaims, claim({ ...marks(0), labels: { "velero.io/restore-name": "r" } })),
    await refusalOf(configMaps, { metadata: { namespace: NS, name: "p" }, data: { p: policies(1) } }),
    await refusalOf(configMaps, { metadata: { namespace: "shop", name: "p" }, data: { p: policies(0) } }),
    await refusalOf(dataMoverClasses, { metadata: { name: "c" }, spec: { mover: "tape" } }),
  ];
  expect(refusals).toEqual(refusals.map(() => undefined));
});

it("lets everything through while no server is there", async () => {
  await served.close();
  expect(await refusalOf(backups, backup("tape", 0))).toBeUndefined();
});
