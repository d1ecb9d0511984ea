/** Backups travel between Drayage and a real Velero, through the bucket alone: each restores and deletes what the other made, with its data. */
import { backups } from "@drayage/api";
import { namespaces, secrets } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, REPOSITORY_PASSWORD, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, startApplication, untilRunning } from "../e2e/sample-application.ts";
import { defineMachines, startMachine } from "../e2e/virtual-machine.ts";
import { factsOfAll, MACHINE_VOLUMES, POD_AND_MACHINE, POD_VOLUMES, writeMore } from "../e2e/written-volumes.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

const NAMESPACES = POD_AND_MACHINE.map(({ namespace }) => namespace);
const THEIRS = ["theirs", "theirs-later"];
let drayage: Harness;
let other: Harness | undefined;
let velero: RealVelero | undefined;
let facts: string;

/** Velero's server, our node-agents in place of its own, and the password that opens the repositories of the bucket. */
async function installVelero(harness: Harness): Promise<void> {
  other = harness;
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
  // Velero looks for new kinds every five minutes.
  await defineMachines(harness);
  const password = Buffer.from(REPOSITORY_PASSWORD).toString("base64");
  await harness.client.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: VELERO, name: "velero-repo-credentials" },
    data: { "repository-password": password },
  });
  velero = await startRealVelero(harness, "velero-without-metrics");
  await harness.dray("install", "--guest", "--claim-builtin", "--image", "drayage/dray:e2e", "--wait");
}

beforeAll(async () => {
  drayage = await Harness.start({ nodes: 1, serverArgs: ["--backup-sync-period=2s"] });
  await deployApplication(drayage, "shop", POD_VOLUMES);
  await defineMachines(drayage);
  await fillFolder(drayage, "shop", "files");
  facts = await factsOf(drayage, "shop", "files");
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

it("backups of Velero, a full one and one of what changed, are listed and restored by us, with their data", async () => {
  const [harness, { cli }] = there();
  await startMachine(harness, "vms", MACHINE_VOLUMES);
  await fillFolder(harness, "vms", "data");
  const facts: Record<string, string>[] = [];
  for (const [index, name] of THEIRS.entries()) {
    await writeMore(harness, POD_AND_MACHINE, 1 + 7 * index);
    facts.push(await factsOfAll(harness, POD_AND_MACHINE));
    await cli("backup", "create", name, "--include-namespaces", NAMESPACES.join(), "--snapshot-move-data", "--wait");
    await drayage.until(backups, { namespace: VELERO, name }, ({ status }) => status?.phase === "Completed");
    expect(await drayage.dray("backup", "describe", name, "--details", "-n", VELERO)).toMatch(/Phase:\s+Completed/);
  }
  const [first, second] = facts;
  for (const { spec, status } of await harness.uploads("theirs-later", 4)) {
    expect(spec.datamover ?? "").toBe("");
    expect(status?.incrementalBytes, spec.sourcePVC).toBeLessThan((status?.progress?.totalBytes ?? 0) * 0.7);
  }

  await drayage.deleteNamespace("shop");
  const namespaceMapping = Object.fromEntries(NAMESPACES.map((namespace) => [namespace, `${namespace}-before`]));
  const ends = [await drayage.restore("before", { backupName: "theirs", namespaceMapping }), await drayage.restore("back", { backupName: "theirs-later" })];
  expect(ends.map(({ status }) => status?.phase)).toEqual(["Completed", "Completed"]);
  for (const suffix of ["", "-before"]) {
    await startApplication(drayage, `vms${suffix}`, MACHINE_VOLUMES);
    await untilRunning(drayage, `shop${suffix}`);
  }
  expect(await factsOfAll(drayage, POD_AND_MACHINE)).toEqual(second);
  expect(await factsOfAll(drayage, POD_AND_MACHINE, "-before")).toEqual(first);
}, 600_000);

it("each deletes what the other made, data and all", async () => {
  const [harness, { cli }] = there();
  expect(await snapshotsLeft()).toBe(10);
  await cli("backup", "delete", "ours", "--confirm");
  await harness.seen(backups, { namespace: VELERO }, (found) => (found.every(({ metadata }) => metadata.name !== "ours") ? true : undefined));
  expect(await snapshotsLeft()).toBe(8);
  await drayage.dray("backup", "delete", ...THEIRS, "--confirm", "-n", VELERO);
  await drayage.seen(backups, { namespace: VELERO }, (found) => (found.every(({ metadata }) => !THEIRS.includes(metadata.name ?? "")) ? true : undefined));
  expect(await snapshotsLeft()).toBe(0);
});

function there(): [Harness, RealVelero] {
  if (other === undefined || velero === undefined) throw new Error("Velero is not there");
  return [other, velero];
}

async function snapshotsLeft(): Promise<number> {
  let count = 0;
  for (const namespace of NAMESPACES) count += await drayage.repository(namespace, async ({ snapshots }) => (await snapshots.list()).snapshots.length);
  return count;
}
