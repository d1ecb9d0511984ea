import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BackupRepository,
  type BackupStorageLocation,
  backupRepositories,
  backupStorageLocations,
  DATA_PATH_CANCELED,
  DATA_PATH_EVENTS,
  type DataDownload,
  type DataUpload,
  DRAYAGE_ANNOTATIONS,
  dataDownloads,
  dataUploads,
  isProven,
  LABELS,
  parseBackupDataPathResult,
  parseDataPathProgress,
  parseToldResult,
} from "@drayage/api";
import { type RandomSource, systemClock } from "@drayage/base";
import { memoryLogger, seededRandom } from "@drayage/base/testing";
import { events, keyOf, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { type DeriveFormatKey, globalTarget, PolicyStore, policyLabels, rememberingKeys } from "@drayage/repo";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeProblems } from "./built-in-mover.ts";
import { runDataMoverBackup } from "./data-mover-backup.ts";
import { runDataMoverRestore } from "./data-mover-restore.ts";
import { prepareRepository, withRepository } from "./open-repository.ts";
import { accessTo } from "./repository-access.ts";
import { createRepositoryService } from "./repository-service.ts";
import { type Outcome, runDataMover } from "./run-data-mover.ts";

const NS = "velero";
const OPERATION = "du-0e8b41bf.f5d32380";

let folder: string;
let client: FakeKubeClient;
/** One for all programs of a test, as they would have it: those that begin alike give their packs the same names. */
let random: RandomSource;
beforeEach(() => {
  random = seededRandom(5);
  folder = mkdtempSync(join(tmpdir(), "drayage-mover-"));
  client = new FakeKubeClient({ clock: systemClock });
  client.seed(secrets, secret("velero-repo-credentials", "repository-password", "correct horse"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const secret = (name: string, key: string, value: string) => ({ metadata: { namespace: NS, name }, data: { [key]: Buffer.from(value).toString("base64") } });
const deps = () => ({ client, clock: systemClock, random, logger: memoryLogger(), namespace: NS });

function location(accessMode: "ReadWrite" | "ReadOnly" = "ReadWrite"): BackupStorageLocation {
  return client.seed(backupStorageLocations, {
    metadata: { namespace: NS, name: "default" },
    spec: { provider: "fs", accessMode, objectStorage: { bucket: "bucket", prefix: "cluster-1" }, config: { fspath: folder } },
  });
}

function repository(config?: Record<string, string>): BackupRepository {
  return client.seed(backupRepositories, {
    metadata: {
      namespace: NS,
      name: "notes-default-kopia",
      labels: { [LABELS.volumeNamespace]: "notes", [LABELS.storageLocation]: "default", [LABELS.repositoryType]: "kopia" },
    },
    spec: {
      backupStorageLocation: "default",
      maintenanceFrequency: "1h0m0s",
      repositoryType: "kopia",
      volumeNamespace: "notes",
      ...(config === undefined ? {} : { repositoryConfig: config }),
    },
  });
}

function volume(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

/** What a node-agent mounts into a pod of ours. */
function mountedSecret(place: BackupStorageLocation, password: string): string {
  const path = volume("secret");
  writeFileSync(join(path, "location.json"), JSON.stringify({ metadata: place.metadata, spec: place.spec }));
  writeFileSync(join(path, "repository.json"), JSON.stringify({ spec: repository().spec }));
  writeFileSync(join(path, "repository-password"), password);
  return path;
}

function fill(path: string): void {
  mkdirSync(join(path, "deep", "er"), { recursive: true });
  writeFileSync(join(path, "a.txt"), "hello", { mode: 0o640 });
  writeFileSync(join(path, "deep", "er", "ünï ☃"), Buffer.alloc(300_000, 7));
  writeFileSync(join(path, "empty"), "");
  symlinkSync("a.txt", join(path, "link"));
  utimesSync(join(path, "a.txt"), 1_700_000_000, 1_700_000_000.5);
}

/** Names, kinds, modes, times and bytes of a tree. */
function tree(path: string, below = ""): string[] {
  return readdirSync(join(path, below))
    .sort()
    .flatMap((name) => {
      const at = join(below, name);
      const stat = lstatSync(join(path, at));
      const what = stat.isDirectory() ? "" : stat.isSymbolicLink() ? "link" : readFileSync(join(path, at)).toString("base64").slice(0, 40);
      return [`${at} ${stat.mode.toString(8)} ${stat.mtimeMs} ${what}`, ...(stat.isDirectory() ? tree(path, at) : [])];
    });
}

function upload(name: string, status: DataUpload["status"] = { phase: "InProgress", node: "node-1" }): DataUpload {
  return client.seed(dataUploads, {
    metadata: { namespace: NS, name, labels: { [LABELS.asyncOperationId]: OPERATION } },
    spec: { backupStorageLocation: "default", operationTimeout: "10m0s", snapshotType: "CSI", sourceNamespace: "notes", sourcePVC: "files" },
    ...(status === undefined ? {} : { status }),
  });
}

function download(name: string, snapshotID: string): DataDownload {
  return client.seed(dataDownloads, {
    metadata: { namespace: NS, name },
    spec: {
      backupStorageLocation: "default",
      operationTimeout: "10m0s",
      snapshotID,
      sourceNamespace: "notes",
      targetVolume: { namespace: "notes-2", pv: "", pvc: "files" },
    },
    status: { phase: "InProgress", node: "node-1" },
  });
}

const run = (volumePath: string) => ({
  ...deps(),
  nodeName: "node-1",
  volumePath,
  volumeMode: "Filesystem" as const,
  secretPath: join(folder, "no-secret"),
  terminationLogPath: join(folder, "termination-log"),
});
const termination = (): string => readFileSync(join(folder, "termination-log"), "utf8");
const reasons = (): (string | undefined)[] => client.all(events).map(({ reason }) => reason);

async function backUp(name: string, path: string): Promise<{ code: number; snapshotID: string }> {
  upload(name);
  const code = await runDataMoverBackup({ ...run(path), dataUploadName: name });
  return { code, snapshotID: parseBackupDataPathResult(termination())?.snapshotID ?? "" };
}

describe("the built-in mover", () => {
  it("backs a volume up and restores it, byte for byte", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    const source = volume("source");
    fill(source);
    const { code, snapshotID } = await backUp("first-a", source);
    expect(code).toBe(0);
    expect(JSON.parse(termination())).toMatchObject({
      snapshotID,
      emptySnapshot: false,
      source: { byPath: source, volumeMode: "Filesystem" },
      totalBytes: 300_005,
    });
    expect(reasons()).toEqual(
      expect.arrayContaining([DATA_PATH_EVENTS.started, DATA_PATH_EVENTS.progress, DATA_PATH_EVENTS.completed, DATA_PATH_EVENTS.stopped]),
    );

    const target = volume("target");
    download("back-a", snapshotID);
    expect(await runDataMoverRestore({ ...run(target), dataDownloadName: "back-a" })).toBe(0);
    expect(JSON.parse(termination())).toEqual({ target: { byPath: target, volumeMode: "Filesystem" }, totalBytes: 300_005 });
    expect(tree(target)).toEqual(tree(source));
  });

  it("tells its progress on one event, and about its own object", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    const source = volume("source");
    fill(source);
    await backUp("first-a", source);
    const told = client.all(events).filter(({ reason }) => reason === DATA_PATH_EVENTS.progress);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      // What Velero reads comes first; what it does not know comes after it.
      message: expect.stringMatching(/^\{"totalBytes":300005,"doneBytes":300005,"details":\{"phase":"done","filesDone":3,"filesTotal":3,/),
      involvedObject: { apiVersion: "velero.io/v2alpha1", kind: "DataUpload", namespace: NS, name: "first-a", uid: client.all(dataUploads)[0]?.metadata.uid },
      source: { component: "first-a", host: "node-1" },
    });
  });

  it("writes snapshots under Velero's source, tags, description and pin, the second one on top of the first", async () => {
    const place = location();
    const repo = repository();
    await createRepositoryService(deps()).ensure(repo, place);
    const source = volume("source");
    fill(source);
    await backUp("first-a", source);
    writeFileSync(join(source, "new"), "13 more bytes");
    await backUp("second-a", source);
    const result = parseBackupDataPathResult(termination());
    expect(result?.totalBytes).toBe(300_018);
    expect(result?.incrementalBytes).toBe(13);
    const access = await accessTo(client, NS, place, "notes", repo);
    const { snapshots } = await withRepository(access, deps(), (open) => open.snapshots.list());
    expect(snapshots).toHaveLength(2);
    expect(snapshots[0]).toMatchObject({
      source: { userName: "default", host: "default", path: "snapshot-data-upload-download/kopia/notes/files" },
      description: "Kopia Uploader",
      tags: { "snapshot-requester": "snapshot-data-upload-download", "snapshot-uploader": "kopia", "velero.io/async-operation-id": OPERATION },
      pins: ["velero-pin"],
    });
  });

  it("goes by the policies of the repository and by ignore files, and keeps the policy that Velero saves", async () => {
    const place = location();
    const repo = repository();
    await createRepositoryService(deps()).ensure(repo, place);
    const access = await accessTo(client, NS, place, "notes", repo);
    await withRepository(access, deps(), async (open) => {
      const policy = '{"files":{"ignore":["*.tmp"],"maxFileSize":200000},"compression":{"compressorName":"zstd"}}';
      await open.manifests.replace(policyLabels(globalTarget), policy);
      await open.flush();
    });
    const source = volume("source");
    fill(source);
    writeFileSync(join(source, "scratch.tmp"), "not kept");
    writeFileSync(join(source, "deep", ".kopiaignore"), "core\n");
    writeFileSync(join(source, "deep", "core"), "not kept either");
    const { code, snapshotID } = await backUp("first-a", source);
    expect(code).toBe(0);
    const target = volume("target");
    download("back-a", snapshotID);
    expect(await runDataMoverRestore({ ...run(target), dataDownloadName: "back-a" })).toBe(0);
    expect(readdirSync(target, { recursive: true }).sort()).toEqual(["a.txt", "deep", "deep/.kopiaignore", "deep/er", "empty", "link"]);
    await withRepository(access, deps(), async (open) => {
      const path = "snapshot-data-upload-download/kopia/notes/files";
      const effective = await new PolicyStore(open.manifests).effective({ userName: "default", host: "default", path });
      expect([effective.compression.name, effective.ignoreRules]).toEqual(["none", ["*.tmp"]]);
    });
  });

  it("opens a location's repositories with the password that the location names", async () => {
    client.seed(secrets, secret("shared-bucket", "word", "battery staple"));
    const place = location();
    const named = { ...place, metadata: { ...place.metadata, annotations: { "drayage.io/repository-password": "shared-bucket/word" } } };
    client.mutate(backupStorageLocations, keyOf(place), (object) => {
      object.metadata.annotations = named.metadata.annotations;
    });
    const repo = repository();
    await createRepositoryService(deps()).ensure(repo, named);
    const source = volume("source");
    fill(source);
    expect((await backUp("first-a", source)).code).toBe(0);
    const access = await accessTo(client, NS, named, "notes", repo);
    expect(access.password).toBe("battery staple");
    await expect(withRepository({ ...access, password: "correct horse" }, deps(), async () => undefined)).rejects.toMatchObject({
      code: "REPO_WRONG_PASSWORD",
    });
  });

  it("reads everything it needs from its mounted secret", async () => {
    const place = location();
    await createRepositoryService(deps()).ensure(repository(), place);
    const secretPath = mountedSecret(place, "correct horse\n");
    client.failNext({ resource: "secrets" }, "KUBE_FORBIDDEN", 100);
    const source = volume("source");
    fill(source);
    upload("first-a");
    expect(await runDataMoverBackup({ ...run(source), secretPath, dataUploadName: "first-a" })).toBe(0);
  });

  it("prepares for its repository without a trace, and derives the key of it once", async () => {
    const place = location();
    await createRepositoryService(deps()).ensure(repository(), place);
    const inPlace = () => tree(folder);
    const before = inPlace();
    const remembering = rememberingKeys();
    const derived = new Set<Promise<Uint8Array>>();
    const deriveKey: DeriveFormatKey = (...of) => {
      const key = remembering(...of);
      derived.add(key);
      return key;
    };
    const access = { ...(await accessTo(client, NS, place, "notes", repository())), deriveKey };
    await prepareRepository(access, deps());
    expect(inPlace()).toEqual(before);
    expect(await withRepository(access, deps(), async ({ identity }) => identity.host)).toBe("default");
    expect(derived.size).toBe(1);
  });

  it("tells that it cannot open its repository when its turn has come, not while it prepares for that", async () => {
    const place = location();
    await createRepositoryService(deps()).ensure(repository(), place);
    const secretPath = mountedSecret(place, "another\n");
    upload("first-a", { phase: "Prepared" });
    const running = runDataMoverBackup({ ...run(volume("source")), secretPath, dataUploadName: "first-a" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(client.all(events)).toEqual([]);
    client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
      object.status = { phase: "InProgress" };
    });
    expect(await running).toBe(1);
    expect(termination()).toContain("password");
  });

  it("waits until its object is in progress", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    const source = volume("source");
    upload("first-a", { phase: "Prepared" });
    const running = runDataMoverBackup({ ...run(source), dataUploadName: "first-a" });
    await new Promise((resolve) => setImmediate(resolve));
    expect(client.all(events)).toEqual([]);
    client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
      object.status = { phase: "InProgress" };
    });
    expect(await running).toBe(0);
  });

  it("says of its pod that it runs while it waits, and then tells its progress on that event", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    upload("first-a", { phase: "Accepted" });
    const isUp = new Promise<void>((resolve) => void client.react(events, () => resolve()));
    const running = runDataMoverBackup({ ...run(volume("source")), podUid: "pod-1", dataUploadName: "first-a" });
    await isUp;
    const object = client.all(dataUploads)[0]?.metadata;
    const event = {
      reason: DATA_PATH_EVENTS.progress,
      involvedObject: { kind: "DataUpload", namespace: NS, name: "first-a", uid: object?.uid },
      related: { kind: "Pod", namespace: NS, name: "first-a", uid: "pod-1" },
    };
    expect(client.all(events)).toMatchObject([{ ...event, message: "{}" }]);
    client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (found) => {
      found.status = { phase: "InProgress" };
    });
    expect(await running).toBe(0);
    const told = client.all(events).filter(({ reason }) => reason === DATA_PATH_EVENTS.progress);
    expect(told).toMatchObject([{ ...event, message: expect.stringContaining('"phase":"done"') }]);
  });

  it("tells its result behind everything else, proven by the key of its Secret", async () => {
    const place = location();
    await createRepositoryService(deps()).ensure(repository(), place);
    const secretPath = mountedSecret(place, "correct horse\n");
    const key = new Uint8Array(32).fill(3);
    writeFileSync(join(secretPath, "result-key"), key);
    upload("first-a");
    fill(volume("source"));
    expect(await runDataMoverBackup({ ...run(join(folder, "source")), secretPath, podUid: "pod-1", dataUploadName: "first-a" })).toBe(0);
    const last = client.all(events).toSorted((a, b) => Number(b.metadata.resourceVersion) - Number(a.metadata.resourceVersion))[0];
    expect(last).toMatchObject({ reason: DATA_PATH_EVENTS.progress, related: { uid: "pod-1" } });
    const told = parseToldResult(last?.message ?? "") ?? expect.fail("nothing was told");
    expect(told.result).toBe(termination());
    expect(isProven(key, "pod-1", told)).toBe(true);
    expect(parseDataPathProgress(last?.message ?? "")).toMatchObject({ doneBytes: 300_005, details: { phase: "done" } });
  });

  it("tells nothing of the kind when entries are missing", async () => {
    const secretPath = volume("secret");
    writeFileSync(join(secretPath, "result-key"), new Uint8Array(32));
    upload("first-a");
    const transfer = { type: dataUploads, name: "first-a", run: async (): Promise<Outcome> => ({ result: { snapshotID: "a" }, problem: "one file" }) };
    location();
    repository();
    expect(await runDataMover({ ...run(volume("source")), secretPath, podUid: "pod-1" }, transfer)).toBe(1);
    expect(client.all(events).some(({ message }) => parseToldResult(message ?? "") !== undefined)).toBe(false);
  });

  it("ends as canceled when a cancel comes before it starts", async () => {
    upload("first-a", { phase: "Prepared" });
    const running = runDataMoverBackup({ ...run(volume("source")), dataUploadName: "first-a" });
    client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
      object.spec.cancel = true;
    });
    expect(await running).toBe(1);
    expect(termination().endsWith(DATA_PATH_CANCELED)).toBe(true);
  });

  it("leaves no snapshot when it is canceled in the middle", async () => {
    const place = location();
    const repo = repository();
    await createRepositoryService(deps()).ensure(repo, place);
    const source = volume("source");
    fill(source);
    upload("first-a");
    client.react(events, (_before, after) => {
      if (after?.reason !== DATA_PATH_EVENTS.started) return;
      client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
        object.spec.cancel = true;
      });
    });
    expect(await runDataMoverBackup({ ...run(source), dataUploadName: "first-a" })).toBe(1);
    expect(termination().endsWith(DATA_PATH_CANCELED)).toBe(true);
    expect(reasons()).toEqual(expect.arrayContaining([DATA_PATH_EVENTS.canceled, DATA_PATH_EVENTS.stopped]));
    const access = await accessTo(client, NS, place, "notes", repo);
    expect((await withRepository(access, deps(), (open) => open.snapshots.list())).snapshots).toEqual([]);
  });

  it("leaves no snapshot when its object was given to another node meanwhile", async () => {
    const place = location();
    const repo = repository();
    await createRepositoryService(deps()).ensure(repo, place);
    const source = volume("source");
    fill(source);
    upload("first-a");
    client.react(events, (_before, after) => {
      if (after?.reason !== DATA_PATH_EVENTS.started) return;
      client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
        object.status = { ...object.status, node: "node-2" };
      });
    });
    expect(await runDataMoverBackup({ ...run(source), dataUploadName: "first-a" })).toBe(1);
    expect(termination()).toBe('Cannot finish the data path: DataUpload "first-a" is InProgress on node "node-2"');
    const access = await accessTo(client, NS, place, "notes", repo);
    expect((await withRepository(access, deps(), (open) => open.snapshots.list())).snapshots).toEqual([]);
  });

  describe("that was taken for dead", () => {
    const nameMover = (podUid: string, epoch?: string): void => {
      client.mutate(dataUploads, { namespace: NS, name: "first-a" }, (object) => {
        const marks = { [DRAYAGE_ANNOTATIONS.moverPod]: podUid, ...(epoch === undefined ? {} : { [DRAYAGE_ANNOTATIONS.epoch]: epoch }) };
        object.metadata.annotations = { ...object.metadata.annotations, ...marks };
      });
    };
    const prepared = async (): Promise<{ readonly source: string; readonly snapshots: () => Promise<readonly string[]> }> => {
      const [place, repo] = [location(), repository()];
      await createRepositoryService(deps()).ensure(repo, place);
      const source = volume("source");
      fill(source);
      upload("first-a");
      const access = await accessTo(client, NS, place, "notes", repo);
      return { source, snapshots: async () => (await withRepository(access, deps(), (open) => open.snapshots.list())).snapshots.map(({ id }) => id) };
    };
    const mover = (source: string, podUid: string): Promise<number> => runDataMoverBackup({ ...run(source), podUid, dataUploadName: "first-a" });
    const TAKEN = 'Cannot go on with the data path: DataUpload "first-a" was given to another mover';

    it("does not begin when another pod is named", async () => {
      const { source, snapshots } = await prepared();
      nameMover("pod-2", "1");
      expect(await mover(source, "pod-1")).toBe(1);
      expect(termination()).toBe(TAKEN);
      expect(await snapshots()).toEqual([]);
    });

    it("ends as soon as another is named, and leaves no snapshot", async () => {
      const { source, snapshots } = await prepared();
      nameMover("pod-1");
      client.react(events, (_before, after) => {
        if (after?.reason === DATA_PATH_EVENTS.started) nameMover("pod-2", "1");
      });
      expect(await mover(source, "pod-1")).toBe(1);
      expect(termination()).toBe(TAKEN);
      expect(reasons()).not.toContain(DATA_PATH_EVENTS.canceled);
      expect(await snapshots()).toEqual([]);
    });

    it("takes its snapshot away when another is named between its last question and its manifest", async () => {
      const { source, snapshots } = await prepared();
      nameMover("pod-1");
      let looks = 0;
      client.intercept = ({ verb, resource }) => {
        // The second look is the one after the manifest.
        if (verb === "get" && resource === "datauploads.velero.io" && ++looks === 2) nameMover("pod-2", "1");
      };
      expect(await mover(source, "pod-1")).toBe(1);
      expect(looks).toBe(2);
      expect(termination()).toBe(TAKEN);
      expect(await snapshots()).toEqual([]);
    });

    it("has its snapshot taken away by its successor", async () => {
      const { source, snapshots } = await prepared();
      nameMover("pod-1");
      expect(await mover(source, "pod-1")).toBe(0);
      const [left] = await snapshots();
      nameMover("pod-2", "1");
      expect(await mover(source, "pod-2")).toBe(0);
      const told = parseBackupDataPathResult(termination())?.snapshotID;
      expect(told).not.toBe(left);
      expect(await snapshots()).toEqual([told]);
    });
  });

  it.each<[string, () => void, RegExp]>([
    ["the password is another", () => void client.seed(secrets, secret("velero-repo-credentials", "repository-password", "wrong")), /password/],
    ["the repository is gone", () => rmSync(join(folder, "bucket"), { recursive: true }), /Cannot open|not/],
    ["the location is gone", () => client.discard(backupStorageLocations, { namespace: NS, name: "default" }), /Cannot find backup storage location "default"/],
    ["the password is not there", () => client.discard(secrets, { namespace: NS, name: "velero-repo-credentials" }), /--recovery-file/],
  ])("says so when %s", async (_title, breakIt, message) => {
    await createRepositoryService(deps()).ensure(repository(), location());
    breakIt();
    upload("first-a");
    expect(await runDataMoverBackup({ ...run(volume("source")), dataUploadName: "first-a" })).toBe(1);
    expect(termination()).toMatch(message);
    expect(reasons()).toContain(DATA_PATH_EVENTS.failed);
  });

  it("keeps indexes and directories of the repository in its cache volume, and restores the same from there", async () => {
    await createRepositoryService(deps()).ensure(repository({ cacheLimitMB: "64" }), location());
    const source = volume("source");
    fill(source);
    const { snapshotID } = await backUp("first-a", source);
    const cacheFolder = volume("cache");
    for (const name of ["once", "again"]) {
      download(name, snapshotID);
      const target = volume(name);
      expect(await runDataMoverRestore({ ...run(target), cacheFolder, dataDownloadName: name })).toBe(0);
      expect(tree(target)).toEqual(tree(source));
    }
    expect(readdirSync(join(cacheFolder, "index")).length).toBe(1);
    const [store = ""] = readdirSync(join(cacheFolder, "blobs"));
    expect(readdirSync(join(cacheFolder, "blobs", store)).every((name) => name.startsWith("q"))).toBe(true);
    expect(readdirSync(join(cacheFolder, "blobs", store)).length).toBeGreaterThan(0);
  });

  it("says so when the snapshot to restore is not there", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    download("back-a", "f".repeat(32));
    expect(await runDataMoverRestore({ ...run(volume("target")), dataDownloadName: "back-a" })).toBe(1);
    expect(termination()).toContain("f".repeat(32));
  });

  it("still moves the data when its events cannot be written", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    client.failNext({ resource: "events" }, "KUBE_FORBIDDEN", 1);
    const source = volume("source");
    fill(source);
    expect((await backUp("first-a", source)).code).toBe(0);
  });

  it("ends when its object is not there", async () => {
    expect(await runDataMoverBackup({ ...run(volume("source")), dataUploadName: "nobody" })).toBe(1);
    expect(termination()).toBe('Cannot start the data path: DataUpload "nobody" is not there');
  });
});

describe("runDataMover()", () => {
  const frame = (run: () => Promise<Outcome>): Promise<number> =>
    runDataMover<DataUpload>({ ...deps(), ...runOptions() }, { type: dataUploads, name: "first-a", run });
  const runOptions = () => ({ ...run(folder), nodeName: "node-1" });

  it("keeps the result whole when the list of what is missing is long", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    upload("first-a");
    const problem = describeProblems(
      Array.from({ length: 1000 }, (_, index) => ({ path: `file-${index}/${"ü".repeat(100)}`, message: "permission denied" })),
      5000,
      "read",
    );
    expect(await frame(async () => ({ result: { snapshotID: "a".repeat(32) }, problem }))).toBe(1);
    expect(Buffer.byteLength(termination())).toBeLessThanOrEqual(4096);
    expect(parseBackupDataPathResult(termination())).toMatchObject({
      snapshotID: "a".repeat(32),
      error: expect.stringMatching(/^5000 entries could not be read: "file-0/),
    });
  });

  it("keeps the end of a message that is too long", async () => {
    location();
    repository();
    upload("first-a");
    const failing = frame(async () => {
      throw new Error(`${"x".repeat(10_000)} the end`);
    });
    expect(await failing).toBe(1);
    expect(termination()).toHaveLength(4096);
    expect(termination().endsWith("the end")).toBe(true);
  });
});

describe("createRepositoryService()", () => {
  it("creates a repository where Velero looks for it, with the blob that tells Velero it is done", async () => {
    await createRepositoryService(deps()).ensure(repository(), location());
    const blobs = readdirSync(join(folder, "bucket", "cluster-1", "kopia", "notes"), { recursive: true }).map(String);
    expect(blobs.some((name) => name.includes("kopia.repository"))).toBe(true);
    expect(blobs.some((name) => name.includes("udmrepo"))).toBe(true);
  });

  it("is content with one that is there, and brings an interrupted set-up to its end", async () => {
    const service = createRepositoryService(deps());
    const [repo, place] = [repository(), location()];
    await service.ensure(repo, place);
    const root = join(folder, "bucket", "cluster-1", "kopia", "notes");
    const mark = readdirSync(root, { recursive: true })
      .map(String)
      .find((name) => name.includes("udmrepo"));
    rmSync(join(root, mark ?? ""));
    await service.ensure(repo, place);
    expect(
      readdirSync(root, { recursive: true })
        .map(String)
        .some((name) => name.includes("udmrepo")),
    ).toBe(true);
  });

  it("says that the password is wrong, and changes nothing", async () => {
    const service = createRepositoryService(deps());
    const [repo, place] = [repository(), location()];
    await service.ensure(repo, place);
    client.seed(secrets, secret("velero-repo-credentials", "repository-password", "wrong"));
    await expect(service.ensure(repo, place)).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
  });

  it("never creates one in a read-only location", async () => {
    const service = createRepositoryService(deps());
    const root = join(folder, "bucket", "cluster-1", "kopia", "notes");
    mkdirSync(root, { recursive: true });
    await expect(service.ensure(repository(), location("ReadOnly"))).rejects.toMatchObject({
      code: "REPO_NOT_FOUND",
      message: expect.stringContaining("it is read-only"),
    });
    expect(readdirSync(root).filter((name) => !name.startsWith("."))).toEqual([]);
  });

  it("forgets snapshots, and takes one that is not there for forgotten", async () => {
    const service = createRepositoryService(deps());
    const [repo, place] = [repository(), location()];
    await service.ensure(repo, place);
    const source = volume("source");
    fill(source);
    const { snapshotID } = await backUp("first-a", source);
    await service.forget(repo, place, { manifestIds: [snapshotID, "f".repeat(32)], tags: [] });
    const access = await accessTo(client, NS, place, "notes", repo);
    const snapshots = async () => (await withRepository(access, deps(), (open) => open.snapshots.list())).snapshots;
    expect(await snapshots()).toEqual([]);
    await backUp("first-b", source);
    const tags = (await snapshots())[0]?.tags ?? {};
    await service.forget(repo, place, { manifestIds: [], tags: [{ ...tags, [LABELS.asyncOperationId]: "another" }] });
    expect(await snapshots()).toHaveLength(1);
    await service.forget(repo, place, { manifestIds: [], tags: [{ [LABELS.asyncOperationId]: tags[LABELS.asyncOperationId] ?? "" }] });
    expect(await snapshots()).toEqual([]);
    expect(keyOf(repo).name).toBe("notes-default-kopia");
  });

  it("says which provider it does not know", async () => {
    const place = location();
    place.spec.provider = "swift";
    await expect(createRepositoryService(deps()).ensure(repository(), place)).rejects.toMatchObject({
      code: "NOT_SUPPORTED",
      message: expect.stringContaining('provider "swift"'),
    });
  });
});
