/** Nodes that die while volumes move: another one takes over, and what was only cut off and comes back leaves no trace. */
import type { DataDownload, DataUpload } from "@drayage/api";
import { formatTime, systemClock } from "@drayage/base";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { nodes, pods } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { TestCluster } from "./embedded-cluster.ts";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 2, nodeAgentArgs: ["--checkpoint-interval=100ms"] });
  await deployApplication(harness, "shop", { files: { size: "256Mi" } });
  await fillFolder(harness, "shop", "files");
  // Eleven packs of 20 MB: as many as are under way at once before the checkpoint, and some after it.
  await inApplication(harness, "shop", "for i in $(seq 10 27); do head -c 12000000 /dev/urandom > /volumes/files/zz$i; done; sync");
});
afterEach(async () => {
  harness?.heal();
  for (const name of ["node-1", "node-2"]) await setUnschedulable(name, false);
});
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };
const isPack = ({ method, key }: RequestFacts): boolean => method === "PUT" && key.startsWith("kopia/shop/p");
const isIndex = ({ method, key }: RequestFacts): boolean => method === "PUT" && key.startsWith("kopia/shop/x");
const runs = ({ status }: DataUpload | DataDownload): boolean => status?.phase === "InProgress";

/** Only its nodes are processes that can be killed. */
function embedded(): TestCluster {
  if (harness.cluster instanceof TestCluster) return harness.cluster;
  throw new Error("nodes of this cluster cannot be killed");
}

const setUnschedulable = (name: string, unschedulable: boolean): Promise<unknown> =>
  harness.client.patch(nodes, { name }, "merge", { spec: { unschedulable } });

/** Movers come up where the server is not, so that their node can be lost without it. */
async function keepMoversFromServer(): Promise<string> {
  const [server] = await harness.podsOf("server");
  const name = server?.spec.nodeName ?? "";
  await setUnschedulable(name, true);
  return name;
}

/** Kills the kubelet of a node, and lets the cluster take it for dead at once instead of in 100 s. What runs on it runs on. */
async function loseKubelet(name: string): Promise<void> {
  process.kill(embedded().pidOf(name), "SIGKILL");
  const lastTransitionTime = formatTime(systemClock.nowMs() - 70_000);
  const before = (await harness.client.get(nodes, { name })).status?.conditions ?? [];
  const conditions = before.map((condition) => (condition.type === "Ready" ? { ...condition, status: "Unknown" as const, lastTransitionTime } : condition));
  await harness.client.patchStatus(nodes, { name }, "merge", { status: { conditions } });
}

/** The node comes back, and its kubelet with it. */
async function bringBack(name: string): Promise<void> {
  await embedded().up({ nodes: 2 });
  await harness.until(nodes, { name }, ({ status }) => status?.conditions?.find(({ type }) => type === "Ready")?.status === "True");
}

describe("a node that dies", () => {
  it("leaves its DataUpload to another one, which goes on from the checkpoint; its mover, which was only cut off, leaves no second snapshot", async () => {
    const spared = await keepMoversFromServer();
    // The store is slow until a checkpoint is there, and takes nothing more after it.
    let checkpoints = 0;
    const slow = (request: RequestFacts): boolean => {
      if (isIndex(request)) checkpoints++;
      return isPack(request) && checkpoints === 0;
    };
    // Nor does it take anything before its checkpoints are counted.
    const start = harness.hold(isPack);
    harness.store.faults.add({ matches: slow, fault: { kind: "delay", ms: 400 } });
    await harness.startBackup("adopted", ofShop);
    await start.reached;
    const first = await harness.upload("adopted", runs);
    const lost = first.status?.node ?? "";
    expect(lost).not.toBe(spared);
    checkpoints = 0;
    const hold = harness.hold((request) => isPack(request) && checkpoints > 0);
    start.release();
    await hold.reached;
    const frozen = await harness.processesOf(first.metadata.name ?? "");
    for (const pid of frozen) process.kill(pid, "SIGSTOP");
    await setUnschedulable(spared, false);
    await loseKubelet(lost);
    hold.release();

    const adopted = await harness.upload("adopted", (upload) => upload.metadata.annotations?.["drayage.io/epoch"] === "1" && runs(upload));
    expect(adopted.status).toMatchObject({ node: spared, acceptedByNode: spared });
    expect(adopted.status?.message).toBe(`taken over by node "${spared}" (1 of at most 3 times): node "${lost}" is not ready`);
    expect((await harness.endOfBackup("adopted")).status).toMatchObject({ phase: "Completed" });
    const [snapshot, ...more] = await harness.repository("shop", async (repository) => (await repository.snapshots.list()).snapshots);
    expect(more).toEqual([]);
    expect(snapshot?.id).toBe((await harness.upload("adopted")).status?.snapshotID);
    // A first backup has no other parent than the checkpoint.
    expect(snapshot?.stats.cachedFiles).toBeGreaterThan(0);

    for (const pid of frozen) process.kill(pid, "SIGCONT");
    await harness.untilEnded(frozen);
    expect(await harness.verifyRepository("shop")).toBe(1);
    await bringBack(lost);
    await harness.expectNothingLeft();
    const described = await harness.dray("data-upload", "describe", first.metadata.name ?? "");
    expect(described).toContain(`Warning  TakenOver  taken over by node "${spared}" (1 of at most 3 times): node "${lost}" is not ready`);
    expect(described).toMatch(/Normal {2}Completed {2}data upload completed/);
  });

  it("leaves its DataDownload to another one, which fills a new volume", async () => {
    const spared = await keepMoversFromServer();
    const hold = harness.hold(({ method, key }) => method === "GET" && key.startsWith("kopia/shop/p"));
    await harness.startRestore("adopted", { backupName: "adopted", namespaceMapping: { shop: "copy" } });
    await hold.reached;
    const first = await harness.download("adopted", runs);
    const lost = first.status?.node ?? "";
    expect(lost).not.toBe(spared);
    const processes = await harness.processesOf(first.metadata.name ?? "");
    await setUnschedulable(spared, false);
    await loseKubelet(lost);
    for (const pid of processes) process.kill(pid, "SIGKILL");
    hold.release();
    const { status } = await harness.download("adopted", ({ status: now }) => now?.phase === "Completed");
    expect(status?.node).toBe(spared);
    await bringBack(lost);
    expect((await harness.endOfRestore("adopted")).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "copy");
    expect(await factsOf(harness, "copy", "files")).toBe(await factsOf(harness, "shop", "files"));
    await harness.expectNothingLeft();
  });
});

describe("a mover that is evicted, as by draining its node", () => {
  it("is started anew elsewhere, and its DataUpload completes", async () => {
    await inApplication(harness, "shop", "head -c 1000000 /dev/urandom > /volumes/files/more; sync");
    const hold = harness.hold(isPack);
    await harness.startBackup("drained", ofShop);
    await hold.reached;
    const running = await harness.upload("drained", runs);
    const [name, node] = [running.metadata.name ?? "", running.status?.node ?? ""];
    await setUnschedulable(node, true);
    const path = `/api/v1/namespaces/${VELERO}/pods/${name}/eviction`;
    await harness.client.request("POST", path, { body: { apiVersion: "policy/v1", kind: "Eviction", metadata: { namespace: VELERO, name } } });
    hold.release();
    expect((await harness.endOfBackup("drained")).status).toMatchObject({ phase: "Completed" });
    const ended = await harness.upload("drained");
    expect(ended.status?.node).not.toBe(node);
    expect(ended.metadata.annotations?.["drayage.io/epoch"]).toBe("1");
    expect(await harness.verifyRepository("shop")).toBe(2);
    expect(await harness.client.find(pods, { namespace: VELERO, name })).toBeUndefined();
    await harness.expectNothingLeft();
  });
});
