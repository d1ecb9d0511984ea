/** Backups by the clock, and their end when their time is over, in a whole cluster. */
import { backups, schedules } from "@drayage/api";
import { configMaps, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "one" } });
  await harness.client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "one", name: "red" }, data: { color: "red" } });
});
afterAll(() => harness?.destroy());

it("a schedule makes backups until it is paused, and each goes with its files when its time is over", async () => {
  const key = { namespace: VELERO, name: "often" };
  const ofSchedule = { namespace: VELERO, labelSelector: "velero.io/schedule-name=often" };
  await harness.client.create(schedules, {
    apiVersion: "velero.io/v1",
    kind: "Schedule",
    metadata: { ...key, labels: { team: "a" } },
    spec: { schedule: "@every 3s", template: { includedNamespaces: ["one"], snapshotVolumes: false, ttl: "15s" } },
  });
  const made = await harness.seen(backups, ofSchedule, (found) => {
    const completed = found.filter(({ status }) => status?.phase === "Completed");
    return completed.length >= 2 ? completed : undefined;
  });
  await harness.client.patch(schedules, key, "merge", { spec: { paused: true } });
  for (const { metadata } of made) {
    expect(metadata).toMatchObject({ name: expect.stringMatching(/^often-\d{14}$/), labels: { team: "a" } });
    expect(await harness.archive((store) => store.backupExists(metadata.name ?? ""))).toBe(true);
  }
  expect((await harness.client.get(schedules, key)).status).toMatchObject({ phase: "Enabled", lastBackup: expect.any(String) });
  await harness.seen(backups, ofSchedule, (found) => (found.length === 0 ? true : undefined));
  expect(await harness.archive((store) => store.listBackups())).toEqual([]);
});
