import { type Backup, type BackupStorageLocation, backupStorageLocations, backups, deleteBackupRequests } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { Controller } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startGarbageCollectionController } from "./garbage-collection-controller.ts";

const NS = "velero";
const HOUR_MS = 3_600_000;

let clock: VirtualClock;
let client: FakeKubeClient;
let controller: Controller;
beforeEach(() => {
  clock = new VirtualClock(Date.parse("2026-11-28T03:00:00Z"));
  client = new FakeKubeClient({ clock });
  controller = startGarbageCollectionController({ client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS });
});
afterEach(() => controller.stop());

const seedLocation = (spec: Partial<BackupStorageLocation["spec"]> = {}, phase: "Available" | "Unavailable" = "Available"): void => {
  client.seed(backupStorageLocations, {
    metadata: { namespace: NS, name: "default" },
    spec: { provider: "aws", objectStorage: { bucket: "b" }, ...spec },
    status: { phase },
  });
};
const seedBackup = (name: string, expiration: string | undefined, phase: NonNullable<Backup["status"]>["phase"] = "Completed"): void => {
  const status = { ...(phase === undefined ? {} : { phase }), ...(expiration === undefined ? {} : { expiration }) };
  client.seed(backups, { metadata: { namespace: NS, name, uid: `uid-${name}` }, spec: { storageLocation: "default" }, status });
};
const requests = () => client.all(deleteBackupRequests);
const failureOf = (name: string): string | undefined => client.peek(backups, { namespace: NS, name })?.metadata.labels?.["velero.io/gc-failure"];

describe("an expired backup", () => {
  it("gets a request for its deletion at the second of its expiration, and only one", async () => {
    seedLocation();
    seedBackup("old", "2026-11-28T03:00:30Z");
    seedBackup("young", "2026-12-28T03:00:00Z");
    seedBackup("for-ever", undefined);
    await clock.advance(29_000);
    expect(requests()).toEqual([]);
    await clock.advance(1_000);
    await clock.advance(5 * HOUR_MS);
    expect(requests()).toMatchObject([
      { metadata: { labels: { "velero.io/backup-name": "old", "velero.io/backup-uid": "uid-old" } }, spec: { backupName: "old" } },
    ]);
    expect(requests()[0]?.metadata.name).toMatch(/^old-/);
  });

  it.each([
    ["BSLReadOnly", () => seedLocation({ accessMode: "ReadOnly" })],
    ["BSLUnavailable", () => seedLocation({}, "Unavailable")],
    ["BSLNotFound", () => undefined],
  ])("says %s in a label and is deleted once its location can be written", async (failure, seed) => {
    seed();
    seedBackup("old", "2026-11-28T02:00:00Z");
    await clock.advance(1_000);
    expect(failureOf("old")).toBe(failure);
    await clock.advance(3 * HOUR_MS);
    expect(requests()).toEqual([]);
    seedLocation();
    await clock.advance(1_000);
    expect(failureOf("old")).toBeUndefined();
    expect(requests()).toHaveLength(1);
  });

  it("whose deletion went wrong is tried again after an hour", async () => {
    seedLocation();
    seedBackup("old", "2026-11-28T02:00:00Z");
    await clock.advance(1_000);
    const [first] = requests();
    client.mutate(deleteBackupRequests, { namespace: NS, name: first?.metadata.name ?? "" }, (request) => {
      request.status = { phase: "Processed", errors: ["the store is away"] };
    });
    await clock.advance(0.9 * HOUR_MS);
    expect(requests()).toHaveLength(1);
    await clock.advance(0.2 * HOUR_MS);
    expect(requests()).toHaveLength(2);
  });

  it.each(["InProgress", "WaitingForPluginOperations", "Finalizing"] as const)("that is %s is left alone until it has ended", async (phase) => {
    seedLocation();
    seedBackup("slow", "2026-11-28T02:00:00Z", phase);
    await clock.advance(HOUR_MS);
    expect(requests()).toEqual([]);
    client.mutate(backups, { namespace: NS, name: "slow" }, (backup) => {
      backup.status = { ...backup.status, phase: "PartiallyFailed" };
    });
    await clock.advance(1_000);
    expect(requests()).toHaveLength(1);
  });

  it("is requested for hundreds of backups in one go, with one list of each kind", async () => {
    seedLocation();
    for (let index = 0; index < 300; index++) seedBackup(`b-${index}`, "2026-11-28T03:10:00Z");
    await clock.advance(1_000);
    expect(client.calls.filter(({ verb }) => verb === "get")).toEqual([]);
    await clock.advance(10 * 60_000);
    await controller.idle();
    expect(requests()).toHaveLength(300);
    expect(client.calls.filter(({ verb, resource }) => verb === "list" && resource === "backups.velero.io").length).toBeLessThanOrEqual(2);
  });
});
