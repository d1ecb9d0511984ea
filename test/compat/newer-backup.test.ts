/**
 * A backup of a format that is newer than both: as Velero 1.18.3 made it, with another version written into it. Both list, describe and delete it. Velero tries to restore it as if it knew
 * the format; we say what made it.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backup, backups } from "@drayage/api";
import { configMaps, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { type RealVelero, startRealVelero } from "./real-velero.ts";

const NOTE = { namespace: "notes", name: "note" };
let theirs: Harness;
let ours: Harness;
let velero: RealVelero;

beforeAll(async () => {
  theirs = await Harness.start({
    nodes: 1,
    installBy: async (harness) => {
      await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: VELERO } });
      velero = await startRealVelero(harness);
    },
  });
  await theirs.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: NOTE.namespace } });
  await theirs.client.create(configMaps, { metadata: NOTE, data: { text: "kept" } });
  await velero.cli("backup", "create", "plain", "--include-namespaces", NOTE.namespace, "--include-resources", "configmaps", "--wait");
  await putNewer("newer", "2.0.0");
  // What wrote only its tarball anew.
  await putNewer("half-newer", "1.1.0");
  ours = await theirs.another({ nodes: 1, serverArgs: ["--backup-sync-period=2s"] });
});
afterAll(async () => {
  await velero?.stop();
  await ours?.destroy();
  await theirs?.destroy();
});

/** A copy of the backup in the bucket under another name, whose tarball has format 2.0.0. */
async function putNewer(name: string, formatVersion: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "newer-backup-"));
  const tar = (...args: readonly string[]) => execFileSync("tar", ["-C", join(folder, "items"), ...args]);
  try {
    mkdirSync(join(folder, "items"));
    await theirs.bucket(async (store) => {
      const of = async (key: string): Promise<Uint8Array> => await store.get(`backups/plain/${key}`);
      writeFileSync(join(folder, "plain.tar.gz"), await of("plain.tar.gz"));
      tar("-xzf", join(folder, "plain.tar.gz"));
      writeFileSync(join(folder, "items", "metadata", "version"), "2.0.0\n");
      tar("-czf", join(folder, "newer.tar.gz"), "metadata", "resources");
      await store.put(`backups/${name}/${name}.tar.gz`, readFileSync(join(folder, "newer.tar.gz")));
      const { metadata, status, ...rest } = JSON.parse(Buffer.from(await of("velero-backup.json")).toString()) as Backup;
      const backup = { ...rest, metadata: { ...metadata, name }, status: { ...status, formatVersion, version: Number.parseInt(formatVersion, 10) } };
      await store.put(`backups/${name}/velero-backup.json`, Buffer.from(JSON.stringify(backup)));
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const untilThere = (harness: Harness, name: string) => harness.until(backups, { namespace: VELERO, name }, ({ status }) => status?.phase === "Completed");

it("is listed and described, and its restore is refused with what made it and what to do", async () => {
  for (const name of ["newer", "half-newer"]) await untilThere(ours, name);
  expect(await ours.dray("backup", "describe", "newer", "-n", VELERO)).toMatch(/Backup Format Version:\s+2\.0\.0/);
  const refused = await ours.restore("back", { backupName: "newer" });
  expect(refused.status).toMatchObject({
    phase: "FailedValidation",
    validationErrors: [
      'backup "newer" has format version 2.0.0, where at most 1.x is read here: it was made by a newer program; restore it with that one, or update this one',
    ],
  });
  const failed = await ours.restore("half-back", { backupName: "half-newer" });
  expect(failed.status).toMatchObject({
    phase: "Failed",
    failureReason: expect.stringMatching(/format version is 2\.0\.0, at most 1\.x is read here.*newer program/s),
  });
  expect(await ours.client.find(configMaps, NOTE)).toBeUndefined();
});

it("is restored by Velero as if it were one of today's", async () => {
  await untilThere(theirs, "newer");
  expect(await velero.cli("backup", "describe", "newer")).toMatch(/Backup Format Version:\s+2\.0\.0/);
  await velero.cli("restore", "create", "back", "--from-backup", "newer", "--namespace-mappings", `${NOTE.namespace}:copies`, "--wait");
  expect((await theirs.endOfRestore("back")).status).toMatchObject({ phase: "Completed" });
  expect((await theirs.client.get(configMaps, { ...NOTE, namespace: "copies" })).data).toEqual({ text: "kept" });
});

it("is deleted by either", async () => {
  await ours.dray("backup", "delete", "newer", "--confirm", "-n", VELERO);
  await ours.untilGone(backups, { namespace: VELERO, name: "newer" });
  await untilThere(theirs, "half-newer");
  await velero.cli("backup", "delete", "half-newer", "--confirm");
  await theirs.untilGone(backups, { namespace: VELERO, name: "half-newer" });
  expect(await ours.archive((store) => store.listBackups())).toEqual(["plain"]);
});
