import { type Schedule, schedules } from "@drayage/api";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { describeSchedule } from "../describe/schedule.ts";
import { run } from "../main.ts";
import { printObjects } from "../output/object-output.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { createFromSchedule } from "./backup-create.ts";
import { scheduleFrom } from "./schedule-create.ts";
import { scheduleKind } from "./schedule-get.ts";
import { setPaused } from "./schedule-pause.ts";

const NAMESPACE = "velero";

describe("schedule create", () => {
  it("makes of its flags what Velero's command makes of the same", () => {
    expect(
      scheduleFrom("nightly", {
        schedule: "0 3 * * *",
        includeNamespaces: ["notes-2"],
        snapshotMoveData: true,
        labels: ["a=b"],
        paused: true,
        skipImmediately: false,
      }),
    ).toEqual({
      apiVersion: "velero.io/v1",
      kind: "Schedule",
      metadata: { name: "nightly", labels: { a: "b" } },
      spec: { schedule: "0 3 * * *", template: { includedNamespaces: ["notes-2"], snapshotMoveData: true }, paused: true, skipImmediately: false },
    });
  });

  it.each([
    [["schedule", "create", "x"], "--schedule is required"],
    [["create", "schedule", "x", "--schedule", "0 3 * *"], "it has 4 fields"],
    [["schedule", "pause"], "name them, or use --selector or --all"],
    [["schedule", "delete", "x", "--all"], "one of the three"],
    [["backup", "create", "--from-schedule", "s", "--ttl", "1h"], "takes everything from schedule"],
    [["backup", "create"], "name it, or use --from-schedule"],
  ])("%j: %s", async (words, message) => {
    const terminal = new RecordingTerminal();
    expect(await run(words, terminal)).toBe(2);
    expect(terminal.errors).toContain(message);
  });
});

describe("a schedule is shown", () => {
  const schedule: Schedule = {
    metadata: { name: "nightly", namespace: NAMESPACE, creationTimestamp: "2026-11-21T04:12:42Z" },
    spec: { schedule: "0 3 * * *", template: { includedNamespaces: ["notes-2"], snapshotMoveData: true } },
    status: { phase: "Enabled" },
  };

  it("in a list as Velero's command line was recorded to show it", () =>
    expect(printObjects(scheduleKind(Date.parse("2026-11-21T04:12:45Z")), [schedule], undefined, false)).toBe(
      "NAME      STATUS    CREATED                         SCHEDULE    BACKUP TTL   LAST BACKUP   SELECTOR   PAUSED\n" +
        "nightly   Enabled   2026-11-21 04:12:42 +0000 UTC   0 3 * * *   0s           n/a           <none>     false\n",
    ));

  it("in full, with what its backups take", () => {
    const text = describeSchedule(schedule);
    expect(text).toContain("Phase:  Enabled\n\nPaused:  false\n\nSchedule:  0 3 * * *\n\nBackup Template:\n  Namespaces:\n    Included:  notes-2\n");
    expect(text).toContain("  Snapshot Move Data:            true\n");
    expect(text).toMatch(/Last Backup: {2}<never>\n$/);
    expect(describeSchedule({ ...schedule, status: { phase: "FailedValidation", validationErrors: ["invalid schedule: x"] } })).toContain(
      "Validation errors:\n  invalid schedule: x\n",
    );
  });
});

describe("schedule pause, unpause and run", () => {
  const world = () => {
    const terminal = new RecordingTerminal();
    const client = new FakeKubeClient({ clock: terminal.clock });
    client.seed(schedules, {
      metadata: { namespace: NAMESPACE, name: "nightly", labels: { team: "a" } },
      spec: { schedule: "@daily", template: { ttl: "24h0m0s" } },
    });
    return { terminal, client, access: { client, namespace: NAMESPACE }, spec: () => client.peek(schedules, { namespace: NAMESPACE, name: "nightly" })?.spec };
  };

  it("changes what is asked for, once", async () => {
    const { terminal, access, spec } = world();
    await setPaused(access, ["nightly"], true, {}, terminal);
    await setPaused(access, [], true, { selector: "team=a" }, terminal);
    expect(spec()).toMatchObject({ paused: true });
    await setPaused(access, ["nightly"], false, { skipImmediately: true }, terminal);
    expect(spec()).toMatchObject({ paused: false, skipImmediately: true });
    expect(terminal.text).toBe("Schedule nightly paused successfully\nSchedule nightly is already paused, skip\nSchedule nightly unpaused successfully\n");
  });

  it("makes a backup of the template, named for the time", async () => {
    const { terminal, client, access } = world();
    await createFromSchedule(access, "nightly", { name: undefined, metadata: { labels: { by: "hand" } }, timeoutMs: undefined }, {}, terminal);
    const made = client.calls.find(({ verb }) => verb === "create")?.body;
    expect(made).toMatchObject({
      metadata: { name: "nightly-20260101000000", namespace: NAMESPACE, labels: { team: "a", by: "hand", "velero.io/schedule-name": "nightly" } },
      spec: { ttl: "24h0m0s" },
    });
    expect(terminal.text).toContain('Backup request "nightly-20260101000000" submitted successfully.');
    await expect(createFromSchedule(access, "weekly", { name: undefined, timeoutMs: undefined }, {}, terminal)).rejects.toMatchObject({
      code: "KUBE_NOT_FOUND",
      hint: "There are: nightly.",
    });
  });
});
