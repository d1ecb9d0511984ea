import { memoryLogger, seededRandom, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { events } from "./core.ts";
import { createEventRecorder } from "./event-recorder.ts";
import { FakeKubeClient } from "./testing/index.ts";

const ABOUT = { apiVersion: "velero.io/v1", kind: "Backup", metadata: { namespace: "velero", name: "first", uid: "u", resourceVersion: "7" } };

function setUp(options: { waitingMax?: number; aggregateMs?: number } = {}) {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const logger = memoryLogger();
  const recorder = createEventRecorder({ client, clock, random: seededRandom(1), logger, component: "drayage", host: "node-1", ...options });
  return { clock, client, logger, recorder };
}

describe("an event recorder", () => {
  it("writes events as kubectl describe shows them", async () => {
    const { client, recorder } = setUp();
    recorder.event(ABOUT, "Warning", "LocationUnavailable", "the bucket is not there");
    await recorder.flush(1_000);
    expect(client.all(events)).toMatchObject([
      {
        metadata: { namespace: "velero" },
        involvedObject: { apiVersion: "velero.io/v1", kind: "Backup", namespace: "velero", name: "first", uid: "u", resourceVersion: "7" },
        type: "Warning",
        reason: "LocationUnavailable",
        message: "the bucket is not there",
        count: 1,
        firstTimestamp: "2026-01-01T00:00:00Z",
        source: { component: "drayage", host: "node-1" },
      },
    ]);
    expect(client.all(events)[0]?.metadata.name).toMatch(/^first\.[0-9a-f]{16}$/);
  });

  it("counts equal events on one object, and begins a new one after a while", async () => {
    const { clock, client, recorder } = setUp({ aggregateMs: 60_000 });
    for (let again = 0; again < 3; again++) {
      recorder.event(ABOUT, "Normal", "Same", "same");
      await clock.advance(1_000);
    }
    recorder.event(ABOUT, "Normal", "Same", "other");
    await clock.advance(120_000);
    recorder.event(ABOUT, "Normal", "Same", "same");
    await recorder.flush(1_000);
    expect(
      client
        .all(events)
        .map(({ message, count }) => `${message} ${count}`)
        .sort(),
    ).toEqual(["other 1", "same 1", "same 3"]);
  });

  it("begins a new object when the old one has expired", async () => {
    const { client, recorder } = setUp();
    recorder.event(ABOUT, "Normal", "Same", "same");
    await recorder.flush(1_000);
    for (const { metadata } of client.all(events)) client.discard(events, { namespace: "velero", name: metadata.name ?? "" });
    recorder.event(ABOUT, "Normal", "Same", "same");
    await recorder.flush(1_000);
    expect(client.all(events).map(({ count }) => count)).toEqual([1]);
  });

  it("never throws, drops the oldest when too many wait, and logs both", async () => {
    const { client, logger, recorder } = setUp({ waitingMax: 2 });
    client.failNext({ verb: "create" }, "KUBE_FORBIDDEN", 1);
    for (const reason of ["one", "two", "three", "four"]) recorder.event(ABOUT, "Normal", reason, reason);
    await recorder.flush(1_000);
    expect(logger.records.map(({ message }) => message)).toEqual(["An event was dropped: too many wait to be written", "An event was not written"]);
    expect(
      client
        .all(events)
        .map(({ reason }) => reason)
        .sort(),
    ).toEqual(["four", "three"]);
  });
});
