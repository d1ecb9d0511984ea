/** A real Velero server drives our mover: it backs up, restores and deletes, also in a cluster where the DataUploads no longer are. */
import { backups, type DataUpload, dataUploads } from "@drayage/api";
import { configMaps, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, fillFolder, untilRunning } from "../e2e/sample-application.ts";
import { defineMachines, machines, startMachine } from "../e2e/virtual-machine.ts";
import { factsOfAll, MACHINE_VOLUMES, POD_AND_MACHINE, POD_VOLUMES, writeMore } from "../e2e/written-volumes.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

interface Place {
  readonly harness: Harness;
  readonly velero: RealVelero;
}

const NAMESPACES = POD_AND_MACHINE.map(({ namespace }) => namespace);
/** What Velero deletes a snapshot by. */
const RECORDS = { namespace: VELERO, labelSelector: "velero.io/data-upload-snapshot-info=true" };
const places: Place[] = [];
let first: Place;

/** Velero, and our node-agents as its guests. */
async function installBesideVelero(harness: Harness): Promise<void> {
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
  // Velero looks for new kinds every five minutes.
  await defineMachines(harness);
  const velero = await startRealVelero(harness, "velero-without-metrics");
  places.push({ harness, velero });
  await harness.dray("install", "--guest", "--image", "drayage/dray:e2e", "--log-level", "debug", "--wait");
}

beforeAll(async () => {
  await Harness.start({ nodes: 1, installBy: installBesideVelero });
  first = places[0] as Place;
});
afterAll(async () => {
  for (const { velero, harness } of places.reverse()) {
    await velero.stop();
    await harness.destroy();
  }
});

async function backUp(name: string): Promise<DataUpload[]> {
  const { harness, velero } = first;
  await velero.cli("backup", "create", name, "--include-namespaces", NAMESPACES.join(), "--snapshot-move-data", "--data-mover", "drayage", "--wait");
  const { status } = await harness.endOfBackup(name);
  if (status?.phase !== "Completed")
    throw new Error(`${await velero.cli("backup", "describe", name, "--details")}\n${await velero.cli("backup", "logs", name)}`);
  expect(status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 4 });
  const uploads = await harness.uploads(name, 4);
  expect(uploads.map(({ spec, status: end }) => [spec.sourcePVC, spec.datamover, end?.phase])).toEqual(
    ["data", "disk", "files", "root"].map((claim) => [claim, "drayage", "Completed"]),
  );
  return uploads;
}

it("backs up through our mover, what changed alone the next time, restores through it, and has by what it will delete", async () => {
  const { harness, velero } = first;
  await deployApplication(harness, "shop", POD_VOLUMES);
  await startMachine(harness, "vms", MACHINE_VOLUMES);
  for (const { namespace, folder } of POD_AND_MACHINE) await fillFolder(harness, namespace, folder);
  await writeMore(harness, POD_AND_MACHINE, 1);
  const before = await factsOfAll(harness, POD_AND_MACHINE);
  const full = await backUp("moved");
  await writeMore(harness, POD_AND_MACHINE, 8);
  const after = await factsOfAll(harness, POD_AND_MACHINE);
  const incremental = await backUp("again");
  for (const { spec, status } of incremental) expect(status?.incrementalBytes, spec.sourcePVC).toBeLessThan((status?.progress?.totalBytes ?? 0) * 0.7);
  const records = await harness.seen(configMaps, RECORDS, (found) => (found.length === 8 ? found : undefined));
  expect(records.map(({ data }) => data?.["snapshotID"]).sort()).toEqual([...full, ...incremental].map(({ status: end }) => end?.snapshotID).sort());

  for (const namespace of NAMESPACES) await harness.deleteNamespace(namespace);
  await velero.cli("restore", "create", "back", "--from-backup", "again", "--wait");
  const elsewhere = NAMESPACES.map((namespace) => `${namespace}:${namespace}-before`).join();
  await velero.cli("restore", "create", "back-before", "--from-backup", "moved", "--namespace-mappings", elsewhere, "--wait");
  for (const [restore, suffix] of [
    ["back", ""],
    ["back-before", "-before"],
  ] as const) {
    expect((await harness.endOfRestore(restore)).status?.phase).toBe("Completed");
    for (const namespace of NAMESPACES) await untilRunning(harness, `${namespace}${suffix}`);
    expect((await harness.client.get(machines, { namespace: `vms${suffix}`, name: "vm" }))["spec"]).toMatchObject({ runStrategy: "Always" });
  }
  expect(await factsOfAll(harness, POD_AND_MACHINE)).toEqual(after);
  expect(await factsOfAll(harness, POD_AND_MACHINE, "-before")).toEqual(before);
}, 600_000);

it("lists the plug-ins of the Velero beside it as Velero's command does", async () => {
  const wordsOf = (table: string): string[][] =>
    table
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/));
  const { harness, velero } = first;
  const listed = wordsOf(await harness.dray("plugin", "get"));
  expect(listed).toContainEqual(["velero.io/aws", "ObjectStore"]);
  expect(listed).toEqual(wordsOf(await velero.cli("plugin", "get")));
});

it("deletes what was moved from a cluster that knows the backup from the bucket alone", async () => {
  const { harness } = first;
  const [upload] = await harness.uploads("moved", 4);
  expect(await snapshotIds(harness)).toContain(upload?.status?.snapshotID);
  // The first cluster's server is lost; two of them would want one port of this machine.
  await first.velero.stop();
  const other = await harness.another({ nodes: 1, installBy: installBesideVelero });
  const place = places.at(-1) as Place;
  for (const name of ["moved", "again"]) await other.until(backups, { namespace: VELERO, name }, ({ status }) => status?.phase === "Completed");
  expect((await other.client.list(dataUploads, { namespace: VELERO })).items).toEqual([]);
  await other.seen(configMaps, RECORDS, (found) => (found.length === 8 ? true : undefined));
  await place.velero.cli("backup", "delete", "moved", "again", "--confirm");
  await other.seen(backups, { namespace: VELERO }, (found) => (found.length === 0 ? true : undefined));
  expect(await snapshotIds(harness)).toEqual([]);
  await other.seen(configMaps, RECORDS, (found) => (found.length === 0 ? true : undefined));
});

/** Manifests of snapshots in the repositories of the applications' namespaces, which have the password that Velero gives. */
async function snapshotIds(harness: Harness): Promise<readonly string[]> {
  const ids: string[] = [];
  for (const namespace of NAMESPACES)
    ids.push(...(await harness.repository(namespace, async ({ snapshots }) => (await snapshots.list()).snapshots.map(({ id }) => id), "static-passw0rd")));
  return ids;
}
