import { type BackupStorageLocation, backupStorageLocations } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import type { Controller } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BackupStore } from "../ports.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { decide, type Finding, type Observed, superfluousDefaults } from "./backup-location.ts";
import { startBackupLocationController } from "./backup-location-controller.ts";

describe("decide()", () => {
  const o = (overrides: Partial<Observed>): Observed => ({ validatedForMs: 10_000, frequencyMs: 60_000, specChanged: false, ...overrides });
  it.each<[string, Partial<Observed>, ReturnType<typeof decide>]>([
    ["a new location is looked at", { validatedForMs: undefined }, { do: "validate" }],
    ["a new location is looked at although its frequency is 0", { validatedForMs: undefined, frequencyMs: 0 }, { do: "validate" }],
    ["one that was looked at with frequency 0 is left alone", { frequencyMs: 0, validatedForMs: 1e9 }, { do: "nothing" }],
    ["a changed one is looked at at once", { specChanged: true, frequencyMs: 0 }, { do: "validate" }],
    ["one that is not due waits for the rest of its period", {}, { do: "nothing", recheckAfterMs: 50_000 }],
    ["one that is due is looked at", { validatedForMs: 60_000 }, { do: "validate" }],
    ["one that was looked at in the future waits one period", { validatedForMs: -1e9 }, { do: "nothing", recheckAfterMs: 60_000 }],
  ])("%s", (_what, overrides, decision) => {
    expect(decide(o(overrides))).toEqual(decision);
  });
});

describe("superfluousDefaults()", () => {
  it("leaves the default that was created last", () => {
    const location = (name: string, creationTimestamp: string, isDefault = true): BackupStorageLocation => ({
      metadata: { name, creationTimestamp },
      spec: { provider: "aws", objectStorage: { bucket: "b" }, default: isDefault },
    });
    const all = [location("new", "2026-02-01T00:00:00Z"), location("old", "2026-01-01T00:00:00Z"), location("none", "2026-03-01T00:00:00Z", false)];
    expect(superfluousDefaults(all).map(({ metadata }) => metadata.name)).toEqual(["old"]);
    expect(superfluousDefaults(all.slice(0, 1))).toEqual([]);
  });
});

describe("the backup location controller", () => {
  const clock = new VirtualClock();
  let client: FakeKubeClient;
  let finding: Finding;
  let looks: number;
  let failure: Error | undefined;
  let controller: Controller;

  const store = new MemoryBackupStore();
  const stores = {
    open: async (): Promise<BackupStore> => {
      if (failure !== undefined) throw failure;
      return Object.assign(store, {
        validate: async () => {
          looks++;
          return finding as { ok: true };
        },
      });
    },
  };

  const key = { namespace: "velero", name: "default" };
  const seed = (name = "default", spec: Partial<BackupStorageLocation["spec"]> = {}): BackupStorageLocation =>
    client.seed(backupStorageLocations, { metadata: { namespace: "velero", name }, spec: { provider: "aws", objectStorage: { bucket: "b" }, ...spec } });
  const status = () => client.peek(backupStorageLocations, key)?.status;

  beforeEach(() => {
    client = new FakeKubeClient({ clock });
    [finding, looks, failure] = [{ ok: true }, 0, undefined];
    controller = startBackupLocationController({ client, clock, random: seededRandom(1), logger: memoryLogger(), namespace: "velero", stores });
  });
  afterEach(() => controller.stop());

  const tick = async (ms = 0): Promise<void> => {
    await clock.advance(ms);
    await settle(10);
    await controller.idle();
  };

  it("says Available, and when it looked", async () => {
    seed();
    await tick();
    expect(status()).toEqual({ phase: "Available", lastValidationTime: formatTime(clock.nowMs()) });
  });

  it("sets none of the fields that Velero has given up: status.accessMode and status.lastSyncedRevision", async () => {
    seed();
    await tick();
    expect(Object.keys(status() ?? {})).not.toContain("accessMode");
    expect(Object.keys(status() ?? {})).not.toContain("lastSyncedRevision");
  });

  it("looks again after a minute, and not because of its own writes", async () => {
    seed();
    await tick();
    expect(looks).toBe(1);
    await tick(59_000);
    expect(looks).toBe(1);
    await tick(2_000);
    expect(looks).toBe(2);
  });

  it("says why a location is unavailable, and takes it back when it is available again", async () => {
    finding = { ok: false, reason: "the bucket is not there" };
    seed();
    await tick();
    expect(status()).toMatchObject({ phase: "Unavailable", message: 'BackupStorageLocation "default" is unavailable: the bucket is not there' });
    finding = { ok: true };
    await tick(60_000);
    expect(status()).toEqual({ phase: "Available", lastValidationTime: formatTime(clock.nowMs()) });
  });

  it("takes a location that cannot be opened for unavailable", async () => {
    failure = new DrayError("BLOB_BAD_CONFIG", "Cannot use the location: no such profile");
    seed();
    await tick();
    expect(status()).toMatchObject({ phase: "Unavailable", message: expect.stringContaining("no such profile") });
  });

  it("looks at once when the spec changes, whatever the frequency", async () => {
    seed("default", { validationFrequency: "0s" });
    await tick();
    await tick(600_000);
    expect(looks).toBe(1);
    client.mutate(backupStorageLocations, key, (location) => {
      location.spec.objectStorage.bucket = "other";
    });
    await tick();
    expect(looks).toBe(2);
  });

  it("keeps one default", async () => {
    seed("default", { default: true });
    await clock.advance(5_000);
    seed("newer", { default: true });
    await tick();
    expect(client.all(backupStorageLocations).map(({ metadata, spec }) => [metadata.name, spec.default])).toEqual([
      ["default", undefined],
      ["newer", true],
    ]);
  });

  it("gives up on a bucket that does not answer", async () => {
    store.validate = (signal?: AbortSignal) => new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    await controller.stop();
    controller = startBackupLocationController({
      client,
      clock,
      random: seededRandom(1),
      logger: memoryLogger(),
      namespace: "velero",
      stores: { open: async () => store },
    });
    seed();
    await clock.advance(0);
    await clock.advance(31_000);
    await controller.idle();
    expect(status()).toMatchObject({ phase: "Unavailable", message: expect.stringContaining("did not answer within 30 s") });
  });
});
