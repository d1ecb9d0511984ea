/** Claims of one application that are cut at one moment by the driver's group snapshots: moved into the bucket or kept in the storage, and equal when they come back. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { volumeGroupSnapshotContents, volumeGroupSnapshots, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { type CoreEvent, events, type KubeObject, persistentVolumeClaims, type ResourceType } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const CLAIMS = ["data", "index", "log"] as const;
const GROUP = { "velero.io/volume-group": "db" };

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
});
afterAll(() => harness?.destroy());

/** An application whose three volumes belong together, beside one that does not belong to them. */
async function deploy(namespace: string): Promise<Map<string, string>> {
  const { client } = harness;
  await deployApplication(harness, namespace, Object.fromEntries([...CLAIMS, "alone"].map((name) => [name, {}])));
  for (const name of CLAIMS) await client.patch(persistentVolumeClaims, { namespace, name }, "merge", { metadata: { labels: GROUP } });
  await fillFolder(harness, namespace, "data");
  for (const name of ["index", "log", "alone"])
    await inApplication(harness, namespace, `cd /volumes/${name}; echo ${name} > file; mkdir -p a/b; head -c 65536 /dev/urandom > a/b/bytes`);
  const facts = new Map<string, string>();
  for (const name of [...CLAIMS, "alone"]) facts.set(name, await factsOf(harness, namespace, name));
  return facts;
}

async function expectEqual(namespace: string, facts: ReadonlyMap<string, string>): Promise<void> {
  await untilRunning(harness, namespace);
  for (const [name, before] of facts) expect(await factsOf(harness, namespace, name), name).toBe(before);
}

/** How often groups of a namespace were cut, by what the snapshot controller told of it. */
async function groupsCut(namespace: string): Promise<number> {
  const { items } = await harness.client.list<CoreEvent>(events, { namespace });
  return new Set(items.filter(({ reason }) => reason === "GroupSnapshotCreated").map(({ involvedObject }) => involvedObject.uid)).size;
}

const storedSnapshots = (): string[] => readdirSync(join(harness.cluster.directory, "storage", "snapshots"));

async function expectNothingLeft(): Promise<void> {
  const types = [volumeGroupSnapshots, volumeGroupSnapshotContents, volumeSnapshots, volumeSnapshotContents] as readonly ResourceType<KubeObject>[];
  for (const type of types) await harness.seen(type, {}, (found) => (found.length === 0 ? true : undefined));
}

it("are cut once, moved into the bucket and restored, and neither a group nor a snapshot is left anywhere", async () => {
  const facts = await deploy("moved");
  const { status } = await harness.backUp("moved", { includedNamespaces: ["moved"], snapshotMoveData: true });
  expect(status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 4 });
  expect(await groupsCut("moved")).toBe(1);
  await expectNothingLeft();
  await expect.poll(storedSnapshots).toEqual([]);
  await harness.deleteNamespace("moved");
  expect((await harness.restore("moved", { backupName: "moved" })).status?.phase).toBe("Completed");
  await expectEqual("moved", facts);
});

it("are cut once, kept in the storage by their group's handle, restored from it, and go with their backup", async () => {
  const facts = await deploy("kept");
  const { status } = await harness.backUp("kept", { includedNamespaces: ["kept"], snapshotMoveData: false });
  expect(status).toMatchObject({ phase: "Completed", csiVolumeSnapshotsAttempted: 4, csiVolumeSnapshotsCompleted: 4 });
  expect(await groupsCut("kept")).toBe(1);
  await expectNothingLeft();
  expect(storedSnapshots()).toHaveLength(4);
  const infos = await harness.archive((store) => store.getVolumeInfos("kept"));
  const handles = infos.map(({ pvcName, csiSnapshotInfo }) => [pvcName, csiSnapshotInfo?.volumeGroupSnapshotHandle ?? ""] as const);
  const grouped = new Set(handles.filter(([name]) => name !== "alone").map(([, handle]) => handle));
  expect([...grouped]).toEqual([expect.stringMatching(/^group-/)]);
  expect(handles.find(([name]) => name === "alone")?.[1]).toBe("");
  await harness.deleteNamespace("kept");
  expect((await harness.restore("kept", { backupName: "kept" })).status?.phase).toMatch(/^(Completed|PartiallyFailed)$/);
  await expectEqual("kept", facts);
  await harness.deleteNamespace("kept");
  await harness.dray("backup", "delete", "kept", "--confirm", "--wait");
  await expect.poll(storedSnapshots).toEqual([]);
});
