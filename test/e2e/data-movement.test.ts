/** Volumes moved into a bucket and back, canceled in every phase, and limited in number and time. */
import { type DataDownload, type DataUpload, dataDownloads, dataUploads } from "@drayage/api";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { nodes, persistentVolumeClaims } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { TestCluster } from "./embedded-cluster.ts";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const isRoot = process.getuid?.() === 0;

let harness: Harness;
beforeAll(async () => {
  // Two may be prepared at once, and one may run on each node.
  harness = await Harness.start({ nodes: 2, nodeAgentConfig: { loadConcurrency: { globalConfig: 1, prepareQueueLength: 2 } } });
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofNamespace = (namespace: string) => ({ includedNamespaces: [namespace] });
const inPhase =
  (...phases: readonly string[]) =>
  ({ status }: DataUpload | DataDownload): boolean =>
    phases.includes(status?.phase ?? "New");
/** A mover stores data. */
const storesData =
  (namespace: string) =>
  ({ method, key }: RequestFacts): boolean =>
    method === "PUT" && key.startsWith(`kopia/${namespace}/p`);
/** A mover fetches data. */
const fetchesData =
  (namespace: string) =>
  ({ method, key }: RequestFacts): boolean =>
    method === "GET" && key.startsWith(`kopia/${namespace}/p`);
const touchesRepository =
  (namespace: string) =>
  ({ key }: RequestFacts): boolean =>
    key.startsWith(`kopia/${namespace}/kopia.`);

const cancel = async (type: typeof dataUploads | typeof dataDownloads, { metadata }: DataUpload | DataDownload): Promise<void> => {
  await harness.client.patch<DataUpload | DataDownload>(type, { namespace: VELERO, name: metadata.name ?? "" }, "merge", { spec: { cancel: true } });
};
const ended = (upload: DataUpload, phase: string): Promise<DataUpload> =>
  harness.until(dataUploads, { namespace: VELERO, name: upload.metadata.name ?? "" }, inPhase(phase));

describe("moving data", () => {
  it("brings files and devices back as they were, and moves only what changed the next time", async () => {
    const volumes = { files: {}, ...(isRoot ? { disk: { mode: "Block" as const, size: "32Mi" } } : {}) };
    await deployApplication(harness, "shop", volumes);
    await fillFolder(harness, "shop", "files");
    // The same bytes each time: how much of a device a change costs hangs on where its content is cut.
    const numbers = (from: number, bytes: number, megabyte: number) =>
      `seq ${from} 9999999 | head -c ${bytes} | dd of=/dev/disk bs=1M seek=${megabyte} conv=notrunc status=none`;
    if (isRoot) await inApplication(harness, "shop", numbers(1, 25_165_824, 2));
    const first = await harness.backUp("first", ofNamespace("shop"));
    expect(first.status).toMatchObject({ phase: "Completed" });
    await harness.expectNothingLeft();

    await inApplication(harness, "shop", "head -c 65536 /dev/urandom > /volumes/files/new");
    if (isRoot) await inApplication(harness, "shop", numbers(5_000_000, 1_048_576, 12));
    const facts = [await factsOf(harness, "shop", "files"), isRoot ? await factsOf(harness, "shop", "disk", "Block") : ""];
    expect((await harness.backUp("second", ofNamespace("shop"))).status).toMatchObject({ phase: "Completed" });
    for (const { spec, status } of await harness.uploads("second", Object.keys(volumes).length)) {
      expect(status?.progress?.totalBytes, spec.sourcePVC).toBeGreaterThan(3 << 20);
      expect(status?.incrementalBytes, spec.sourcePVC).toBeGreaterThan(60_000);
      // A device is cut at content, into pieces of 4 MiB on average.
      expect(status?.incrementalBytes, spec.sourcePVC).toBeLessThan(spec.sourcePVC === "disk" ? 16 << 20 : 1 << 20);
    }

    // The first time nothing was known but what was ever written, the second the storage told what changed, though its snapshot of then is gone.
    const { snapshots } = await harness.repository("shop", (repository) => repository.snapshots.list());
    const ofDisk = snapshots.filter(({ source }) => source.path.endsWith("/disk")).sort((a, b) => Number(a.startTimeNs - b.startTimeNs));
    // Where no driver offers to tell, nobody asks.
    const told = harness.cluster instanceof TestCluster ? ["written", "changed"] : [undefined, undefined];
    if (isRoot) expect(ofDisk.map(({ tags }) => tags["drayage-read"])).toEqual(told);

    await harness.deleteNamespace("shop");
    expect((await harness.restore("back", { backupName: "second" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop");
    expect(await factsOf(harness, "shop", "files")).toBe(facts[0]);
    if (isRoot) expect(await factsOf(harness, "shop", "disk", "Block")).toBe(facts[1]);
    await harness.expectNothingLeft();
    expect(await harness.verifyRepository("shop")).toBe(isRoot ? 4 : 2);
  });
});

describe("canceling", () => {
  it("ends DataUploads that wait to be prepared and that are being prepared, takes everything away and fails the backup partially", async () => {
    await deployApplication(harness, "early", { a: {}, b: {} });
    // Those of the first backup wait for their repository, which never gets ready; those of the second for the others to be prepared.
    const hold = harness.hold(touchesRepository("early"));
    await harness.startBackup("early", ofNamespace("early"));
    await hold.reached;
    const accepted = await harness.uploads("early", 2, inPhase("Accepted"));
    await harness.startBackup("behind", ofNamespace("early"));
    const waiting = await harness.uploads("behind", 2, inPhase("New"));
    for (const upload of [...waiting, ...accepted]) {
      await cancel(dataUploads, upload);
      const { status } = await ended(upload, "Canceled");
      expect(status?.message).toMatch(/was canceled (before it started|while it was being prepared)$/);
      expect(status?.completionTimestamp).toBeDefined();
    }
    for (const name of ["early", "behind"]) {
      const { status } = await harness.endOfBackup(name);
      expect(status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsAttempted: 2, backupItemOperationsFailed: 2 });
    }
    await harness.expectNothingLeft();
  });

  it("ends DataUploads that wait for a free slot and that run, while their store does not answer", async () => {
    await deployApplication(harness, "late", { a: {}, b: {}, c: {} });
    for (const claim of ["a", "b", "c"]) await inApplication(harness, "late", `head -c 100000 /dev/urandom > /volumes/${claim}/file`);
    const hold = harness.hold(storesData("late"));
    await harness.startBackup("late", ofNamespace("late"));
    await hold.reached;
    const names = (await harness.client.list(nodes)).items.map(({ metadata }) => metadata.name);
    const running = await harness.uploads("late", names.length, inPhase("InProgress"));
    const prepared = await harness.uploads("late", 3 - names.length, inPhase("Prepared"));
    // One slot a node.
    expect(new Set(running.map(({ status }) => status?.node))).toEqual(new Set(names));
    for (const upload of [...prepared, ...running]) {
      await cancel(dataUploads, upload);
      await ended(upload, "Canceled");
    }
    expect((await harness.endOfBackup("late")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 3 });
    await harness.expectNothingLeft();
    hold.release();
    expect(await harness.verifyRepository("late")).toBe(0);

    expect((await harness.backUp("late-again", ofNamespace("late"))).status).toMatchObject({ phase: "Completed" });
    await harness.expectNothingLeft();
    expect(await harness.verifyRepository("late")).toBe(3);
  });

  it("ends a DataDownload that runs, leaves no volume of it behind, and lets the next restore complete", async () => {
    const hold = harness.hold(fetchesData("late"));
    const asked = { backupName: "late-again", namespaceMapping: { late: "later" } };
    await harness.startRestore("stopped", asked);
    await hold.reached;
    const running = await harness.download("stopped", inPhase("InProgress"));
    for (const download of await harness.downloads("stopped", 3)) await cancel(dataDownloads, download);
    const { status } = await harness.until(dataDownloads, { namespace: VELERO, name: running.metadata.name ?? "" }, inPhase("Canceled"));
    expect(status?.completionTimestamp).toBeDefined();
    expect((await harness.endOfRestore("stopped")).status).toMatchObject({ phase: "PartiallyFailed" });
    const claims = (await harness.client.list(persistentVolumeClaims, { namespace: "later" })).items;
    expect(claims.map((claim) => [claim.metadata.name, claim.status?.phase, claim.spec.volumeName])).toEqual(
      ["a", "b", "c"].map((name) => [name, "Pending", undefined]),
    );
    await harness.expectNothingLeft();
    hold.release();

    await harness.deleteNamespace("later");
    expect((await harness.restore("not-stopped", asked)).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "later");
    for (const claim of ["a", "b", "c"]) expect(await factsOf(harness, "later", claim)).toBe(await factsOf(harness, "late", claim));
    await harness.expectNothingLeft();
  });
});

describe("time limits", () => {
  it("counts the time for preparing from the stored timestamp, whoever dies meanwhile", async () => {
    const limitMs = 15_000;
    await harness.install({ nodeAgentArgs: [`--data-mover-prepare-timeout=${limitMs / 1000}s`] });
    await deployApplication(harness, "slow", { a: {} });
    const hold = harness.hold(touchesRepository("slow"));
    await harness.startBackup("slow", ofNamespace("slow"));
    const accepted = await harness.upload("slow", inPhase("Accepted"));
    await hold.reached;
    await harness.crash("node-agent");
    const { status } = await ended(accepted, "Failed");
    expect(status?.message).toMatch(/^timeout on preparing data upload: it was waiting for backup repository "slow-default-kopia" to be ready$/);
    expect(status?.acceptedTimestamp).toBe(accepted.status?.acceptedTimestamp);
    const tookMs = Date.parse(status?.completionTimestamp ?? "") - Date.parse(status?.acceptedTimestamp ?? "");
    expect(tookMs).toBeGreaterThanOrEqual(limitMs - 1000);
    expect((await harness.endOfBackup("slow")).status).toMatchObject({ phase: "PartiallyFailed" });
    await harness.expectNothingLeft();
  });
});
