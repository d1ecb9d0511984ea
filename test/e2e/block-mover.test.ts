/** Velero's block mover: volumes of either mode as devices, in blocks that are told apart by where they are. */
import { BLOCK_DATA_MOVER } from "@drayage/api";
import { persistentVolumeClaims, persistentVolumes } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

// Only root attaches loop devices, in which these volumes are.
if (process.getuid?.() === 0) {
  let harness: Harness;
  beforeAll(async () => {
    harness = await Harness.start();
  });
  afterAll(() => harness?.destroy());

  const asked = { includedNamespaces: ["shop"], datamover: BLOCK_DATA_MOVER };

  it("brings volumes of files and devices back, each in its own mode, and moves only the blocks that changed", async () => {
    const storageClass = "drayage-fs-image";
    await deployApplication(harness, "shop", { files: { storageClass, size: "32Mi" }, disk: { storageClass, mode: "Block", size: "32Mi" } });
    await fillFolder(harness, "shop", "files");
    await inApplication(harness, "shop", "head -c 25165824 /dev/urandom | dd of=/dev/disk bs=1M seek=2 conv=notrunc status=none");
    expect((await harness.backUp("first", asked)).status).toMatchObject({ phase: "Completed" });

    await inApplication(harness, "shop", "head -c 65536 /dev/urandom > /volumes/files/new; sync /volumes/files/new");
    await inApplication(harness, "shop", "head -c 4096 /dev/urandom | dd of=/dev/disk bs=4096 seek=3000 conv=notrunc status=none");
    const facts = [await factsOf(harness, "shop", "files"), await factsOf(harness, "shop", "disk", "Block")];
    expect((await harness.backUp("second", asked)).status).toMatchObject({ phase: "Completed" });
    const uploads = await harness.uploads("second", 2);
    expect(uploads.map(({ spec, status }) => [spec.datamover, status?.progress?.totalBytes])).toEqual(uploads.map(() => [BLOCK_DATA_MOVER, 32 << 20]));
    // A page of a device is in one block; the list of blocks is new, too.
    const incremental = uploads.find(({ spec }) => spec.sourcePVC === "disk")?.status?.incrementalBytes;
    expect(incremental).toBeGreaterThan(1 << 20);
    expect(incremental).toBeLessThan(1.1 * (1 << 20));
    const { snapshots } = await harness.repository("shop", (repository) => repository.snapshots.list());
    const told = snapshots.map(({ source, tags, description }) => [
      source.path.replace("snapshot-data-upload-download/velero-block/shop/", ""),
      ...["bdev-source-size", "snapshot-uploader", "drayage-read"].map((tag) => tags[tag]),
      description,
    ]);
    expect(told.sort()).toEqual(
      ["disk", "files"].flatMap((name) => ["changed", "written"].map((read) => [name, String(32 << 20), BLOCK_DATA_MOVER, read, "Block Uploader"])),
    );
    await harness.expectNothingLeft();

    await harness.deleteNamespace("shop");
    expect((await harness.restore("back", { backupName: "second" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop");
    expect([await factsOf(harness, "shop", "files"), await factsOf(harness, "shop", "disk", "Block")]).toEqual(facts);
    for (const [name, mode] of [
      ["files", "Filesystem"],
      ["disk", "Block"],
    ] as const) {
      const claim = await harness.client.get(persistentVolumeClaims, { namespace: "shop", name });
      const volume = await harness.client.get(persistentVolumes, { name: claim.spec.volumeName ?? "" });
      expect([claim.spec.volumeMode, volume.spec.volumeMode, volume.spec.persistentVolumeReclaimPolicy]).toEqual([mode, mode, "Delete"]);
    }
    await harness.expectNothingLeft();
    // What was changed into another volume goes with its claim as every volume does.
    await harness.deleteNamespace("shop");
    await expect.poll(async () => (await harness.client.list(persistentVolumes)).items.length, { timeout: 60_000 }).toBe(0);
  });
} else {
  it("needs root", () => {
    expect(process.getuid?.()).not.toBe(0);
  });
}
