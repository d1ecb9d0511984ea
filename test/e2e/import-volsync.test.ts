/** Backups of OADP 1.2 turned into today's, in their bucket, and restored by today's data mover; a plain repository of restic's turned into one of Kopia's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { backupStorageLocations, backups, dataDownloads, volumeSnapshotRestores } from "@drayage/api";
import type { ObjectStore } from "@drayage/blob";
import { openS3ObjectStore } from "@drayage/blob/s3";
import { afterAll, beforeAll, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION, REPOSITORY_PASSWORD, VELERO } from "./harness.ts";
import { factsOf, startApplication, untilRunning } from "./sample-application.ts";
import { defineMachines, machines } from "./virtual-machine.ts";

interface Fixture {
  readonly password: string;
  readonly expected: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bucket: Readonly<Record<string, string>>;
}
const fixture = JSON.parse(readFileSync(join(import.meta.dirname, "../fixtures/oadp-1.2/bucket.json"), "utf8")) as Fixture;

let harness: Harness;
let store: ObjectStore;

beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  await defineMachines(harness);
  store = await openS3ObjectStore({ bucket: BUCKET, region: REGION, endpoint: harness.store.url, pathStyle: true, credentials: KEYS });
  for (const [key, base64] of Object.entries(fixture.bucket)) await store.put(key, Buffer.from(base64, "base64"));
}, 180_000);
afterAll(async () => {
  await store?.close();
  await harness?.destroy();
});

const url = (): string => `s3://${BUCKET}?endpoint=${harness.store.url}&region=${REGION}&pathStyle=true`;

/** Keys and passwords come in by the environment alone. */
function importing(...args: readonly string[]): Promise<string> {
  return harness.drayWith(
    {
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      RESTIC_PASSWORD: fixture.password,
      DRAY_REPOSITORY_PASSWORD: REPOSITORY_PASSWORD,
      DRAY_STATE_DIR: join(harness.cluster.directory, "..", "state"),
    },
    "import",
    "volsync",
    url(),
    "--prefix",
    "velero",
    ...args,
  );
}

/** What a volume holds, without its own directory. */
async function volumeFacts(namespace: string, claim: string): Promise<string> {
  const lines = (await factsOf(harness, namespace, claim)).split("\n");
  return lines
    .filter((line) => line !== "" && !line.startsWith(". ") && !line.startsWith("./lost+found"))
    .map((line) => `${line}\n`)
    .join("");
}

it("says what it would do and changes nothing, then does it, and finds it done", async () => {
  const before = await keys();
  const plan = await importing("--backup", "oadp-12", "--dry-run");
  expect(plan).toMatch(/^BACKUP\s+VOLUME\s+SIZE\s+FILES\s+RESTIC SNAPSHOT\s+IMPORTED\n/);
  expect(plan).toMatch(/Would import 1 of 1 backups: /);
  expect(await keys()).toEqual(before);
  expect(await importing("--backup", "oadp-12")).toMatch(/Backup oadp-12 is backup oadp-12-imported now: 3 volumes/);
  // The backup of then, and restic's repositories, stay as they are.
  for (const [key, base64] of Object.entries(fixture.bucket)) expect(Buffer.from(await store.get(key)).toString("base64"), key).toBe(base64);
  expect(await importing("--backup", "oadp-12")).toBe("Backup oadp-12 is backup oadp-12-imported already\n");
});

it("restores with today's data mover what restic had stored, without restic and its password", async () => {
  await harness.client.create(backupStorageLocations, {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { namespace: VELERO, name: "of-then" },
    spec: { provider: "aws", objectStorage: { bucket: BUCKET, prefix: "velero" }, config: harness.locationConfig, backupSyncPeriod: "2s" },
  });
  await harness.until(backups, { namespace: VELERO, name: "oadp-12-imported" }, () => true);
  const { status } = await harness.restore("again", { backupName: "oadp-12-imported" });
  expect(status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 3 });
  expect((await harness.client.list(volumeSnapshotRestores)).items).toEqual([]);
  expect((await harness.client.list(dataDownloads, { namespace: VELERO })).items).toHaveLength(3);
  await untilRunning(harness, "shop");
  expect(await volumeFacts("shop", "orders")).toBe(fixture.expected["oadp-12"]?.["orders"]);
  // It was empty.
  expect(await volumeFacts("shop", "scratch")).toBe("");
  expect((await harness.client.get(machines, { namespace: "vms", name: "vm" }))["spec"]).toMatchObject({ runStrategy: "Always" });
  await startApplication(harness, "vms", { root: {} });
  expect(await volumeFacts("vms", "root")).toBe(fixture.expected["oadp-12"]?.["root"]);
});

async function keys(): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.listAll("")) found.push(key);
  return found.sort();
}
