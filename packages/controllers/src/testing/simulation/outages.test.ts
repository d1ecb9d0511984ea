/** One thing that goes wrong for long, in the middle of a backup and a restore: both end as if nothing had been, and nothing is left over. */
import { backups, type DeleteBackupRequest, dataDownloads, dataUploads, deleteBackupRequests, restores } from "@drayage/api";
import { expect, it } from "vitest";
import { NAMESPACE, newBackup, newRestore } from "../recorded-cluster.ts";
import { leftovers } from "./leftovers.ts";
import { APPLICATION, SimulatedInstallation } from "./simulated-installation.ts";

const STEP_MS = 4_000;
const GONE_MS = 11 * 60_000;
const HOUR_MS = 3_600_000;

const phases = ({ client }: SimulatedInstallation, type: typeof backups | typeof restores | typeof dataUploads | typeof dataDownloads): string[] =>
  client.all(type as typeof backups).map(({ status }) => status?.phase ?? "New");

async function until(world: SimulatedInstallation, holds: () => boolean): Promise<void> {
  for (let step = 0; step < 600 && !holds(); step++) await world.tick(STEP_MS);
  expect(holds()).toBe(true);
}

async function pass(world: SimulatedInstallation, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += STEP_MS) await world.tick(STEP_MS);
}

it.each<[string, (world: SimulatedInstallation) => void]>([
  ["an API server that is gone for eleven minutes", (world) => world.cutOff("KUBE_UNAVAILABLE")],
  ["a token that has expired", (world) => world.cutOff("KUBE_UNAUTHORIZED")],
  [
    "clocks that jump an hour back",
    (world) => {
      for (const name of world.processNames) world.skew(name, -3_600_000);
    },
  ],
])("%s ends neither a backup nor a restore", async (_what, disturb) => {
  const world = new SimulatedInstallation({ seed: 1 });
  const { client } = world;
  await pass(world, 20_000);
  client.seed(backups, newBackup("first", { includedNamespaces: [APPLICATION], snapshotMoveData: true }));
  // A server that loses its lease over it fails what it works on itself, as one that is restarted; what others move goes on.
  await until(world, () => phases(world, backups)[0] === "WaitingForPluginOperations");
  expect(phases(world, dataUploads)).toContain("InProgress");
  disturb(world);
  await pass(world, GONE_MS);
  world.calmDown();
  await until(world, () => phases(world, backups)[0] === "Completed");
  client.seed(restores, newRestore("back", { backupName: "first", namespaceMapping: { [APPLICATION]: "back" } }));
  await until(world, () => phases(world, dataDownloads).includes("InProgress"));
  disturb(world);
  await pass(world, GONE_MS);
  world.calmDown();
  await until(world, () => phases(world, restores)[0] === "Completed");
  client.seed<DeleteBackupRequest>(deleteBackupRequests, { metadata: { namespace: NAMESPACE, name: "all" }, spec: { backupName: "first" } });
  await until(world, () => client.all(backups).length === 0);
  world.removeNamespace("back");
  await pass(world, 60_000);
  await world.stopAll();
  expect(world.violations).toEqual([]);
  expect(leftovers(world, (uid) => uid)).toEqual([]);
});

it("clocks that are hours off the API server's, each in its own way, end nothing either, and a node that dies is given up neither at once nor never", async () => {
  const world = new SimulatedInstallation({ seed: 1 });
  const { client } = world;
  for (const [index, name] of world.processNames.entries()) world.skew(name, (((index * 7) % 5) - 2) * 3 * HOUR_MS);
  await pass(world, 20_000);
  client.seed(backups, newBackup("first", { includedNamespaces: [APPLICATION], snapshotMoveData: true }));
  await until(world, () => phases(world, backups)[0] === "WaitingForPluginOperations" && phases(world, dataUploads).includes("InProgress"));
  const moved = client.all(dataUploads).find(({ status }) => status?.phase === "InProgress");
  const node = moved?.status?.node ?? "";
  world.powerOff(node);
  // The control plane notices within a minute, and the others wait another one.
  await pass(world, 60_000);
  expect(client.all(dataUploads).find(({ metadata }) => metadata.name === moved?.metadata.name)?.status?.node).toBe(node);
  await until(world, () => phases(world, backups)[0] === "Completed");
  client.seed<DeleteBackupRequest>(deleteBackupRequests, { metadata: { namespace: NAMESPACE, name: "all" }, spec: { backupName: "first" } });
  await until(world, () => client.all(backups).length === 0);
  await pass(world, 60_000);
  await world.stopAll();
  expect(world.violations).toEqual([]);
  expect(leftovers(world, (uid) => uid)).toEqual([]);
});
