/** Every process of Drayage is killed with -9 where it hurts: a mover loses its volume's run and nothing else, and whatever a server or a node-agent was in the middle of comes to its end. */
import { type DataDownload, type DataUpload, dataDownloads, dataUploads } from "@drayage/api";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { persistentVolumeClaims } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const isRoot = process.getuid?.() === 0;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
  await deployApplication(harness, "shop", isRoot ? { disk: { mode: "Block" }, files: {} } : { files: {} });
  await fillFolder(harness, "shop", "files");
  if (isRoot) await inApplication(harness, "shop", "head -c 4194304 /dev/urandom | dd of=/dev/disk bs=1M seek=2 conv=notrunc status=none");
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };
const inPhase =
  (...phases: readonly string[]) =>
  ({ status }: DataUpload | DataDownload): boolean =>
    phases.includes(status?.phase ?? "New");
const hasEnded = inPhase("Completed", "Failed", "Canceled");
const volumeCount = isRoot ? 2 : 1;
const of =
  (method: string, start: string, end = "") =>
  (request: RequestFacts): boolean =>
    request.method === method && request.key.startsWith(start) && request.key.endsWith(end);
const storesData = of("PUT", "kopia/shop/p");
const fetchesData = of("GET", "kopia/shop/p");

describe("a mover that is killed", () => {
  it("fails its DataUpload, leaves the repository consistent, and the next backup completes", async () => {
    expect((await harness.backUp("whole", ofShop)).status).toMatchObject({ phase: "Completed" });
    await inApplication(harness, "shop", "head -c 1048576 /dev/urandom > /volumes/files/more; sync");
    if (isRoot) await inApplication(harness, "shop", "head -c 2097152 /dev/urandom | dd of=/dev/disk bs=1M seek=9 conv=notrunc status=none");
    const hold = harness.hold(storesData);
    await harness.startBackup("killed", ofShop);
    await hold.reached;
    const running = await harness.uploads("killed", volumeCount, inPhase("InProgress"));
    for (const { metadata } of running) await harness.killProcessOf(metadata.name ?? "");
    const failed = await harness.uploads("killed", volumeCount, inPhase("Failed"));
    for (const { status } of failed) expect(status?.message).toBe("mover ended with exit code 137");
    expect((await harness.endOfBackup("killed")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: volumeCount });
    await harness.expectNothingLeft();
    hold.release();
    expect(await harness.verifyRepository("shop")).toBe(volumeCount);

    expect((await harness.backUp("next", ofShop)).status).toMatchObject({ phase: "Completed" });
    expect(await harness.verifyRepository("shop")).toBe(2 * volumeCount);
    await harness.expectNothingLeft();
  });

  it("fails its DataDownload, leaves no half-written volume behind, and the next restore completes", async () => {
    const hold = harness.hold(fetchesData);
    const asked = { backupName: "next", namespaceMapping: { shop: "copy" } };
    await harness.startRestore("killed", asked);
    await hold.reached;
    for (const { metadata } of await harness.downloads("killed", volumeCount, inPhase("InProgress"))) await harness.killProcessOf(metadata.name ?? "");
    const failed = await harness.downloads("killed", volumeCount, inPhase("Failed"));
    for (const { status } of failed) expect(status?.message).toBe("mover ended with exit code 137");
    expect((await harness.endOfRestore("killed")).status).toMatchObject({ phase: "PartiallyFailed" });
    await harness.expectNothingLeft();
    const claims = (await harness.client.list(persistentVolumeClaims, { namespace: "copy" })).items;
    expect(claims.map(({ spec, status }) => [spec.volumeName, status?.phase])).toEqual(claims.map(() => [undefined, "Pending"]));
    hold.release();

    await harness.deleteNamespace("copy");
    expect((await harness.restore("next", asked)).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "copy");
    expect(await factsOf(harness, "copy", "files")).toBe(await factsOf(harness, "shop", "files"));
    if (isRoot) expect(await factsOf(harness, "copy", "disk", "Block")).toBe(await factsOf(harness, "shop", "disk", "Block"));
    await harness.expectNothingLeft();
  });
});

describe("node-agents that are killed", () => {
  it("let uploads go on that were being prepared and that were running", async () => {
    await deployApplication(harness, "fresh", { files: {} });
    await fillFolder(harness, "fresh", "files");
    const preparing = harness.hold(of("GET", "kopia/fresh/kopia."));
    await harness.startBackup("fresh", { includedNamespaces: ["fresh"] });
    await harness.upload("fresh", inPhase("Accepted"));
    await preparing.reached;
    await harness.crash("node-agent");
    const storing = harness.hold(of("PUT", "kopia/fresh/p"));
    preparing.release();
    await storing.reached;
    await harness.upload("fresh", inPhase("InProgress"));
    await harness.replace("node-agent");
    storing.release();
    expect((await harness.endOfBackup("fresh")).status).toMatchObject({ phase: "Completed" });
    await harness.expectNothingLeft();
    expect(await harness.verifyRepository("fresh")).toBe(1);
  });

  it("let downloads go on that were running", async () => {
    const fetching = harness.hold(of("GET", "kopia/fresh/p"));
    await harness.startRestore("fresh", { backupName: "fresh", namespaceMapping: { fresh: "fresh-copy" } });
    await fetching.reached;
    await harness.download("fresh", inPhase("InProgress"));
    await harness.crash("node-agent");
    fetching.release();
    expect((await harness.endOfRestore("fresh")).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "fresh-copy");
    expect(await factsOf(harness, "fresh-copy", "files")).toBe(await factsOf(harness, "fresh", "files"));
    await harness.expectNothingLeft();
  });
});

describe("a server that is killed", () => {
  it("fails the backup it was working on, and takes its snapshots and uploads away", async () => {
    const writing = harness.hold(of("PUT", "backups/lost/", ".tar.gz"));
    const storing = harness.hold(storesData);
    await harness.startBackup("lost", ofShop);
    await writing.reached;
    const uploads = await harness.uploads("lost", volumeCount);
    await harness.crash("server");
    writing.release();
    const { status } = await harness.endOfBackup("lost");
    expect(status).toMatchObject({ phase: "Failed", failureReason: expect.stringContaining("the server was restarted while the backup was InProgress") });
    for (const { metadata } of uploads) await harness.until(dataUploads, { namespace: VELERO, name: metadata.name ?? "" }, hasEnded);
    storing.release();
    await harness.expectNothingLeft();
    expect(await harness.archive((store) => store.listBackups())).not.toContain("lost");
  });

  it("goes on with a backup that waits for its data, and with one that is being finalized", async () => {
    const storing = harness.hold(storesData);
    await inApplication(harness, "shop", "head -c 100000 /dev/urandom > /volumes/files/again; sync");
    await harness.startBackup("waiting", ofShop);
    await storing.reached;
    await harness.upload("waiting", inPhase("InProgress"));
    await harness.crash("server");
    const finalizing = harness.hold(of("PUT", "backups/waiting/", ".tar.gz"));
    storing.release();
    await finalizing.reached;
    await harness.replace("server");
    finalizing.release();
    expect((await harness.endOfBackup("waiting")).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: volumeCount });
    await harness.expectNothingLeft();
  });

  it("goes on with the restore it was working on, and with one that waits for its data", async () => {
    const reading = harness.hold(of("GET", "backups/waiting/", ".tar.gz"));
    const asked = { backupName: "waiting", namespaceMapping: { shop: "third" } };
    await harness.startRestore("taken-up", { ...asked, namespaceMapping: { shop: "second" } });
    await reading.reached;
    await harness.crash("server");
    reading.release();
    expect((await harness.endOfRestore("taken-up")).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: volumeCount });
    await untilRunning(harness, "second");
    expect(await factsOf(harness, "second", "files")).toBe(await factsOf(harness, "shop", "files"));

    const fetching = harness.hold(fetchesData);
    await harness.startRestore("waiting", asked);
    await fetching.reached;
    await harness.download("waiting", inPhase("InProgress"));
    await harness.crash("server");
    fetching.release();
    expect((await harness.endOfRestore("waiting")).status).toMatchObject({ phase: "Completed" });
    for (const { metadata } of await harness.downloads("waiting", volumeCount)) {
      await harness.until(dataDownloads, { namespace: VELERO, name: metadata.name ?? "" }, inPhase("Completed"));
    }
    await untilRunning(harness, "third");
    expect(await factsOf(harness, "third", "files")).toBe(await factsOf(harness, "shop", "files"));
    await harness.expectNothingLeft();
  });
});
