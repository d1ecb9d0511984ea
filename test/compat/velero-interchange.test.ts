/** Backups travel between Drayage and a real Velero, through the bucket alone: each restores and deletes what the other made, with its data. */
import { backups } from "@drayage/api";
import { namespaces, secrets } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, REPOSITORY_PASSWORD, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

let drayage: Harness;
let other: Harness | undefined;
let velero: RealVelero | undefined;
let facts: string;
let diskFacts: string;

/** Velero's server, our node-agents in place of its own, and the password that opens the repositories of the bucket. */
async function installVelero(harness: Harness): Promise<void> {
  other = harness;
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
  const password = Buffer.from(REPOSITORY_PASSWORD).toString("base64");
  await harness.client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: VELERO, name: "velero-repo-credentials" },
    data: { "repository-password": password },
  });
  velero = await startRealVelero(harness);
  await harness.dray("install", "--guest", "--claim-builtin", "--image", "drayage/dray:e2e", "--wait");
}

beforeAll(async () => {
  drayage = await Harness.start({ nodes: 1, serverArgs: ["--backup-sync-period=2s"] });
  await deployApplication(drayage, "shop", { files: {}, disk: { mode: "Block" } });
  await fillFolder(drayage, "shop", "files");
  await inApplication(drayage, "shop", "head -c 3000000 /dev/urandom | dd of=/dev/disk bs=1M seek=1 conv=notrunc status=none");
  facts = await factsOf(drayage, "shop", "files");
  diskFacts = await factsOf(drayage, "shop", "disk", "Block");
  await drayage.backUp("ours", { includedNamespaces: ["shop"], snapshotMoveData: true });
  await drayage.another({ nodes: 1, installBy: installVelero });
});
afterAll(async () => {
  await velero?.stop();
  await other?.destroy();
  await drayage?.destroy();
});

it("a backup of ours is listed, described and restored by Velero", async () => {
  const [harness, { cli }] = there();
  await harness.until(backups, { namespace: VELERO, name: "ours" }, ({ status }) => status?.phase === "Completed");
  const text = await cli("backup", "describe", "ours", "--details");
  expect(text).toMatch(/Phase:\s+Completed/);
  expect(text).toMatch(/shop\/files:\n\s+Data Movement:[\s\S]*Result: succeeded/);
  expect(await cli("backup", "logs", "ours")).toContain("ours");
  await cli("restore", "create", "back", "--from-backup", "ours", "--wait");
  const { status } = await harness.endOfRestore("back");
  if (status?.phase !== "Completed") throw new Error(`${await cli("restore", "describe", "back", "--details")}\n${await cli("restore", "logs", "back")}`);
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
});

it("a backup of Velero is listed and restored by us, with its data", async () => {
  const [, { cli }] = there();
  await cli("backup", "create", "theirs", "--include-namespaces", "shop", "--snapshot-move-data", "--wait");
  await drayage.until(backups, { namespace: VELERO, name: "theirs" }, ({ status }) => status?.phase === "Completed");
  expect(await drayage.dray("backup", "describe", "theirs", "--details", "-n", VELERO)).toMatch(/Phase:\s+Completed/);
  await drayage.deleteNamespace("shop");
  const { status } = await drayage.restore("back", { backupName: "theirs" });
  expect(status).toMatchObject({ phase: "Completed" });
  await untilRunning(drayage, "shop");
  expect(await factsOf(drayage, "shop", "files")).toBe(facts);
  expect(await factsOf(drayage, "shop", "disk", "Block")).toBe(diskFacts);
});

it("each deletes what the other made, data and all", async () => {
  const [harness, { cli }] = there();
  expect(await snapshotsLeft()).toBe(4);
  await cli("backup", "delete", "ours", "--confirm");
  await harness.seen(backups, { namespace: VELERO }, (found) => (found.every(({ metadata }) => metadata.name !== "ours") ? true : undefined));
  expect(await snapshotsLeft()).toBe(2);
  await drayage.dray("backup", "delete", "theirs", "--confirm", "-n", VELERO);
  await drayage.seen(backups, { namespace: VELERO }, (found) => (found.every(({ metadata }) => metadata.name !== "theirs") ? true : undefined));
  expect(await snapshotsLeft()).toBe(0);
});

function there(): [Harness, RealVelero] {
  if (other === undefined || velero === undefined) throw new Error("Velero is not there");
  return [other, velero];
}

async function snapshotsLeft(): Promise<number> {
  return drayage.repository("shop", async ({ snapshots }) => (await snapshots.list()).snapshots.length);
}
