/**
 * A real Velero with its own node-agents: they move volumes of pods and of virtual machines with kopia, once in full and once what changed, and read a pod's volumes as files. What they
 * stored comes back by Drayage in another cluster, from the bucket and the password alone; snapshots that stay with the storage come back where Drayage takes Velero's place.
 */

import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backups, type DataUpload, dataUploads, type PodVolumeBackup, podVolumeBackups } from "@drayage/api";
import { systemClock } from "@drayage/base";
import { clusterRoleBindings, configMaps, daemonSets, deployments, namespaces, pods, type ResourceType, secrets, serviceAccounts } from "@drayage/kube";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REPOSITORY_PASSWORD, VELERO } from "../e2e/harness.ts";
import { deployApplication, fillFolder, startApplication, untilRunning } from "../e2e/sample-application.ts";
import { defineMachines, machines, startMachine } from "../e2e/virtual-machine.ts";
import { factsOfAll, MACHINE_VOLUMES, POD_AND_MACHINE, POD_VOLUMES, type WrittenVolumes, writeMore } from "../e2e/written-volumes.ts";
import { freePort, peer } from "./peers.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

const IMAGE = "velero/velero:test";
/** The pages are read as files, through the pod. */
const VOLUMES: readonly WrittenVolumes[] = [...POD_AND_MACHINE, { namespace: "notes", folder: "pages" }];

let there: Harness;
let here: Harness | undefined;
let velero: RealVelero | undefined;

beforeAll(async () => {
  const imageMap = [{ pattern: "velero/velero:*", mounts: [{ source: peer("velero-without-metrics"), target: "/velero", readOnly: true }] }];
  there = await Harness.start({ nodes: 1, imageMap, installBy: installVelero });
  await deployApplication(there, "shop", POD_VOLUMES);
  await startMachine(there, "vms", MACHINE_VOLUMES);
  await deployApplication(there, "notes", { pages: {} });
  await there.client.patch(pods, { namespace: "notes", name: "app" }, "merge", { metadata: { annotations: { "backup.velero.io/backup-volumes": "pages" } } });
  for (const { namespace, folder } of VOLUMES) await fillFolder(there, namespace, folder);
  await writeMore(there, VOLUMES, 1);
}, 600_000);
afterAll(async () => {
  await velero?.stop();
  await here?.destroy();
  await there?.destroy();
});

async function installVelero(harness: Harness): Promise<void> {
  const { client } = harness;
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
  // Velero looks for new kinds every five minutes.
  await defineMachines(harness);
  const password = Buffer.from(REPOSITORY_PASSWORD).toString("base64");
  const credentials = { namespace: VELERO, name: "velero-repo-credentials" };
  await client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: credentials, data: { "repository-password": password } });
  velero = await startRealVelero(harness, "velero-without-metrics");
  await client.create(serviceAccounts, { metadata: { namespace: VELERO, name: "velero" } });
  await client.create(clusterRoleBindings, {
    metadata: { name: "velero" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", namespace: VELERO, name: "velero" }],
  });
  const settings = JSON.stringify({ loadConcurrency: { globalConfig: 4 } });
  await client.create(configMaps, { metadata: { namespace: VELERO, name: "agent-settings" }, data: { settings } });
  const labels = { name: "node-agent", role: "node-agent" };
  const fromField = (name: string, fieldPath: string) => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  await client.create(daemonSets, {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { namespace: VELERO, name: "node-agent" },
    spec: {
      selector: { matchLabels: { name: "node-agent" } },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: "velero",
          securityContext: { runAsUser: 0 },
          containers: [
            {
              name: "node-agent",
              image: IMAGE,
              command: ["/velero"],
              args: ["node-agent", "server", "--node-agent-configmap=agent-settings", `--metrics-address=127.0.0.1:${await freePort()}`],
              env: [
                fromField("NODE_NAME", "spec.nodeName"),
                fromField("VELERO_NAMESPACE", "metadata.namespace"),
                { name: "VELERO_SCRATCH_DIR", value: "/scratch" },
                { name: "AWS_SHARED_CREDENTIALS_FILE", value: "/credentials/cloud" },
              ],
              volumeMounts: [
                { name: "host-pods", mountPath: "/host_pods", mountPropagation: "HostToContainer" },
                { name: "scratch", mountPath: "/scratch" },
                { name: "cloud-credentials", mountPath: "/credentials" },
              ],
            },
          ],
          volumes: [
            { name: "host-pods", hostPath: { path: "/var/lib/kubelet/pods" } },
            { name: "scratch", emptyDir: {} },
            { name: "cloud-credentials", secret: { secretName: "cloud-credentials" } },
          ],
        },
      },
    },
  });
  await harness.until(daemonSets, { namespace: VELERO, name: "node-agent" }, ({ status }) => status?.["numberReady"] === 1);
}

const facts = (harness: Harness, suffix?: string): Promise<Record<string, string>> => factsOfAll(harness, VOLUMES, suffix);

async function backUp(name: string): Promise<void> {
  const { cli } = velero as RealVelero;
  const ended = new AbortController();
  const watching = rewriteInProgress(ended.signal);
  try {
    await cli("backup", "create", name, "--wait", "--include-namespaces", VOLUMES.map(({ namespace }) => namespace).join(), "--snapshot-move-data");
  } finally {
    ended.abort();
    await watching;
  }
  const { status } = await there.endOfBackup(name);
  if (status?.phase !== "Completed") throw new Error(`${await cli("backup", "describe", name, "--details")}\n${await cli("backup", "logs", name)}`);
}

/**
 * Velero 1.18.3 hears of a mover pod that runs twice when it comes up at once, as here. The second time it may write Prepared over the InProgress that it has just written, and its mover,
 * which is told to begin by that, waits for hours. What is Prepared twice in a row is written as it was.
 */
async function rewriteInProgress(signal: AbortSignal): Promise<void> {
  let before: readonly string[] = [];
  for (;;) {
    await systemClock.sleep(5_000, signal).catch(() => undefined);
    if (signal.aborted) return;
    const all = [dataUploads, podVolumeBackups] as readonly ResourceType<DataUpload | PodVolumeBackup>[];
    const prepared: string[] = [];
    for (const type of all) {
      for (const { metadata, status } of (await there.client.list(type, { namespace: VELERO })).items) {
        const { name = "", uid = "" } = metadata;
        if (status?.phase !== "Prepared") continue;
        prepared.push(uid);
        if (before.includes(uid)) await there.client.patch(type, { namespace: VELERO, name }, "merge", { status: { phase: "InProgress" } });
      }
    }
    before = prepared;
  }
}

/** Bytes of the repositories. */
function stored(): number {
  const folder = join(there.bucketFolder, "kopia");
  return readdirSync(folder, { recursive: true, withFileTypes: true }).reduce(
    (sum, entry) => sum + (entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 0),
    0,
  );
}

describe("what a real Velero and its node-agents have stored", () => {
  let first: Record<string, string>;
  let second: Record<string, string>;

  it("is a full backup, and one that stored what changed alone", async () => {
    first = await facts(there);
    await backUp("first");
    const full = stored();
    await writeMore(there, VOLUMES, 8);
    second = await facts(there);
    await backUp("second");
    expect(stored() - full).toBeLessThan(full * 0.7);
    expect((await there.uploads("second", 4)).map(({ spec, status }) => [spec.datamover ?? "", status?.phase])).toEqual(Array(4).fill(["", "Completed"]));
    expect(
      (await there.client.list(podVolumeBackups, { namespace: VELERO })).items.map(({ spec, status }) => [spec.volume, spec.uploaderType, status?.phase]),
    ).toEqual(Array(2).fill(["pages", "kopia", "Completed"]));
  }, 600_000);

  it("comes back where Drayage runs alone: files and devices of pods and machines, and the files of a pod that was read while it ran", async () => {
    here = await there.another({ nodes: 1, serverArgs: ["--backup-sync-period=2s"] });
    await defineMachines(here);
    for (const name of ["first", "second"]) await here.until(backups, { namespace: VELERO, name }, ({ status }) => status?.phase === "Completed");
    const namespaceMapping = Object.fromEntries(VOLUMES.map(({ namespace }) => [namespace, `${namespace}-before`]));
    // One after the other: both at once take a slow machine longer than is waited for one.
    const ends = [await here.restore("first", { backupName: "first", namespaceMapping }), await here.restore("second", { backupName: "second" })];
    for (const { metadata, status } of ends) {
      const results = JSON.stringify(await here.resultsOf("restore", metadata.name ?? ""));
      expect(status, results).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 4 });
    }
    for (const suffix of ["", "-before"]) {
      expect((await here.client.get(machines, { namespace: `vms${suffix}`, name: "vm" }))["spec"]).toMatchObject({ runStrategy: "Always" });
      await startApplication(here, `vms${suffix}`, MACHINE_VOLUMES);
      for (const namespace of ["shop", "notes"]) await untilRunning(here, `${namespace}${suffix}`);
    }
    expect(await facts(here)).toEqual(second);
    expect(await facts(here, "-before")).toEqual(first);
  }, 600_000);
});

/** Drayage where Velero was, over its backups, locations and Secrets: what ran of it goes first. */
async function replaceVelero(): Promise<void> {
  await velero?.stop();
  velero = undefined;
  await there.client.delete(deployments, { namespace: VELERO, name: "velero" });
  await there.client.delete(daemonSets, { namespace: VELERO, name: "node-agent" });
  await there.client.delete(clusterRoleBindings, { name: "velero" });
  const keys = join(there.cluster.directory, "..", "keys");
  writeFileSync(keys, `[default]\naws_access_key_id=${KEYS.accessKeyId}\naws_secret_access_key=${KEYS.secretAccessKey}\n`, { mode: 0o600 });
  const config = Object.entries(there.locationConfig).map(([key, value]) => `${key}=${value}`);
  const store = ["--provider", "aws", "--bucket", BUCKET, "--backup-location-config", config.join(), "--secret-file", keys];
  await there.dray("install", ...store, "--image", "drayage/dray:e2e", "--adopt", "--wait");
}

describe("snapshots that a real Velero has left with the storage", () => {
  it("come back where Drayage has taken its place: files and devices of pods and machines", async () => {
    const { cli } = velero as RealVelero;
    await writeMore(there, POD_AND_MACHINE, 12);
    const wanted = await factsOfAll(there, POD_AND_MACHINE);
    const namespaces = POD_AND_MACHINE.map(({ namespace }) => namespace);
    await cli("backup", "create", "kept", "--wait", "--include-namespaces", namespaces.join());
    expect((await there.endOfBackup("kept")).status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsCompleted: 4 });
    await replaceVelero();
    for (const namespace of namespaces) await there.deleteNamespace(namespace);
    const { status } = await there.restore("kept", { backupName: "kept" });
    expect(status, JSON.stringify(await there.resultsOf("restore", "kept"))).toMatchObject({ phase: "Completed" });
    await startApplication(there, "vms", MACHINE_VOLUMES);
    await untilRunning(there, "shop");
    expect(await factsOfAll(there, POD_AND_MACHINE)).toEqual(wanted);
  }, 600_000);
});
