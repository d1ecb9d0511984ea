import { type Backup, backups, type Schedule, schedules } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type Controller, isDeleting } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { backupFromSchedule } from "./backup-from-schedule.ts";
import { startScheduleController } from "./schedule-controller.ts";

const NS = "velero";
const HOUR_MS = 3_600_000;
const CREATED = "2026-11-28T01:30:00Z";

let clock: VirtualClock;
let client: FakeKubeClient;
let controller: Controller;
const start = (): Controller => startScheduleController({ client, clock, random: seededRandom(3), logger: nullLogger, namespace: NS, zone: "UTC" });
beforeEach(() => {
  clock = new VirtualClock(Date.parse(CREATED));
  client = new FakeKubeClient({ clock });
  controller = start();
});
afterEach(() => controller.stop());

const nightly = (spec: Partial<Schedule["spec"]> = {}, metadata: Schedule["metadata"] = {}): Schedule => ({
  metadata: { namespace: NS, name: "nightly", ...metadata },
  spec: { schedule: "0 3 * * *", template: { includedNamespaces: ["notes"], ttl: "48h" }, ...spec },
});
const stored = (): Schedule => client.peek(schedules, { namespace: NS, name: "nightly" }) ?? nightly();
const made = (): string[] => client.all(backups).map(({ metadata }) => metadata.name ?? "");
const end = (name: string, phase: NonNullable<Backup["status"]>["phase"] = "Completed"): void => {
  client.mutate(backups, { namespace: NS, name }, (backup) => {
    if (phase !== undefined) backup.status = { phase };
  });
};

describe("a schedule", () => {
  it("is Enabled at once and makes a backup of its template when its time comes, named for that time", async () => {
    await client.create(schedules, nightly());
    await clock.advance(1_000);
    expect(stored().status).toEqual({ phase: "Enabled" });
    expect(made()).toEqual([]);
    await clock.advance(1.5 * HOUR_MS);
    expect(made()).toEqual(["nightly-20261128030000"]);
    expect(client.all(backups)[0]).toMatchObject({
      metadata: { labels: { "velero.io/schedule-name": "nightly" }, annotations: { "drayage.io/scheduled-for": "2026-11-28T03:00:00Z" } },
      spec: { includedNamespaces: ["notes"], ttl: "48h" },
    });
    expect(stored().status).toEqual({ phase: "Enabled", lastBackup: "2026-11-28T03:00:00Z" });
    end("nightly-20261128030000");
    await clock.advance(24 * HOUR_MS);
    expect(made()).toEqual(["nightly-20261128030000", "nightly-20261129030000"]);
  });

  it("uses the template as it is when the time comes", async () => {
    await client.create(schedules, nightly());
    await clock.advance(1_000);
    client.mutate(schedules, { namespace: NS, name: "nightly" }, (schedule) => {
      schedule.spec.template = { includedNamespaces: ["other"] };
    });
    await clock.advance(2 * HOUR_MS);
    expect(client.all(backups)[0]?.spec).toEqual({ includedNamespaces: ["other"] });
  });

  it("makes one backup for all that was missed", async () => {
    await controller.stop();
    await client.create(schedules, nightly({ schedule: "@hourly" }));
    await clock.advance(10 * HOUR_MS);
    controller = start();
    await clock.advance(1_000);
    expect(made()).toHaveLength(1);
  });

  it("waits while an earlier backup has not got past its own work, and goes on once it has", async () => {
    await client.create(schedules, nightly({ schedule: "@hourly" }));
    await clock.advance(0.6 * HOUR_MS);
    expect(made()).toEqual(["nightly-20261128020000"]);
    end("nightly-20261128020000", "InProgress");
    await clock.advance(2 * HOUR_MS);
    expect(made()).toHaveLength(1);
    end("nightly-20261128020000", "WaitingForPluginOperations");
    await clock.advance(1_000);
    expect(made()).toHaveLength(2);
  });

  it("does nothing while it is paused", async () => {
    await client.create(schedules, nightly({ paused: true }));
    await clock.advance(48 * HOUR_MS);
    expect(made()).toEqual([]);
    client.mutate(schedules, { namespace: NS, name: "nightly" }, (schedule) => {
      schedule.spec.paused = false;
      schedule.spec.skipImmediately = true;
    });
    await clock.advance(1_000);
    // What came while it was paused is left out, as was asked.
    expect(made()).toEqual([]);
    expect(stored()).toMatchObject({ spec: { skipImmediately: false }, status: { lastSkipped: "2026-11-30T01:30:00Z" } });
    await clock.advance(2 * HOUR_MS);
    expect(made()).toEqual(["nightly-20261130030000"]);
  });

  it("says what is wrong with its expression, and is Enabled when it has been put right", async () => {
    await client.create(schedules, nightly({ schedule: "0 3 * *" }));
    await clock.advance(1_000);
    expect(stored().status).toMatchObject({ phase: "FailedValidation", validationErrors: [expect.stringMatching(/^invalid schedule: .*it has 4 fields/)] });
    client.mutate(schedules, { namespace: NS, name: "nightly" }, (schedule) => {
      schedule.spec.schedule = "0 3 * * *";
    });
    await clock.advance(1_000);
    expect(stored().status).toEqual({ phase: "Enabled" });
  });

  it.each([
    ["an empty expression", nightly({ schedule: " " }), "Schedule must be a non-empty valid Cron expression"],
    [
      "a name that leaves no room",
      nightly({}, { name: "n".repeat(240) }),
      "the name has 240 characters, and 238 leave room for the time in the names of its backups",
    ],
  ])("fails validation with %s", async (_what, schedule, fault) => {
    await client.create(schedules, schedule);
    await clock.advance(1_000);
    expect(client.all(schedules)[0]?.status).toEqual({ phase: "FailedValidation", validationErrors: [fault] });
  });

  it("makes no second backup when the server ends before the first one was noted", async () => {
    await client.create(schedules, nightly());
    await clock.advance(1_000);
    client.intercept = ({ verb, resource }) => {
      if (verb === "patch" && resource === "schedules.velero.io") throw new DrayError("KUBE_UNAVAILABLE", "the server is gone");
    };
    await clock.advance(1.6 * HOUR_MS);
    await controller.stop();
    expect(made()).toEqual(["nightly-20261128030000"]);
    end("nightly-20261128030000");
    client.intercept = undefined;
    controller = start();
    await clock.advance(60_000);
    expect(made()).toEqual(["nightly-20261128030000"]);
    expect(stored().status?.lastBackup).toMatch(/^2026-11-28T03:0/);
  });

  it("that is being deleted makes nothing", async () => {
    client.seed(schedules, nightly({}, { deletionTimestamp: CREATED, finalizers: ["x/y"] }));
    expect(isDeleting(stored())).toBe(true);
    await clock.advance(24 * HOUR_MS);
    expect(made()).toEqual([]);
  });

  it("costs the API server nothing while it is not due", async () => {
    for (let index = 0; index < 100; index++) await client.create(schedules, nightly({}, { name: `s-${index}` }));
    await clock.advance(5_000);
    await settle();
    const before = client.calls.filter(({ verb }) => verb !== "watch").length;
    await clock.advance(HOUR_MS);
    expect(client.calls.filter(({ verb }) => verb !== "watch").length).toBe(before);
  });
});

describe("backupFromSchedule", () => {
  const schedule: Schedule = nightly(
    { useOwnerReferencesInBackup: true },
    { uid: "u", labels: { team: "a" }, annotations: { note: "x", "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
  );

  it("takes over the schedule's labels and annotations, and the schedule as owner where it says so", () => {
    expect(backupFromSchedule(schedule, Date.parse("2026-11-28T03:00:07.9Z"))).toMatchObject({
      metadata: {
        name: "nightly-20261128030007",
        namespace: NS,
        labels: { team: "a", "velero.io/schedule-name": "nightly" },
        annotations: { note: "x" },
        ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Schedule", name: "nightly", uid: "u", controller: true }],
      },
    });
    expect(backupFromSchedule(schedule, 0).metadata.annotations).toEqual({ note: "x" });
  });

  it("takes the template's labels instead where it has some", () => {
    const labeled = { ...schedule, spec: { ...schedule.spec, template: { metadata: { labels: { tier: "gold" } } } } };
    expect(backupFromSchedule(labeled, 0, "by-hand").metadata).toMatchObject({
      name: "by-hand",
      labels: { tier: "gold", "velero.io/schedule-name": "nightly" },
    });
    expect(backupFromSchedule(labeled, 0).metadata.labels).not.toHaveProperty("team");
  });
});
