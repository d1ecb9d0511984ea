/** A real Velero server drives our mover: it backs up, restores and deletes, also in a cluster where the DataUploads no longer are. */
import { backups, dataUploads } from "@drayage/api";
import { configMaps, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

interface Place {
  readonly harness: Harness;
  readonly velero: RealVelero;
}

const places: Place[] = [];
let first: Place;

/** Velero, and our node-agents as its guests. */
async function installBesideVelero(harness: Harness): Promise<void> {
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
  const velero = await startRealVelero(harness);
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

it("backs up through our mover, restores through it, and finds what it will delete by", async () => {
  const { harness, velero } = first;
  await deployApplication(harness, "shop", { files: {}, disk: { mode: "Block" } });
  await fillFolder(harness, "shop", "files");
  await inApplication(harness, "shop", "head -c 3000000 /dev/urandom | dd of=/dev/disk bs=1M seek=1 conv=notrunc status=none");
  const facts = await factsOf(harness, "shop", "files");
  const diskFacts = await factsOf(harness, "shop", "disk", "Block");
  await velero.cli("backup", "create", "moved", "--include-namespaces", "shop", "--snapshot-move-data", "--data-mover", "drayage", "--wait");
  const { status } = await harness.endOfBackup("moved");
  if (status?.phase !== "Completed")
    throw new Error(`${await velero.cli("backup", "describe", "moved", "--details")}\n${await velero.cli("backup", "logs", "moved")}`);
  expect(status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 2 });
  const uploads = await harness.uploads("moved", 2);
  expect(uploads.map(({ spec, status: end }) => [spec.sourcePVC, spec.datamover, end?.phase])).toEqual([
    ["disk", "drayage", "Completed"],
    ["files", "drayage", "Completed"],
  ]);
  const records = await harness.seen(configMaps, { namespace: VELERO, labelSelector: "velero.io/data-upload-snapshot-info=true" }, (found) =>
    found.length === 2 ? found : undefined,
  );
  expect(records.map(({ data }) => data?.["snapshotID"]).sort()).toEqual(uploads.map(({ status: end }) => end?.snapshotID).sort());

  await harness.deleteNamespace("shop");
  await velero.cli("restore", "create", "back", "--from-backup", "moved", "--wait");
  expect((await harness.endOfRestore("back")).status?.phase).toBe("Completed");
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
  expect(await factsOf(harness, "shop", "disk", "Block")).toBe(diskFacts);
});

it("deletes what was moved from a cluster that knows the backup from the bucket alone", async () => {
  const { harness } = first;
  const [upload] = await harness.uploads("moved", 2);
  expect(await snapshotIds(harness)).toContain(upload?.status?.snapshotID);
  // The first cluster's server is lost; two of them would want one port of this machine.
  await first.velero.stop();
  const other = await harness.another({ nodes: 1, installBy: installBesideVelero });
  const place = places.at(-1) as Place;
  await other.until(backups, { namespace: VELERO, name: "moved" }, ({ status }) => status?.phase === "Completed");
  expect((await other.client.list(dataUploads, { namespace: VELERO })).items).toEqual([]);
  await other.seen(configMaps, { namespace: VELERO, labelSelector: "velero.io/data-upload-snapshot-info=true" }, (found) =>
    found.length === 2 ? true : undefined,
  );
  await place.velero.cli("backup", "delete", "moved", "--confirm");
  await other.seen(backups, { namespace: VELERO }, (found) => (found.length === 0 ? true : undefined));
  expect(await snapshotIds(harness)).toEqual([]);
  await other.seen(configMaps, { namespace: VELERO, labelSelector: "velero.io/data-upload-snapshot-info=true" }, (found) =>
    found.length === 0 ? true : undefined,
  );
});

/** Manifests of snapshots in the repository of the application's namespace, which has the password that Velero gives. */
async function snapshotIds(harness: Harness): Promise<readonly string[]> {
  return harness.repository("shop", async ({ snapshots }) => (await snapshots.list()).snapshots.map(({ id }) => id), "static-passw0rd");
}
