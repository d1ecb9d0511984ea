import { dataDownloads, type Restore, restores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import {
  deployments,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
  replicaSets,
} from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, endDownloads, eventually, NAMESPACE, newRestore, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { mountedBy, splitAtData } from "./data-first.ts";
import { startRestoreController } from "./restore-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

/** A restore, in the ordered mode unless told otherwise, whose volumes have their DataDownloads, and no data yet. */
async function waitingForData(spec: Restore["spec"] = {}, annotations: Record<string, string> = { "drayage.io/data-first": "true" }) {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  const { client, clock, discovery } = cluster;
  const deps = { client, clock, discovery, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" };
  running.push(startRestoreController(deps), startRestoreOperationsController(deps));
  const restore = newRestore("back", spec);
  await client.create<Restore>(restores, { ...restore, metadata: { ...restore.metadata, annotations } });
  await eventually(clock, () => (client.all(dataDownloads).length === 2 && client.all(persistentVolumeClaims).length >= 2 ? true : undefined));
  // Whatever was going to be created without waiting is there after this.
  for (let i = 0; i < 20; i++) await clock.advance(500);
  const workloads = () =>
    [pods, replicaSets, deployments]
      .flatMap((type) => client.all(type as ResourceType<Pod>))
      .filter(({ metadata }) => metadata.namespace === "notes")
      .map(({ kind, metadata }) => `${kind}/${metadata.name}`);
  const phase = () => client.peek(restores, { namespace: NAMESPACE, name: "back" })?.status?.phase;
  return { cluster, client, clock, store, workloads, phase };
}

function bindClaims(client: FakeKubeClient, ...names: string[]): void {
  for (const name of names) {
    client.seed<PersistentVolume>(persistentVolumes, { metadata: { name: `pv-${name}` }, spec: {}, status: { phase: "Bound" } });
    client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace: "notes", name }, (claim) => {
      claim.spec.volumeName = `pv-${name}`;
      claim.status = { phase: "Bound" };
    });
  }
}

describe("a restore that puts data first", () => {
  it("creates no workload until every volume has its data", async () => {
    const { cluster, client, workloads, phase } = await waitingForData();
    expect(phase()).toBe("InProgress");
    expect(workloads()).toEqual([]);
    endDownloads(client, { phase: "Completed", progress: { bytesDone: 9, totalBytes: 9 } });
    const { status } = await restoreIn(cluster, "back", "Finalizing", "WaitingForPluginOperations", "Completed");
    expect(status).toMatchObject({ restoreItemOperationsAttempted: 2 });
    expect(
      workloads()
        .map((name) => name.split("/")[0])
        .sort(),
    ).toEqual(["Deployment", "Pod", "ReplicaSet"]);
  });

  it("has the mover choose the node of a volume that waits for its first consumer", async () => {
    const { client } = await waitingForData();
    for (const { metadata } of client.all(dataDownloads)) expect(metadata.annotations?.["drayage.io/ignore-delay-binding"]).toBe("true");
  });

  it("waits also for claims that only come along with their pod", async () => {
    const { workloads } = await waitingForData({ includedNamespaces: ["notes"], labelSelector: { matchLabels: { "pod-template-hash": "5689f8c9c9" } } });
    expect(workloads()).toEqual([]);
  });

  it("leaves out what mounts a volume that was not filled, and says so", async () => {
    const { cluster, client, store, workloads } = await waitingForData();
    endDownloads(client, { phase: "Failed", message: "disk is full" });
    await restoreIn(cluster, "back", "FinalizingPartiallyFailed", "WaitingForPluginOperationsPartiallyFailed", "PartiallyFailed");
    expect(workloads()).toEqual([]);
    expect(store.restores.get("back")?.results?.errors.namespaces?.["notes"]?.join("\n")).toMatch(
      /error restoring pods\/notes\/.*: it mounts claim "(files|disk)", which was to be filled before it and was not: disk is full/,
    );
  });

  it("goes on when the data takes longer than its limit", async () => {
    const { clock, cluster, store, workloads } = await waitingForData({ itemOperationTimeout: "10m0s" });
    await clock.advance(600_000);
    await restoreIn(cluster, "back", "FinalizingPartiallyFailed", "WaitingForPluginOperationsPartiallyFailed", "PartiallyFailed");
    expect(workloads()).toEqual([]);
    expect(JSON.stringify(store.restores.get("back")?.results)).toContain("Asynchronous action timed out");
  });
});

describe("hooks after a restore", () => {
  // The recorded pod has one by annotation, without a limit of its own: the server's 10 minutes hold.
  it("have their whole time when the data took longer than that", async () => {
    const { cluster, client, clock } = await waitingForData({}, {});
    const commands: string[] = [];
    client.handlers.podExec = ({ name }, { command }) => {
      commands.push(`${name.split("-")[0]}: ${command.join(" ")}`);
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    await clock.advance(3_600_000);
    expect(commands).toEqual([]);
    endDownloads(client, { phase: "Completed", progress: { bytesDone: 9, totalBytes: 9 } });
    bindClaims(client, "files", "disk", "fsb");
    await clock.advance(25_000);
    expect(commands).toEqual([]);
    for (const { metadata } of client.all(pods).filter((pod) => pod.metadata.namespace === "notes"))
      client.mutate(pods, { namespace: "notes", name: metadata.name ?? "" }, (pod) => {
        const containerStatuses = pod.spec.containers.map(({ name }) => ({ name, ready: true, restartCount: 0, state: { running: {} } }));
        pod.status = { phase: "Running", containerStatuses };
      });
    const { status } = await restoreIn(cluster, "back", "Completed", "PartiallyFailed");
    expect(status?.hookStatus).toEqual({ hooksAttempted: 1 });
    expect(commands).toEqual(["web: /bin/sh -c cat /files/a"]);
  });

  it("run in a pod once its own data is there, whatever others still wait for", async () => {
    const { cluster, client } = await waitingForData({}, {});
    const commands: string[] = [];
    client.handlers.podExec = ({ name }, { command }) => {
      commands.push(`${name}: ${command.join(" ")}`);
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    // A second pod, which mounts only one of the two claims.
    const [web] = client.all(pods).filter(({ metadata }) => metadata.namespace === "notes");
    const annotations = { "post.hook.restore.velero.io/command": "hello" };
    const running = { name: "web", ready: true, restartCount: 0, state: { running: {} } };
    client.seed<Pod>(pods, {
      metadata: { namespace: "notes", name: "early", annotations, labels: web?.metadata.labels ?? {} },
      spec: { containers: [{ name: "web" }], volumes: [{ name: "files", persistentVolumeClaim: { claimName: "files" } }] },
      status: { phase: "Running", containerStatuses: [running] },
    });
    const of = (claim: string) => client.all(dataDownloads).find(({ spec }) => spec.targetVolume.pvc === claim)?.metadata.name ?? "";
    client.mutate(dataDownloads, { namespace: NAMESPACE, name: of("files") }, (download) => {
      download.status = { phase: "Completed" };
    });
    await eventually(cluster.clock, () => (commands.length > 0 ? true : undefined));
    expect(commands).toEqual(["early: hello"]);
    expect(client.peek(restores, { namespace: NAMESPACE, name: "back" })?.status?.phase).toBe("WaitingForPluginOperations");
  });

  it("fail at once in a pod whose data did not come back", async () => {
    const { cluster, client, store } = await waitingForData({}, {});
    endDownloads(client, { phase: "Failed", message: "disk is full" });
    bindClaims(client, "fsb");
    const { status } = await restoreIn(cluster, "back", "PartiallyFailed");
    expect(status?.hookStatus).toEqual({ hooksAttempted: 1, hooksFailed: 1 });
    expect(JSON.stringify(store.restores.get("back")?.results?.errors)).toMatch(/Cannot run hook .*the data of its claim .* was not restored: disk is full/);
  });
});

describe("splitAtData()", () => {
  it("keeps the order on both sides, and takes custom resources for workloads", () => {
    expect(splitAtData(["namespaces", "persistentvolumeclaims", "databases.example.com", "secrets", "pods"])).toEqual({
      before: ["namespaces", "persistentvolumeclaims", "secrets"],
      after: ["databases.example.com", "pods"],
    });
  });
});

describe("mountedBy()", () => {
  const volumes = [{ name: "v", persistentVolumeClaim: { claimName: "data" } }];
  it.each([
    ["a pod", { spec: { volumes } }],
    ["a template", { spec: { template: { spec: { volumes } } } }],
    ["a template of jobs", { spec: { jobTemplate: { spec: { template: { spec: { volumes } } } } } }],
  ])("finds the claims of %s", (_what, object) => {
    expect(mountedBy({ metadata: { name: "x" }, ...object }, ["data", "other"])).toEqual(["data"]);
  });

  it("finds the claims that a StatefulSet makes", () => {
    const set = { metadata: { name: "db" }, spec: { volumeClaimTemplates: [{ metadata: { name: "data" } }] } };
    expect(mountedBy(set, ["data-db-0", "data-db-12", "data-db-x", "data-other-0"])).toEqual(["data-db-0", "data-db-12"]);
  });
});
