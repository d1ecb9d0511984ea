/** Many DataUploads on many nodes, each with a node-agent of its own over one API server that counts: for the number of requests that a DataUpload costs. */
import { backupStorageLocations, type DataUpload, dataUploads } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type Pod, persistentVolumeClaims, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { dataMoverClaims } from "../data-movement/data-movers.ts";
import { startNodeAgent } from "../data-movement/node-agent.ts";
import { SimulatedNodes } from "./simulated-nodes.ts";
import { SimulatedStorage } from "./simulated-storage.ts";

const NS = "velero";
const STEP_MS = 500;
/** Of virtual time. */
const LIMIT_MS = 4 * 60 * 60_000;

export interface ManyUploadsOptions {
  readonly uploads: number;
  readonly nodes: number;
  /** Prepares the world: the location, and what real movers want. */
  readonly prepare?: (client: FakeKubeClient) => Promise<void> | void;
  /** A real mover in place of the scripted one; resolves to its termination message. */
  readonly realMover?: (pod: Pod, client: FakeKubeClient) => Promise<string> | undefined;
}

export interface ManyUploads {
  readonly completed: number;
  readonly seconds: number;
  /** Requests of node-agents (watches aside) from the creation of the first DataUpload to the end of the last, by verb and resource. */
  readonly requests: ReadonlyMap<string, number>;
  readonly all: number;
}

/** Runs them to their end; `seconds` are of virtual time. Throws when they come to rest before. */
export async function moveManyUploads({ uploads, nodes: nodeCount, prepare, realMover }: ManyUploadsOptions): Promise<ManyUploads> {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(1) });
  const storage = new SimulatedStorage(client, { kubelet: "waits" });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": "c2VjcmV0" } });
  client.seed(persistentVolumeClaims, { metadata: { namespace: "notes", name: "files" }, spec: { storageClassName: "csi" }, status: { phase: "Bound" } });
  if (prepare === undefined)
    client.seed(backupStorageLocations, { metadata: { namespace: NS, name: "default" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  await prepare?.(client);
  const names = Array.from({ length: nodeCount }, (_, index) => `node-${index + 1}`);
  const nodes = new SimulatedNodes({
    client,
    clock,
    random: seededRandom(51),
    names,
    ...(realMover === undefined ? {} : { realMover: (pod) => realMover(pod, client) }),
  });
  const agents: { stop(): Promise<void> }[] = [];
  for (const [index, nodeName] of names.entries())
    agents.push(
      await startNodeAgent({
        ...{ client: nodes.link(nodeName), clock, random: seededRandom(index), logger: nullLogger, namespace: NS, nodeName },
        claims: dataMoverClaims({ mode: "standalone" }),
        pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
        config: {},
      }),
    );
  await settle();
  const before = client.calls.length;
  for (let index = 1; index <= uploads; index++) {
    storage.seedSnapshot("notes", `source-${index}`);
    client.seed(dataUploads, uploadOf(index));
  }
  const beganMs = clock.monotonicMs();
  let completed = 0;
  while (completed < uploads) {
    if (clock.monotonicMs() - beganMs > LIMIT_MS) throw new Error(`${uploads - completed} DataUploads do not end`);
    nodes.tick();
    await clock.advance(STEP_MS);
    await settle();
    completed = client.stored(dataUploads).filter(({ status, metadata }) => status?.phase === "Completed" && metadata.finalizers === undefined).length;
  }
  const seconds = (clock.monotonicMs() - beganMs) / 1_000;
  const calls = client.calls.slice(before).filter(({ verb }) => verb !== "watch");
  for (const agent of agents) await agent.stop();
  const requests = new Map<string, number>();
  for (const { verb, resource } of calls) requests.set(`${verb} ${resource}`, (requests.get(`${verb} ${resource}`) ?? 0) + 1);
  return { completed, seconds, requests, all: calls.length };
}

function uploadOf(index: number): DataUpload {
  return {
    metadata: { namespace: NS, name: `upload-${index}` },
    spec: {
      backupStorageLocation: "default",
      csiSnapshot: { driver: "csi.example.com", snapshotClass: "csi", storageClass: "csi", volumeSnapshot: `source-${index}` },
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
    },
  };
}
