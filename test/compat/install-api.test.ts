/**
 * What `dray install` creates, and the Helm chart, on a real kube-apiserver: every object passes its validation, field by field, and its pod security admission lets the pods of server
 * and node-agents into a namespace that enforces `restricted`. There are no controllers: nothing runs.
 */
import { replicationDestinations, replicationSources } from "@drayage/api";
import { helmChart, installManifests, type Manifest } from "@drayage/install";
import { renderChart } from "@drayage/install/testing";
import {
  type ConnectedClient,
  createKubeClient,
  customResourceDefinitions,
  namespaces,
  type Pod,
  pods,
  type ResourceType,
  serviceAccounts,
} from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { applyManifests, removeInstallation, typeOfManifest } from "../../apps/dray/src/cluster/installation.ts";
import { quietTerminal } from "../e2e/quiet-terminal.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const NAMESPACE = "velero";
let server: RealApiServer;
let client: ConnectedClient;

beforeAll(async () => {
  server = await startRealApiServer();
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: server.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: server.token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  client = createKubeClient({ kubeconfig: JSON.stringify(kubeconfig), qps: 0 });
});
afterAll(async () => {
  await client?.close();
  await server?.stop();
});

const manifests = installManifests({
  namespace: NAMESPACE,
  image: "drayage/dray:0.1.0",
  repositoryPassword: "password of the test",
  credentials: "[default]\n",
  nodeAgent: true,
  location: { name: "default", provider: "aws", bucket: "b", config: { region: "r" } },
});

/** The pod of a workload as a controller would make it. */
function podOf(kind: string, namespace: string): Pod {
  const workload = manifests.find((manifest) => manifest.kind === kind) as unknown as { spec: { template: { metadata: object; spec: Pod["spec"] } } };
  const { metadata, spec } = workload.spec.template;
  return { metadata: { ...metadata, name: kind.toLowerCase(), namespace }, spec };
}

const exists = async (manifest: Manifest): Promise<boolean> =>
  (await client.find(typeOfManifest(manifest) as ResourceType, { name: manifest.metadata.name, namespace: manifest.metadata.namespace })) !== undefined;

describe("an installation on a real API server", () => {
  it("is created whole, and again without a change", async () => {
    await applyManifests(client, manifests, quietTerminal());
    for (const manifest of manifests) expect(await exists(manifest), `${manifest.kind} ${manifest.metadata.name}`).toBe(true);
    const versions = async () =>
      Promise.all(
        manifests
          .filter(({ kind }) => kind !== "CustomResourceDefinition")
          .map(async (manifest) => {
            const found = await client.get(typeOfManifest(manifest) as ResourceType, { name: manifest.metadata.name, namespace: manifest.metadata.namespace });
            return found.metadata.resourceVersion;
          }),
      );
    const before = await versions();
    await applyManifests(client, manifests, quietTerminal());
    expect(await versions()).toEqual(before);
  });

  it("has no field that the server does not know", async () => {
    for (const manifest of manifests.filter(({ kind }) => !["CustomResourceDefinition", "Namespace"].includes(kind))) {
      const type = typeOfManifest(manifest) as ResourceType;
      const renamed = { ...manifest, metadata: { ...manifest.metadata, name: `${manifest.metadata.name}-strict` } };
      await client.create(type, renamed as never, { fieldValidation: "Strict" });
      await client.delete(type, { name: renamed.metadata.name, namespace: renamed.metadata.namespace });
    }
  });

  it("has a chart whose objects are the same", async () => {
    const rendered = renderChart(helmChart("0.1.0"), {
      namespace: NAMESPACE,
      values: { credentials: "[default]\n", repositoryPassword: "password of the test", location: { bucket: "b", config: { region: "r" } } },
    }) as Manifest[];
    const before = new Map<string, string | undefined>();
    const key = ({ kind, metadata }: Manifest): string => `${kind}/${metadata.name}`;
    const version = async (manifest: Manifest) =>
      (await client.get(typeOfManifest(manifest) as ResourceType, { name: manifest.metadata.name, namespace: manifest.metadata.namespace })).metadata
        .resourceVersion;
    for (const manifest of rendered) before.set(key(manifest), await version(manifest));
    await applyManifests(client, rendered, quietTerminal());
    for (const manifest of rendered.filter(({ kind }) => kind !== "CustomResourceDefinition"))
      expect(await version(manifest), key(manifest)).toBe(before.get(key(manifest)));
    expect(rendered.map(key).sort()).toEqual(
      manifests
        .filter(({ kind }) => kind !== "Namespace")
        .map(key)
        .sort(),
    );
  });

  it("is let into a namespace that enforces the restricted standard, which turns a root pod away", async () => {
    const name = "restricted";
    await client.create(namespaces, {
      metadata: { name, labels: { "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest" } },
    });
    for (const account of ["drayage", "node-agent"]) await client.create(serviceAccounts, { metadata: { name: account, namespace: name } });
    for (const kind of ["Deployment", "DaemonSet"]) expect((await client.create(pods, podOf(kind, name))).metadata.name).toBe(kind.toLowerCase());
    const root = podOf("Deployment", name);
    await expect(
      client.create(pods, { metadata: { name: "root", namespace: name }, spec: { ...root.spec, securityContext: { runAsUser: 0 } } }),
    ).rejects.toMatchObject({
      message: expect.stringContaining('violates PodSecurity "restricted:latest"'),
    });
  });

  it("accepts a ReplicationSource and a ReplicationDestination as VolSync's users write them, field by field", async () => {
    const restic = {
      repository: "restic-config",
      copyMethod: "Snapshot",
      cacheCapacity: "1Gi",
      moverSecurityContext: { runAsUser: 1000 },
      moverServiceAccount: "velero",
    };
    const metadata = { namespace: "default", name: "data" };
    const source = {
      ...{ apiVersion: "volsync.backube/v1alpha1", kind: "ReplicationSource", metadata },
      spec: {
        sourcePVC: "data",
        trigger: { schedule: "*/30 2 * * 1" },
        restic: { ...restic, copyMethod: "None" as const, pruneIntervalDays: 15, retain: { daily: 1, within: "3d" } },
      },
    };
    const destination = {
      ...{ apiVersion: "volsync.backube/v1alpha1", kind: "ReplicationDestination", metadata },
      spec: {
        trigger: { manual: "one" },
        restic: {
          ...restic,
          copyMethod: "Snapshot" as const,
          capacity: "10Gi",
          accessModes: ["ReadWriteOnce"],
          previous: 1,
          restoreAsOf: "2026-05-01T12:00:00Z",
        },
      },
    };
    const made = await client.create(replicationSources, source, { fieldValidation: "Strict" });
    await client.replaceStatus(replicationSources, { ...made, status: { lastManualSync: "one", restic: { lastPruned: "2026-05-01T12:00:00Z" } } });
    await client.create(replicationDestinations, destination, { fieldValidation: "Strict" });
    const wrong = { ...source, metadata: { ...metadata, name: "wrong" }, spec: { ...source.spec, trigger: { schedule: "now and then" } } };
    await expect(client.create(replicationSources, wrong)).rejects.toMatchObject({ code: "KUBE_INVALID" });
    expect((await client.get(replicationSources, metadata)).status).toMatchObject({ lastManualSync: "one" });
  });

  it("leaves a definition alone that VolSync brought, also when everything goes", async () => {
    const name = "replicationdestinations.volsync.backube";
    await client.patch(customResourceDefinitions, { name }, "json", [{ op: "remove", path: "/metadata/labels/component" }]);
    const before = await client.get(customResourceDefinitions, { name });
    const definition = manifests.filter(({ metadata }) => metadata.name === name);
    await applyManifests(client, definition, quietTerminal());
    expect((await client.get(customResourceDefinitions, { name })).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    expect(await removeInstallation(client, definition, { withKinds: true, limitMs: 30_000 }, quietTerminal())).toEqual([]);
    expect((await client.get(customResourceDefinitions, { name })).metadata.uid).toBe(before.metadata.uid);
  });

  it("goes again with everything that it brought", async () => {
    // Without controllers a namespace never ends; all else is gone, and the kinds and what they hold stay.
    const ended = removeInstallation(
      client,
      manifests.filter(({ kind }) => kind !== "Namespace"),
      { withKinds: false, limitMs: 30_000 },
      quietTerminal(),
    );
    expect((await ended).length).toBe(manifests.filter(({ kind }) => !["Namespace", "CustomResourceDefinition"].includes(kind)).length);
    for (const manifest of manifests) expect(await exists(manifest)).toBe(["Namespace", "CustomResourceDefinition"].includes(manifest.kind));
  });
});
