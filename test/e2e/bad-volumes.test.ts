/** Volumes with what file systems allow and few expect: names that are no text, files that come and go, damage, and volumes too small for what is restored. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import type { DataDownload } from "@drayage/api";
import { persistentVolumeClaims, persistentVolumes, pods, storageClasses } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, startApplication, untilRunning } from "./sample-application.ts";

const isRoot = process.getuid?.() === 0;
let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const hasFailed = ({ status }: DataDownload): boolean => status?.phase === "Failed";

describe("a volume", () => {
  it("with names that are not UTF-8, and with what is neither file nor folder, comes back as it was", async () => {
    await deployApplication(harness, "odd", { files: {} });
    await inApplication(
      harness,
      "odd",
      `cd /volumes/files; printf one > "$(printf 'latin\\351')"; mkdir "$(printf '\\377\\376')"; printf two > "$(printf '\\377\\376')/$(printf 'new\\nline')"
       printf three > "$(printf 'na\\303\\257ve')"; ln -s "$(printf 'to\\351')" "$(printf 'link\\200')"; mkfifo pipe; mknod device c 1 3 || true
       printf four > " space "; printf five > '*'; printf six > '\\\\'; chmod 0 '*'; chmod 4755 " space "`,
    );
    const facts = await factsOf(harness, "odd", "files");
    expect((await harness.backUp("odd", { includedNamespaces: ["odd"] })).status).toMatchObject({ phase: "Completed" });
    const restore = await harness.restore("odd", { backupName: "odd", namespaceMapping: { odd: "odd-copy" } });
    expect(restore.status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "odd-copy");
    expect(await factsOf(harness, "odd-copy", "files")).toBe(facts);
    await harness.expectNothingLeft();
  });

  it("whose files come and go while it is backed up is backed up: what stays is there as it was", async () => {
    await deployApplication(harness, "busy", { files: {} });
    await fillFolder(harness, "busy", "files");
    await inApplication(
      harness,
      "busy",
      `cd /volumes/files; mkdir churn; setsid sh -c 'n=0; while [ -d churn ]; do n=$((n+1)); head -c 20000 /dev/urandom > churn/a$n; mv churn/a$n churn/b$((n%7)); date >> churn/log; rm -f churn/b$((n%5)); done' >/dev/null 2>&1 </dev/null &`,
    );
    const quiet = async (namespace: string): Promise<string[]> =>
      (await factsOf(harness, namespace, "files")).split("\n").filter((line) => !/(^| )\.\/churn/.test(line));
    const before = await quiet("busy");
    expect((await harness.backUp("busy", { includedNamespaces: ["busy"] })).status).toMatchObject({ phase: "Completed" });
    const restore = await harness.restore("busy", { backupName: "busy", namespaceMapping: { busy: "busy-copy" } });
    expect(restore.status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "busy-copy");
    expect(await quiet("busy-copy")).toEqual(before);
    await inApplication(harness, "busy-copy", "test -s /volumes/files/churn/log");
    await inApplication(harness, "busy", "cd /volumes/files; mv churn gone; rm -r gone");
    await harness.expectNothingLeft();
  });
});

if (isRoot) {
  describe("a volume with a file system of its own", () => {
    it("that is damaged is backed up but for what cannot be read, which is named; the rest can be restored", async () => {
      const volumes = { files: { storageClass: "drayage-fs-image", size: "32Mi" } };
      await deployApplication(harness, "worn", volumes);
      await fillFolder(harness, "worn", "files");
      await inApplication(
        harness,
        "worn",
        "cd /volumes/files; mkdir sick; echo lost > sick/unstatable; for n in 0 2 4 6 8 10 12 14; do printf x | dd of=sick/unreadable bs=4096 seek=$n conv=notrunc status=none; done; echo fine > sick/fine; sync",
      );
      const facts = (await factsOf(harness, "worn", "files")).split("\n");
      await harness.client.delete(pods, { namespace: "worn", name: "app" });
      await harness.seen(pods, { namespace: "worn" }, (found) => (found.length === 0 ? true : undefined));
      await damage("worn", "files");

      const backup = await harness.backUp("worn", { includedNamespaces: ["worn"] });
      expect(backup.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
      const told = (await harness.upload("worn")).status?.message;
      expect(told).toMatch(
        /^2 entries could not be read: "sick\/unreadable": .*: the file system is damaged there; "sick\/unstatable": .*: the file system is damaged there$/,
      );
      await harness.expectNothingLeft();

      const restore = await harness.restore("worn", { backupName: "worn", namespaceMapping: { worn: "worn-copy" } });
      expect(restore.status).toMatchObject({ phase: "Completed" });
      await startApplication(harness, "worn-copy", volumes);
      const found = (await factsOf(harness, "worn-copy", "files")).split("\n");
      // A file system of its own has a `lost+found`, which belongs to it and not to what is in it.
      const isOurs = (line: string): boolean => !/(^| )\.\/sick\/un|\.\/lost\+found/.test(line);
      expect(found.filter(isOurs)).toEqual(facts.filter(isOurs));
      expect(found.join("\n")).not.toMatch(/sick\/un/);
      await harness.expectNothingLeft();
    });

    it("that is too small for what is restored fails the restore and says so; nothing half-restored is left", async () => {
      const key = { name: "shrinking" };
      const shrinking = (parameters: Record<string, string>) => ({
        metadata: key,
        provisioner: "csi.drayage.io",
        reclaimPolicy: "Delete" as const,
        volumeBindingMode: "Immediate" as const,
        parameters,
      });
      await harness.client.create(storageClasses, shrinking({}));
      await deployApplication(harness, "full", { files: { storageClass: "shrinking", size: "8Mi" } });
      await inApplication(harness, "full", "cd /volumes/files; mkdir d; for n in 1 2 3 4 5 6 7 8 9; do head -c 2000000 /dev/urandom > d/$n; done");
      expect((await harness.backUp("full", { includedNamespaces: ["full"] })).status).toMatchObject({ phase: "Completed" });
      await harness.client.delete(storageClasses, key);
      await harness.client.create(storageClasses, shrinking({ backing: "image" }));
      const restore = await harness.restore("full", { backupName: "full", namespaceMapping: { full: "full-copy" } });
      expect(restore.status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
      const { status } = await harness.download("full", hasFailed);
      expect(status?.message).toMatch(/^Cannot write ".*\/d\/\d": no space is left on the device\. Free space, or restore to a larger volume\.$/);
      expect(JSON.stringify(await harness.resultsOf("restore", "full"))).toContain("no space is left on the device");
      // The claim of the application got no half-written volume: it waits for one.
      expect((await harness.client.get(persistentVolumeClaims, { namespace: "full-copy", name: "files" })).status?.phase).toBe("Pending");
      await harness.expectNothingLeft();
    });
  });
}

/** Spoils one file's map of blocks and another's inode, as a worn disk would, while nobody has the volume mounted. */
async function damage(namespace: string, name: string): Promise<void> {
  const claim = await harness.client.get(persistentVolumeClaims, { namespace, name });
  const volume = await harness.client.get(persistentVolumes, { name: claim.spec.volumeName ?? "" });
  const image = join(harness.cluster.directory, "storage", "volumes", volume.spec.csi?.volumeHandle ?? "", "image");
  const env = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };
  // What a kernel that still has it mounted writes back would undo the damage.
  const attached = (): string => execFileSync("losetup", ["--associated", image], { encoding: "utf8", env });
  await expect.poll(attached, { timeout: 30_000 }).toBe("");
  const debugfs = (request: string): string =>
    execFileSync("debugfs", ["-w", "-R", request, image], { encoding: "utf8", env, stdio: ["ignore", "pipe", "ignore"] });
  const block = /\(ETB0\):(\d+)/.exec(debugfs("stat /sick/unreadable"))?.[1];
  if (block === undefined) throw new Error(`the file "/sick/unreadable" has no block of extents in "${image}"`);
  debugfs(`zap_block -p 0 ${block}`);
  debugfs("sif /sick/unstatable block[0] 0");
}
