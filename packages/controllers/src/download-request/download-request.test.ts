import { backupStorageLocations, backups, type DownloadRequest, downloadRequests, restores } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import type { Controller } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BackupStore } from "../ports.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { decide, type Observed } from "./download-request.ts";
import { startDownloadRequestController } from "./download-request-controller.ts";

describe("decide()", () => {
  const o = (overrides: Partial<Observed>): Observed => ({ phase: "New", expiresInMs: undefined, target: "found", ...overrides });
  it.each<[string, Partial<Observed>, Partial<ReturnType<typeof decide>>]>([
    ["a new request is signed", {}, { do: "sign" }],
    ["one for nothing gets its expiration and is looked at again", { target: "absent" }, { do: "wait", setExpiration: true, recheckAfterMs: 10_000 }],
    ["one for nothing is not given more time", { target: "absent", expiresInMs: 5000 }, { do: "wait", setExpiration: false }],
    ["one for nothing that has expired is deleted", { target: "absent", expiresInMs: 0 }, { do: "delete" }],
    ["an answered one stays until its address expires", { phase: "Processed", expiresInMs: 5000 }, { do: "wait", setExpiration: false, recheckAfterMs: 5000 }],
    ["an answered one is deleted afterwards", { phase: "Processed", expiresInMs: -1 }, { do: "delete" }],
  ])("%s", (_what, overrides, decision) => {
    expect(decide(o(overrides))).toMatchObject(decision);
  });
});

describe("the download request controller", () => {
  let clock: VirtualClock;
  let client: FakeKubeClient;
  let controller: Controller;
  let failure: Error | undefined;

  beforeEach(() => {
    clock = new VirtualClock();
    client = new FakeKubeClient({ clock });
    failure = undefined;
    const store: BackupStore = Object.assign(new MemoryBackupStore(), {
      downloadUrl: async (kind: string, name: string, validForMs: number) => {
        if (failure !== undefined) throw failure;
        return `https://store/${kind}/${name}?for=${validForMs}`;
      },
    });
    controller = startDownloadRequestController({
      client,
      clock,
      random: seededRandom(1),
      logger: memoryLogger(),
      namespace: "velero",
      stores: { open: async () => store },
    });
    client.seed(backupStorageLocations, { metadata: { namespace: "velero", name: "here" }, spec: { provider: "aws", objectStorage: { bucket: "b" } } });
  });
  afterEach(() => controller.stop());

  const tick = async (ms = 0): Promise<void> => {
    await clock.advance(ms);
    await settle(10);
    await controller.idle();
  };
  const key = { namespace: "velero", name: "r" };
  const ask = (kind: DownloadRequest["spec"]["target"]["kind"], name: string) =>
    client.seed(downloadRequests, { metadata: key, spec: { target: { kind, name } }, status: {} });
  const seedBackup = () => client.seed(backups, { metadata: { namespace: "velero", name: "first" }, spec: { storageLocation: "here" } });
  const status = () => client.peek(downloadRequests, key)?.status;

  it("signs an address for a file of a backup, valid for ten minutes, and then deletes the request", async () => {
    seedBackup();
    ask("BackupLog", "first");
    await tick();
    expect(status()).toEqual({ phase: "Processed", downloadURL: "https://store/BackupLog/first?for=600000", expiration: formatTime(clock.nowMs() + 600_000) });
    await tick(599_000);
    expect(status()?.phase).toBe("Processed");
    await tick(2_000);
    expect(status()).toBeUndefined();
  });

  it("finds the bucket of a restore through its backup", async () => {
    seedBackup();
    client.seed(restores, { metadata: { namespace: "velero", name: "back" }, spec: { backupName: "first" } });
    ask("RestoreVolumeInfo", "back");
    await tick();
    expect(status()?.downloadURL).toBe("https://store/RestoreVolumeInfo/back?for=600000");
  });

  it("waits for a backup that is not there yet, and gives up after ten minutes", async () => {
    ask("BackupLog", "first");
    await tick();
    expect(status()).toEqual({ expiration: formatTime(clock.nowMs() + 600_000) });
    seedBackup();
    await tick(10_000);
    expect(status()?.phase).toBe("Processed");
    ask("RestoreLog", "none");
    await tick();
    await tick(611_000);
    expect(status()).toBeUndefined();
  });

  it("tries again when the store cannot sign now", async () => {
    seedBackup();
    failure = new DrayError("BLOB_UNAVAILABLE", "gone");
    ask("BackupLog", "first");
    await tick();
    expect(status()?.phase).toBeUndefined();
    failure = undefined;
    await tick(5_000);
    expect(status()?.phase).toBe("Processed");
  });
});
