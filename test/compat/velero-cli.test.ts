/** Velero's own command line (1.18.3) against our server in a whole cluster: what its users type goes on working. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { backups, restores, schedules } from "@drayage/api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "../e2e/sample-application.ts";
import { peer } from "./peers.ts";

let harness: Harness;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "velero-cli-"));
  harness = await Harness.start({ nodes: 1 });
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
});
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** What the command prints. Throws with its messages when it does not end with 0. */
async function velero(...args: readonly string[]): Promise<string> {
  const env = { PATH: process.env["PATH"], HOME: folder, KUBECONFIG: harness.cluster.kubeconfigPath };
  const { stdout, stderr } = await promisify(execFile)(peer("velero"), [...args, "-n", VELERO], { env, cwd: folder, maxBuffer: 64 << 20 });
  return stripVTControlCharacters(stdout + stderr);
}

const wordsOf = (table: string): string[][] =>
  table
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));

describe("velero's command line", () => {
  it("knows the server and its locations", async () => {
    expect(await velero("version")).toMatch(/Server:\s+Version: v\d+\.\d+\.\d+/);
    expect(await velero("backup-location", "get")).toMatch(/default\s+aws\s+backups\s+Available/);
    const plugins = await velero("plugin", "get");
    expect(plugins).toMatch(/velero\.io\/aws\s+ObjectStore/);
    expect(wordsOf(await harness.dray("plugin", "get"))).toEqual(wordsOf(plugins));
  });

  it("makes a backup and waits for it, shows it in full with its volume, and fetches its log and its contents", async () => {
    const made = await velero("backup", "create", "first", "--include-namespaces", "shop", "--snapshot-move-data", "--labels", "team=a", "--wait");
    expect(made).toContain("Backup completed with status: Completed");
    expect(await velero("backup", "get", "--selector", "team=a")).toMatch(/first\s+Completed\s+0\s+0/);
    const described = await velero("backup", "describe", "first", "--details");
    for (const line of [
      /Phase:\s+Completed/,
      /Snapshot Move Data:\s+true/,
      /Resource List:[\s\S]*v1\/PersistentVolumeClaim:\s+- shop\/files/,
      /CSI Snapshots:\s+shop\/files:\s+Data Movement:[\s\S]*Data Mover: velero[\s\S]*Uploader Type: kopia[\s\S]*Result: succeeded/,
      /Backup Item Operations:\s+Operation for persistentvolumeclaims shop\/files:[\s\S]*Phase:\s+Completed/,
    ])
      expect(described).toMatch(line);
    expect(await velero("backup", "logs", "first")).toMatch(/level=info msg="Backed up a total of \d+ items" backup=velero\/first/);
    await velero("backup", "download", "first", "--output", join(folder, "first.tar.gz"));
    expect(statSync(join(folder, "first.tar.gz")).size).toBeGreaterThan(1_000);
  });

  it("brings it back into another namespace, and shows how", async () => {
    const made = await velero("restore", "create", "back", "--from-backup", "first", "--namespace-mappings", "shop:copy", "--wait");
    expect(made).toContain("Restore completed with status: Completed");
    await untilRunning(harness, "copy");
    expect(await factsOf(harness, "copy", "files")).toBe(await factsOf(harness, "shop", "files"));
    expect(await velero("restore", "get")).toMatch(/back\s+first\s+Completed/);
    const described = await velero("restore", "describe", "back", "--details");
    for (const line of [
      /Phase:\s+Completed/,
      /Namespace mappings:\s+shop=copy/,
      /CSI Snapshot Restores:\s+copy\/files:\s+Data Movement:[\s\S]*Uploader Type: kopia/,
      /Restore Item Operations:\s+Operation for persistentvolumeclaims copy\/files:[\s\S]*Phase:\s+Completed/,
      /v1\/Pod:\s+- copy\/\S+\(created\)/,
    ])
      expect(described).toMatch(line);
    expect(await velero("restore", "logs", "back")).toMatch(/Starting restore of backup velero\/first/);
  });

  it("makes, shows, pauses and runs a schedule", async () => {
    await velero("schedule", "create", "nightly", "--schedule", "0 3 * * *", "--include-namespaces", "shop", "--snapshot-volumes=false", "--ttl", "24h");
    await harness.until(schedules, { namespace: VELERO, name: "nightly" }, ({ status }) => status?.phase === "Enabled");
    expect(await velero("schedule", "get")).toMatch(/nightly\s+Enabled\s+.*0 3 \* \* \*\s+24h0m0s/);
    expect(await velero("schedule", "describe", "nightly")).toMatch(/Phase:\s+Enabled[\s\S]*Schedule:\s+0 3 \* \* \*/);
    expect(await velero("schedule", "pause", "nightly")).toContain("paused successfully");
    expect(await velero("backup", "create", "from-schedule", "--from-schedule", "nightly", "--wait")).toContain("Backup completed with status: Completed");
    await velero("schedule", "delete", "nightly", "--confirm");
    expect(await harness.client.find(schedules, { namespace: VELERO, name: "nightly" })).toBeUndefined();
  });

  it("deletes a restore and a backup with everything they stored", async () => {
    await velero("restore", "delete", "back", "--confirm");
    await harness.seen(restores, { namespace: VELERO }, (found) => (found.length === 0 ? true : undefined));
    await velero("backup", "delete", "first", "--confirm");
    await harness.seen(backups, { namespace: VELERO }, (found) => (found.some(({ metadata }) => metadata.name === "first") ? undefined : true));
    expect(await harness.archive((store) => store.listBackups())).toEqual(["from-schedule"]);
  });
});
