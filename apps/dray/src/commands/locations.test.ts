import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { backupRepositories, backupStorageLocations, backups } from "@drayage/api";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { locationFrom } from "./backup-location-create.ts";
import { deleteLocations } from "./backup-location-delete.ts";
import { changeFrom, setLocation } from "./backup-location-set.ts";
import { snapshotLocationFrom } from "./snapshot-location-create.ts";

const NAMESPACE = "velero";
let folder: string;
let terminal: RecordingTerminal;
let client: FakeKubeClient;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "locations-"));
  terminal = new RecordingTerminal({ cwd: folder });
  client = new FakeKubeClient({ clock: terminal.clock });
  for (const [name, isDefault] of [
    ["first", true],
    ["second", false],
  ] as const) {
    const spec = { provider: "aws", objectStorage: { bucket: name }, default: isDefault };
    client.seed(backupStorageLocations, { metadata: { namespace: NAMESPACE, name }, spec });
    const labels = { "velero.io/storage-location": name };
    client.seed(backups, { metadata: { namespace: NAMESPACE, name: `of-${name}`, labels }, spec: {} });
    client.seed(backupRepositories, {
      metadata: { namespace: NAMESPACE, name: `notes-${name}-kopia`, labels },
      spec: { backupStorageLocation: name, maintenanceFrequency: "1h", repositoryType: "kopia", volumeNamespace: "notes" },
    });
  }
});
afterEach(() => rmSync(folder, { recursive: true }));
const specOf = (name: string) => client.peek(backupStorageLocations, { namespace: NAMESPACE, name })?.spec;

describe("a location is made of its flags", () => {
  it("for backups, with everything that its spec has", () => {
    writeFileSync(join(folder, "ca.pem"), "-----BEGIN CERTIFICATE-----\nx\n");
    const flags = {
      provider: "aws",
      bucket: "b",
      prefix: "p",
      config: ["region=r", "s3Url=https://s"],
      credential: "keys=cloud",
      cacert: "ca.pem",
      accessMode: "ReadOnly",
      backupSyncPeriod: "0s",
      validationFrequency: "5m",
      default: true,
      labels: ["a=b"],
    };
    expect(locationFrom("l", flags, terminal)).toEqual({
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: { name: "l", labels: { a: "b" } },
      spec: {
        provider: "aws",
        objectStorage: { bucket: "b", prefix: "p", caCert: Buffer.from("-----BEGIN CERTIFICATE-----\nx\n").toString("base64") },
        config: { region: "r", s3Url: "https://s" },
        credential: { name: "keys", key: "cloud" },
        accessMode: "ReadOnly",
        backupSyncPeriod: "0s",
        validationFrequency: "5m",
        default: true,
      },
    });
  });

  it("for snapshots", () =>
    expect(snapshotLocationFrom("l", { provider: "acme", config: ["region=r"], credential: "keys=cloud" })).toEqual({
      apiVersion: "velero.io/v1",
      kind: "VolumeSnapshotLocation",
      metadata: { name: "l" },
      spec: { provider: "acme", config: { region: "r" }, credential: { name: "keys", key: "cloud" } },
    }));

  it.each([
    [["backup-location", "create", "l", "--provider", "aws"], "--provider and --bucket are required"],
    [["backup-location", "create", "l", "--provider", "aws", "--bucket", "b", "--access-mode", "WriteOnly"], "ReadOnly or ReadWrite is wanted"],
    [["backup-location", "create", "l", "--provider", "aws", "--bucket", "b", "--credential", "keys"], "value is wanted"],
    [["backup-location", "set", "l"], "say what with --cacert"],
    [["snapshot-location", "create", "l"], "--provider is required"],
    [["snapshot-location", "set", "l"], "say what with --credential"],
  ])("%j: %s", async (words, message) => {
    expect(await run(words, terminal)).toBe(2);
    expect(terminal.errors).toContain(message);
  });
});

it("a location that becomes the default takes that from the one before", async () => {
  await setLocation({ client, namespace: NAMESPACE }, "second", changeFrom({ default: true, accessMode: "ReadOnly" }, terminal), terminal);
  expect(specOf("second")).toMatchObject({ default: true, accessMode: "ReadOnly" });
  expect(specOf("first")).toMatchObject({ default: false });
  await expect(setLocation({ client, namespace: NAMESPACE }, "third", changeFrom({ default: true }, terminal), terminal)).rejects.toMatchObject({
    hint: "There are: first, second.",
  });
});

it("a location that is deleted takes the records of its backups and repositories along, and no others", async () => {
  const access = { client, namespace: NAMESPACE };
  await expect(deleteLocations(access, ["first"], {}, terminal)).rejects.toMatchObject({ code: "USAGE" });
  await deleteLocations(access, ["first"], { confirm: true }, terminal);
  expect(terminal.text).toBe(
    'Backup storage location "first" deleted successfully.\nRemoved associated backup "of-first".\nRemoved associated backup repository "notes-first-kopia".\n',
  );
  expect(client.all(backups).map(({ metadata }) => metadata.name)).toEqual(["of-second"]);
  expect(client.all(backupRepositories).map(({ metadata }) => metadata.name)).toEqual(["notes-second-kopia"]);
  expect(specOf("second")).toBeDefined();
});
