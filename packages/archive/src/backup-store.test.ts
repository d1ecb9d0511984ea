import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { type Backup, type DownloadTargetKind, loadCrds } from "@drayage/api";
import { utf8 } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { MemoryObjectStore } from "@drayage/blob/testing";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ArchiveBackupStore } from "./backup-store.ts";
import { readEntries } from "./tarball-reader.ts";

const recorded = new URL("../../../test/fixtures/velero-1.18.3/bucket/", import.meta.url).pathname;

let temporaryFolder = "";
let objects: MemoryObjectStore;
let store: ArchiveBackupStore;

beforeEach(async () => {
  temporaryFolder = await mkdtemp(join(tmpdir(), "archive-"));
  objects = new MemoryObjectStore(new VirtualClock());
  store = new ArchiveBackupStore({ store: objects, temporaryFolder, clock: new VirtualClock() });
});
afterEach(async () => {
  expect(await readdir(temporaryFolder), "everything temporary is removed").toEqual([]);
  await rm(temporaryFolder, { recursive: true });
});

async function loadRecording(): Promise<void> {
  for (const entry of await readdir(recorded, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    await objects.put(path.slice(recorded.length), await readFile(path));
  }
}

const backup = (name: string): Backup => ({ apiVersion: "velero.io/v1", kind: "Backup", metadata: { name, namespace: "velero" }, spec: {} });
const item = (name: string, overrides: object = {}) => ({ groupResource: "pods", namespace: "shop", name, version: "v1", preferred: true, ...overrides });
const pod = (name: string) => ({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop" } });

async function putBackup(name: string): Promise<void> {
  const writer = await store.newArchiveWriter(name);
  await writer.add(item("a"), pod("a"));
  await writer.add(item("b"), pod("b"));
  await writer.add({ groupResource: "namespaces", namespace: undefined, name: "shop", version: "v1", preferred: true }, { metadata: { name: "shop" } });
  await store.putBackup({ backup: backup(name), archive: await writer.finish(), results: { errors: {}, warnings: {} }, podVolumeBackups: null });
  await writer.dispose();
}

async function entriesOf(name: string): Promise<Map<string, string>> {
  const bytes = await objects.get(`backups/${name}/${name}.tar.gz`);
  const found = new Map<string, string>();
  for await (const entry of readEntries(oneChunk(bytes), name)) found.set(entry.name, Buffer.from(entry.bytes).toString());
  return found;
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

describe("a backup that Velero wrote", () => {
  it("is listed, and every file of it is read", async () => {
    await loadRecording();
    expect(await store.listBackups()).toEqual(["second"]);
    expect((await store.getBackup("second")).status?.phase).toBe("Completed");
    expect(await store.getItemOperations("second")).toMatchObject([
      { spec: { resourceIdentifier: { Name: "files" } }, status: { phase: "Completed", nTotal: 1500101 } },
      { status: { nTotal: 4194304 } },
    ]);
    expect((await store.getVolumeInfos("second")).map(({ pvcName, backupMethod }) => [pvcName, backupMethod])).toEqual([
      ["fsb", "PodVolumeBackup"],
      ["files", "CSISnapshot"],
      ["disk", "CSISnapshot"],
    ]);
    expect(await store.getPodVolumeBackups("second")).toHaveLength(1);
    expect(await store.getResults("second")).toEqual({ errors: {}, warnings: {} });
    expect(await store.getRestoreItemOperations("back")).toHaveLength(2);
    expect(Object.keys(await store.getRestoreResourceList("back"))).toContain("v1/Pod");
    expect(await store.validate()).toEqual({ ok: true });
  });

  it("its tarball gives every item once, at the preferred version", async () => {
    await loadRecording();
    const archive = await store.openArchive("second");
    expect(archive.formatVersion).toBe("1.1.0");
    expect(archive.items("persistentvolumeclaims").map(({ name, version }) => [name, version])).toEqual([
      ["disk", "v1"],
      ["files", "v1"],
      ["fsb", "v1"],
    ]);
    const upload = archive.items("datauploads.velero.io")[0];
    expect(upload === undefined ? undefined : await archive.read(upload)).toMatchObject({ kind: "DataUpload", status: { phase: "Completed" } });
    expect(archive.find("namespaces", undefined, "notes")).toMatchObject({ version: "v1", preferred: true });
    expect(archive.find("namespaces", "notes", "notes")).toBeUndefined();
    expect(archive.versions("deployments.apps")).toEqual([{ version: "v1", preferred: true }]);
    await archive.dispose();
  });

  it("written again with one item replaced keeps every other entry as it was", async () => {
    await loadRecording();
    const before = await entriesOf("second");
    const ref = { groupResource: "configmaps", namespace: "notes", name: "settings", version: "v1", preferred: true };
    const updated = await store.updateArchive("second", [{ ref, object: { metadata: { name: "settings" }, data: {} } }]);
    await store.putBackup({ backup: await store.getBackup("second"), archive: updated });
    await updated.dispose();
    const after = await entriesOf("second");
    const changed = [...before.keys()].filter((name) => before.get(name) !== after.get(name));
    expect([...after.keys()]).toEqual([...before.keys()]);
    expect(changed).toEqual(["resources/configmaps/namespaces/notes/settings.json", "resources/configmaps/v1-preferredversion/namespaces/notes/settings.json"]);
  });
});

describe("a backup of ours", () => {
  it("has the files of Velero's layout, packed as Velero's are", async () => {
    await putBackup("mine");
    const keys: string[] = [];
    for await (const { key } of objects.listAll("")) keys.push(key);
    expect(keys).toEqual([
      "backups/mine/mine-podvolumebackups.json.gz",
      "backups/mine/mine-results.gz",
      "backups/mine/mine.tar.gz",
      "backups/mine/velero-backup.json",
    ]);
    expect(gunzipSync(await objects.get("backups/mine/mine-results.gz")).toString()).toBe('{"errors":{},"warnings":{}}\n');
    expect(gunzipSync(await objects.get("backups/mine/mine-podvolumebackups.json.gz")).toString()).toBe("null\n");
    expect([...(await entriesOf("mine")).keys()].slice(0, 3)).toEqual([
      "metadata/version",
      "resources/pods/namespaces/shop/a.json",
      "resources/pods/v1-preferredversion/namespaces/shop/a.json",
    ]);
  });

  it("is downloaded file by file, each kind that can be asked for from where Velero puts it", async () => {
    await loadRecording();
    const [definition] = loadCrds("velero.io").filter(({ spec }) => spec.names.kind === "DownloadRequest");
    const kinds = JSON.stringify(definition).match(/"enum":(\["BackupLog"[^\]]*\])/)?.[1] ?? "[]";
    const files: Readonly<Record<DownloadTargetKind, string | undefined>> = {
      BackupLog: "backups/second/second-logs.gz",
      BackupContents: "backups/second/second.tar.gz",
      BackupVolumeSnapshots: "backups/second/second-volumesnapshots.json.gz",
      BackupItemOperations: "backups/second/second-itemoperations.json.gz",
      BackupResourceList: "backups/second/second-resource-list.json.gz",
      BackupResults: "backups/second/second-results.gz",
      BackupVolumeInfos: "backups/second/second-volumeinfo.json.gz",
      RestoreLog: "restores/back/restore-back-logs.gz",
      RestoreResults: "restores/back/restore-back-results.gz",
      RestoreResourceList: "restores/back/restore-back-resource-list.json.gz",
      RestoreItemOperations: "restores/back/restore-back-itemoperations.json.gz",
      RestoreVolumeInfo: "restores/back/back-volumeinfo.json.gz",
      // Of an earlier Velero's CSI snapshots; this one wrote none.
      CSIBackupVolumeSnapshots: undefined,
      CSIBackupVolumeSnapshotContents: undefined,
    };
    expect((JSON.parse(kinds) as string[]).sort()).toEqual(Object.keys(files).sort());
    for (const [kind, file] of Object.entries(files) as [DownloadTargetKind, string | undefined][]) {
      // The address of a store in memory holds the file itself.
      const url = await store.downloadUrl(kind, kind.startsWith("Restore") ? "back" : "second", 60_000);
      const wanted = file === undefined ? Buffer.alloc(0) : Buffer.from(await objects.get(file));
      expect(Buffer.from(url.split("base64,")[1] ?? "", "base64").equals(wanted), kind).toBe(true);
    }
  });

  it("does not exist until its metadata is there, nor after the deletion began", async () => {
    const writer = await store.newArchiveWriter("half");
    await objects.put("backups/half/half.tar.gz", utf8("x"));
    expect(await store.listBackups()).toEqual([]);
    await expect(store.getBackup("half")).rejects.toMatchObject({ code: "BACKUP_NOT_FOUND" });
    await writer.dispose();
    await writer.dispose();
    await putBackup("mine");
    await store.deleteBackup("mine");
    await store.deleteBackup("mine");
    expect(await store.listBackups()).toEqual([]);
    for await (const { key } of objects.listAll("backups/mine/")) expect.unreachable(key);
  });

  it("names of another kind than Kubernetes' never become keys", async () => {
    for (const name of ["", "..", "a/b", "a\u0000b"]) await expect(store.deleteBackup(name)).rejects.toMatchObject({ code: "VALIDATION_FAILED" });
  });
});

describe("validate", () => {
  it("names folders that Velero would object to", async () => {
    await objects.put("backups/x/velero-backup.json", utf8("{}"));
    await objects.put("drayage/x", utf8("x"));
    const reason = async () => ((await store.validate()) as { reason?: string }).reason;
    expect(await reason()).toContain("Backup store contains invalid top-level directories: [drayage];");
    for (const folder of ["a", "b", "c"]) await objects.put(`${folder}/x`, utf8("x"));
    expect(await reason()).toContain("Backup store contains 4 invalid top-level directories: [a b c ...];");
  });

  it.each([
    ["OADP 1.1", "openshift-adp/snapcontent-1-pvc/config"],
    ["OADP 1.2", "openshift-adp/daily/snapcontent-1-pvc/data/0a/0a1b"],
  ])("takes the repositories of volumes that the data mover of %s has beside the backups", async (_whose, key) => {
    await objects.put(key, utf8("x"));
    expect(await store.validate()).toEqual({ ok: true });
    await objects.put("else/daily/other/config", utf8("x"));
    expect(await store.validate()).toMatchObject({ ok: false, reason: expect.stringContaining("invalid top-level directories: [else];") as string });
  });
});

describe("damage", () => {
  it.each([0.2, 0.5, 0.9, 0.999])("a tarball cut at %d of its length is refused", async (share) => {
    await putBackup("mine");
    const bytes = await objects.get("backups/mine/mine.tar.gz");
    await objects.put("backups/mine/mine.tar.gz", bytes.subarray(0, Math.floor(bytes.length * share)));
    await expect(store.openArchive("mine")).rejects.toMatchObject({ code: "ARCHIVE_CORRUPT" });
  });

  it("rubbish, an empty file and a missing one are told apart from a missing backup", async () => {
    await putBackup("mine");
    for (const bytes of [utf8("rubbish"), gzipSync("rubbish"), new Uint8Array()]) {
      await objects.put("backups/mine/mine.tar.gz", bytes);
      await expect(store.openArchive("mine")).rejects.toMatchObject({ code: "ARCHIVE_CORRUPT" });
    }
    await objects.delete("backups/mine/mine.tar.gz");
    await expect(store.openArchive("mine")).rejects.toThrow("its tarball is missing");
    await objects.put("backups/mine/velero-backup.json", utf8("{"));
    await expect(store.getBackup("mine")).rejects.toMatchObject({ code: "ARCHIVE_CORRUPT" });
  });

  async function putTarball(fill: (tar: ReturnType<typeof pack>) => void): Promise<void> {
    const tar = pack();
    fill(tar);
    tar.finalize();
    const parts: Buffer[] = [];
    for await (const part of tar) parts.push(part as Buffer);
    await objects.put("backups/mine/mine.tar.gz", gzipSync(Buffer.concat(parts)));
  }

  it("entries that lead out, links and a format from the future are refused", async () => {
    await putTarball((tar) => tar.entry({ name: "resources/pods/cluster/../../../etc/x.json" }, "{}"));
    await expect(store.openArchive("mine")).rejects.toThrow("leads out of the tarball");
    await putTarball((tar) => tar.entry({ name: "resources/pods/cluster/x.json", type: "symlink", linkname: "/etc/passwd" }));
    await expect(store.openArchive("mine")).rejects.toThrow("is a symlink");
    await putTarball((tar) => {
      tar.entry({ name: "metadata/version" }, "2.0.0");
      tar.entry({ name: "resources/pods/namespaces/shop/a.json" }, "{}");
    });
    await expect(store.openArchive("mine")).rejects.toMatchObject({ code: "ARCHIVE_UNSUPPORTED" });
    const asFarAsKnown = await store.openArchive("mine", undefined, { anyVersion: true });
    expect([asFarAsKnown.formatVersion, asFarAsKnown.items("pods").length]).toEqual(["2.0.0", 1]);
    await asFarAsKnown.dispose();
  });

  it("an item that is no object names itself", async () => {
    await putTarball((tar) => tar.entry({ name: "resources/pods/namespaces/shop/a.json" }, "[1"));
    const archive = await store.openArchive("mine");
    const [ref] = archive.items("pods");
    expect(ref).toMatchObject({ name: "a", version: "", preferred: true });
    if (ref !== undefined) await expect(archive.read(ref)).rejects.toThrow("Cannot read pods shop/a of the backup");
    await archive.dispose();
  });
});
