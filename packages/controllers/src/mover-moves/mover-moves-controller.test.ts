import { type DataMover, type DataMoverBackup, dataMoverBackups, dataMovers, MOVED_DATA_FINALIZER } from "@drayage/api";
import { type Clock, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { fixedDiscovery, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { startMoverMovesController } from "./mover-moves-controller.ts";

const NS = "velero";
const KEY = { namespace: NS, name: "b-config" };
const MINUTE_MS = 60_000;

let clock: VirtualClock;
let client: FakeKubeClient;
let controller: RunningController | undefined;
/** Pods that were made to remove data. */
let made: number;
beforeEach(() => {
  clock = new VirtualClock();
  client = new FakeKubeClient({ clock, random: seededRandom(7), statusSubresources: [] });
  made = 0;
  client.react(pods, (before, after) => {
    if (before === undefined && after?.metadata.name === "b-config-delete") made++;
  });
  client.seed<DataMover>(dataMovers, {
    metadata: { name: "freighter" },
    spec: {
      capabilities: { kinds: [], cancel: true },
      description: "moves",
      parameters: { type: "object", properties: {} },
      version: "1.0.0",
      image: "example.com/freighter:1",
      command: ["/freighter"],
    },
  });
});
afterEach(async () => {
  await controller?.stop();
  controller = undefined;
});

/** A server whose wall clock is that far ahead of the API server's. */
function start(aheadMs: number): void {
  const own: Clock = {
    nowMs: () => clock.nowMs() + aheadMs,
    nowNs: () => clock.nowNs() + BigInt(aheadMs) * 1_000_000n,
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    after: (ms, callback) => clock.after(ms, callback),
  };
  controller = startMoverMovesController({
    client,
    discovery: fixedDiscovery([]),
    clock: own,
    random: seededRandom(3),
    logger: nullLogger,
    namespace: NS,
    pod: { image: "drayage", serviceAccount: "velero" },
  });
}

async function seedDeleted(): Promise<void> {
  client.seed<DataMoverBackup>(dataMoverBackups, {
    metadata: { ...KEY, finalizers: [MOVED_DATA_FINALIZER] },
    spec: { mover: "freighter", source: { apiVersion: "v1", kind: "ConfigMap", namespace: "notes", name: "c" }, deletionPolicy: "Delete", target: {} },
    status: { phase: "Completed", snapshotID: "s" },
  } as unknown as DataMoverBackup);
  await client.delete(dataMoverBackups, KEY);
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10_000) {
    await clock.advance(10_000);
    await settle();
  }
}

describe("the removal of what a mover moved", () => {
  it.each([
    ["as the API server's", 0],
    ["a quarter of an hour ahead", 15 * MINUTE_MS],
    ["an hour behind", -60 * MINUTE_MS],
  ])("has ten minutes for each try where the server's clock is %s", async (_what, aheadMs) => {
    await seedDeleted();
    start(aheadMs);
    await pass(9 * MINUTE_MS);
    expect(made).toBe(1);
    expect(client.peek(dataMoverBackups, KEY)?.status?.dataRemoved).toBeUndefined();
    await pass(2 * MINUTE_MS);
    expect(client.peek(dataMoverBackups, KEY)?.status).toMatchObject({
      dataRemoved: false,
      message: expect.stringContaining("has not removed its data after 600 s") as string,
    });
    expect(made).toBe(2);
    await pass(8 * MINUTE_MS);
    expect(made).toBe(2);
  });

  it("is tried again half a minute after a mover failed, wherever the server's clock is", async () => {
    await seedDeleted();
    start(15 * MINUTE_MS);
    client.react(pods, (_before, after) => {
      if (after?.metadata.name !== "b-config-delete" || after.status !== undefined) return;
      client.mutate(pods, { namespace: NS, name: "b-config-delete" }, (pod) => {
        pod.status = { phase: "Failed" };
      });
    });
    await pass(5 * MINUTE_MS);
    expect(made).toBeGreaterThan(3);
    expect(made).toBeLessThan(12);
  });
});
