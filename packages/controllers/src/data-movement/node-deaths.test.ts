/**
 * Nodes that lose power, or only their network, at every step of a DataUpload and a DataDownload, and at any time by seed. What must hold: every object reaches one end and stays there,
 * a snapshot that is told of is the only one of its DataUpload, no volume is in the hands of two movers, and nothing is left that nobody owns.
 */
import {
  backupStorageLocations,
  type DataDownload,
  type DataUpload,
  dataDownloads,
  dataUploads,
  LABELS,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger, type RandomSource } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type KubeObject, keyOf, persistentVolumeClaims, persistentVolumes, pods, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import { SimulatedNodes } from "../testing/simulated-nodes.ts";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { dataMoverClaims } from "./data-movers.ts";
import { startNodeAgent } from "./node-agent.ts";

const NS = "velero";
const STEP_MS = 5_000;
/** A seed that found something once stays here. */
const SEEDS = [1, 2, 4, 5, 7, 8, 9, 10];

type Agent = { stop(): Promise<void> };

interface World {
  readonly clock: VirtualClock;
  readonly client: FakeKubeClient;
  readonly storage: SimulatedStorage;
  readonly nodes: SimulatedNodes;
  readonly agents: Map<string, Agent>;
  /** How each object ended, and everything that was wrong about it. */
  readonly ends: Map<string, string>;
  readonly wrong: string[];
}

async function world(names: readonly string[], seed: number, workTicksMax?: number): Promise<World> {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(seed) });
  const storage = new SimulatedStorage(client, { kubelet: "waits" });
  client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": "c2VjcmV0" } });
  client.seed(persistentVolumeClaims, { metadata: { namespace: "notes", name: "files" }, spec: { storageClassName: "csi" }, status: { phase: "Bound" } });
  const nodes = new SimulatedNodes({ client, clock, random: seededRandom(seed + 50), names, ...(workTicksMax === undefined ? {} : { workTicksMax }) });
  const w: World = { clock, client, storage, nodes, agents: new Map(), ends: new Map(), wrong: [] };
  for (const type of [dataUploads, dataDownloads] as const) {
    client.react<DataUpload | DataDownload>(type, (_before, after) => {
      if (after === undefined) return;
      const [name, phase] = [after.metadata.name ?? "", after.status?.phase ?? "New"];
      const end = w.ends.get(name);
      if (end !== undefined && end !== phase) w.wrong.push(`${name} was ${end} and became ${phase}`);
      if (["Completed", "Failed", "Canceled"].includes(phase)) w.ends.set(name, phase);
    });
  }
  for (const name of names) await startAgent(w, name);
  return w;
}

async function startAgent({ nodes, clock, agents }: World, nodeName: string): Promise<void> {
  const agent = startNodeAgent({
    client: nodes.link(nodeName),
    clock,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NS,
    nodeName,
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
    config: { loadConcurrency: { globalConfig: 4 } },
  });
  agents.set(nodeName, await agent);
}

function powerOff(w: World, name: string): void {
  w.nodes.powerOff(name);
  // Its process is gone; what is left of it here reaches nobody.
  void w.agents.get(name)?.stop();
  w.agents.delete(name);
}

async function heal(w: World, name: string): Promise<void> {
  w.nodes.heal(name);
  // A process that cannot start is started again by its kubelet.
  if (!w.agents.has(name)) await startAgent(w, name).catch(() => undefined);
}

function addUpload({ client, storage }: World, name: string): void {
  storage.seedSnapshot("notes", `source-${name}`);
  client.seed(dataUploads, {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: `source-${name}` },
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
    },
  });
}

function addDownload({ client }: World, name: string): void {
  client.seed(persistentVolumeClaims, {
    metadata: { namespace: "back", name },
    spec: { resources: { requests: { storage: "64Mi" } }, storageClassName: "csi", selector: { matchLabels: { [LABELS.dynamicPvRestore]: `back.${name}` } } },
    status: { phase: "Pending" },
  });
  client.seed(dataDownloads, {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      operationTimeout: "10m0s",
      snapshotID: "s",
      sourceNamespace: "notes",
      targetVolume: { namespace: "back", pv: "", pvc: name },
    },
  });
}

const subjects = ({ client }: World): (DataUpload | DataDownload)[] => [...client.all(dataUploads), ...client.all(dataDownloads)];
const hasEnded = ({ metadata, status }: DataUpload | DataDownload): boolean =>
  ["Completed", "Failed", "Canceled"].includes(status?.phase ?? "") && metadata.finalizers === undefined;

/** Goes on until everything has ended. */
async function untilEnded(w: World, each: (step: number) => Promise<void> | void = () => undefined, stepsMax = 2_000): Promise<void> {
  for (let step = 0; step < stepsMax && !subjects(w).every(hasEnded); step++) {
    await each(step);
    w.nodes.tick();
    await w.clock.advance(STEP_MS);
  }
}

/** Every node comes back, and finds out what became of its work meanwhile. */
async function healAll(w: World, names: readonly string[]): Promise<void> {
  for (const name of names) await heal(w, name);
  await untilEnded(w);
  for (let step = 0; step < 15; step++) {
    w.nodes.tick();
    await w.clock.advance(STEP_MS);
  }
}

async function stopAll({ agents }: World): Promise<void> {
  for (const agent of agents.values()) await agent.stop();
}

function expectWell(w: World): void {
  const { client, storage, nodes } = w;
  const about = ({ metadata, status }: DataUpload | DataDownload): string => `${metadata.name} is ${status?.phase} (${status?.message})`;
  expect(
    subjects(w)
      .filter((subject) => !hasEnded(subject))
      .map(about),
  ).toEqual([]);
  expect(w.wrong).toEqual([]);
  expect(nodes.violations).toEqual([]);
  for (const { metadata, status } of client.all(dataUploads)) {
    if (status?.phase !== "Completed") continue;
    const mine = [...nodes.snapshots].filter(([, owner]) => owner === metadata.uid).map(([id]) => id);
    expect([metadata.name, mine]).toEqual([metadata.name, [status.snapshotID]]);
  }
  for (const { metadata, status } of client.all(dataDownloads)) {
    const target = client.peek(persistentVolumeClaims, { namespace: "back", name: metadata.name ?? "" });
    if (status?.phase === "Completed") expect([metadata.name, target?.status?.phase]).toEqual([metadata.name, "Bound"]);
  }
  const kept = new Set(client.all(persistentVolumeClaims).map(({ spec }) => spec.volumeName));
  const names = (kind: string, objects: readonly KubeObject[]): string[] => objects.map((object) => `${kind} ${keyOf(object).name}`);
  expect([
    ...names("pod", client.all(pods)),
    ...names(
      "claim",
      client.all(persistentVolumeClaims).filter(({ metadata }) => metadata.namespace === NS),
    ),
    ...names(
      "volume",
      client.all(persistentVolumes).filter(({ metadata }) => !kept.has(metadata.name)),
    ),
    ...names(
      "secret",
      client.all(secrets).filter(({ metadata }) => metadata.name !== "velero-repo-credentials"),
    ),
    ...names("volume snapshot", client.all(volumeSnapshots)),
    ...names("content", client.all(volumeSnapshotContents)),
    ...[...storage.snapshots].map((handle) => `storage snapshot ${handle}`),
  ]).toEqual([]);
}

/** One upload and one download, on a node that is lost after a given write; the other node is there from the beginning. */
async function loseAfter(write: number, how: "power" | "network"): Promise<{ readonly w: World; readonly writes: number }> {
  const w = await world(["node-1", "node-2"], 5);
  addUpload(w, "up");
  addDownload(w, "down");
  let writes = 0;
  w.client.intercept = ({ verb, resource }) => {
    if (!["create", "replace", "patch", "delete"].includes(verb) || resource === "events") return;
    // The one that is lost is the one that something of the upload is on, as far as that is known yet.
    if (++writes !== write) return;
    const { acceptedByNode, node = acceptedByNode ?? "node-1" } = w.client.peek(dataUploads, { namespace: NS, name: "up" })?.status ?? {};
    if (how === "power") powerOff(w, node);
    else w.nodes.cutOff(node);
  };
  await untilEnded(w);
  w.client.intercept = undefined;
  await healAll(w, ["node-1", "node-2"]);
  await stopAll(w);
  return { w, writes };
}

it.each(["power", "network"] as const)("a node that loses its %s after any write leaves its work to another, which completes it", async (how) => {
  const { w: undisturbed, writes } = await loseAfter(0, how);
  expectWell(undisturbed);
  expect(writes).toBeGreaterThan(30);
  // Losing the network takes longer to play, so it is lost after every second write only.
  for (let write = 1; write <= writes; write += how === "power" ? 1 : 2) {
    const { w } = await loseAfter(write, how);
    expectWell(w);
    expect([write, Object.fromEntries(w.ends)]).toEqual([write, { up: "Completed", down: "Completed" }]);
  }
});

const share = (random: RandomSource): number => (random.bytes(1)[0] ?? 0) / 256;

it.each(SEEDS)("nodes that are lost and found at any time: seed %d", async (seed) => {
  const random = seededRandom(seed);
  const names = ["node-1", "node-2", "node-3"];
  const w = await world(names, seed, 60);
  let calm = false;
  w.client.intercept = ({ verb, resource }) => {
    if (calm || verb === "watch" || share(random) >= 0.02) return;
    const isWrite = verb === "replace" || verb === "patch";
    if (isWrite && share(random) < 0.5) throw new DrayError("KUBE_CONFLICT", `Cannot ${verb} ${resource}: somebody was first`);
    throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${verb} ${resource}: the server is busy`, { context: { sent: false } });
  };
  for (const name of ["u1", "u2", "u3"]) addUpload(w, name);
  for (const name of ["d1", "d2"]) addDownload(w, name);
  await untilEnded(w, async (step) => {
    // Trouble passes in the end; what was begun under it must come to its own.
    calm = step > 360;
    for (const name of names) {
      const luck = share(random);
      if (!w.nodes.isUp(name) || !w.agents.has(name)) {
        if (calm || luck < 0.04) await heal(w, name);
      } else if (!calm && luck < 0.03 && names.filter((each) => w.nodes.isUp(each)).length > 1) {
        if (share(random) < 0.5) powerOff(w, name);
        else w.nodes.cutOff(name);
      }
    }
    if (!calm && share(random) < 0.02) w.client.compact();
  });
  calm = true;
  await healAll(w, names);
  await stopAll(w);
  expectWell(w);
});
