import { backupStorageLocations, type DataUpload, dataUploads, MOVER_SECRET_KEYS } from "@drayage/api";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { nodes, persistentVolumeClaims, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import { SimulatedStorage } from "../testing/simulated-storage.ts";
import { dataMoverClaims } from "./data-movers.ts";
import { startNodeAgent } from "./node-agent.ts";

const NS = "velero";
const text = (value: string): string => Buffer.from(value).toString("base64");

function upload(name: string): DataUpload {
  return {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      operationTimeout: "10m0s",
      snapshotType: "CSI",
      sourceNamespace: "notes",
      sourcePVC: "files",
      csiSnapshot: { volumeSnapshot: `source-${name}`, storageClass: "csi", snapshotClass: "csi" },
    },
  };
}

it("brings changed credentials of a location into the Secrets of what moves on this node, and asks for little until they change", async () => {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock, random: seededRandom(7) });
  const storage = new SimulatedStorage(client, { nodeName: "node-1", mover: "waits" });
  client.seed(backupStorageLocations, {
    metadata: { namespace: NS, name: "default" },
    spec: { provider: "aws", objectStorage: { bucket: "b" }, credential: { name: "cloud", key: "keys" } },
  });
  client.seed(secrets, { metadata: { namespace: NS, name: "velero-repo-credentials" }, data: { "repository-password": text("secret") } });
  client.seed(secrets, { metadata: { namespace: NS, name: "cloud" }, data: { keys: text("first keys") } });
  client.seed(nodes, { metadata: { name: "node-1" }, status: { conditions: [{ type: "Ready", status: "True" }] } });
  client.seed(persistentVolumeClaims, { metadata: { namespace: "notes", name: "files" }, spec: { storageClassName: "csi" }, status: { phase: "Bound" } });
  const agent = await startNodeAgent({
    ...{ client, clock, random: seededRandom(3), logger: memoryLogger(), namespace: NS, nodeName: "node-1" },
    claims: dataMoverClaims({ mode: "standalone" }),
    pod: { image: "drayage/dray:test", serviceAccount: "drayage-mover" },
    config: { loadConcurrency: { globalConfig: 2 } },
  });
  for (const name of ["one", "two"]) {
    storage.seedSnapshot("notes", `source-${name}`);
    client.seed(dataUploads, upload(name));
  }
  const pass = async (steps: number): Promise<void> => {
    for (let step = 0; step < steps; step++) {
      await clock.advance(500);
      await settle();
    }
  };
  await pass(60);
  const keysOf = (name: string): string =>
    Buffer.from(client.peek(secrets, { namespace: NS, name })?.data?.[MOVER_SECRET_KEYS.credentials] ?? "", "base64").toString();
  expect(["one", "two"].map((name) => client.peek(dataUploads, { namespace: NS, name })?.status?.phase)).toEqual(["InProgress", "InProgress"]);
  expect(["one", "two"].map(keysOf)).toEqual(["first keys", "first keys"]);

  await pass(240);
  client.mutate(secrets, { namespace: NS, name: "cloud" }, (secret) => {
    secret.data = { keys: text("second keys") };
  });
  await pass(140);
  expect(["one", "two"].map(keysOf)).toEqual(["second keys", "second keys"]);
  const secretOf = client.peek(secrets, { namespace: NS, name: "one" });
  expect(Object.keys(secretOf?.data ?? {})).toEqual(expect.arrayContaining([MOVER_SECRET_KEYS.repositoryJson, MOVER_SECRET_KEYS.repositoryPassword]));

  // A location and its Secret in a minute, whatever moves.
  const before = client.calls.length;
  await pass(600);
  await agent.stop();
  const asked = client.calls.slice(before).filter(({ verb, resource }) => verb !== "watch" && /secrets|backupstoragelocations/.test(resource));
  expect(asked.length).toBeLessThanOrEqual(2 * 5);
});
