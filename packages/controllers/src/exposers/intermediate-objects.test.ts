import { type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type Pod, persistentVolumeClaims, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { removal } from "./intermediate-objects.ts";

const KEY = { namespace: "velero", name: "up" };

describe("the removal of a pod on a node that does not answer", () => {
  it.each([-3, 0, 3])("is forced a minute after it should have ended, where the API server's clock is %s hours off", async (hours) => {
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock, random: seededRandom(1) });
    const graceSeconds = 30;
    // It is dated when its time is over.
    const deletionTimestamp = formatTime(clock.nowMs() + hours * 3_600_000 + graceSeconds * 1_000);
    const pod: Pod = {
      metadata: { ...KEY, uid: "u", deletionTimestamp, deletionGracePeriodSeconds: graceSeconds, finalizers: ["test/kubelet"] },
      spec: { nodeName: "node-1", containers: [] },
    };
    client.seed(pods, pod);
    const next = async () => (await removal({ client, clock }, pods, KEY, { force: true }))?.state;
    expect(await next()).toBe("wait");
    await clock.advance(89_000);
    expect(await next()).toBe("wait");
    await clock.advance(1_000);
    const work = await removal({ client, clock }, pods, KEY, { force: true });
    expect(work).toMatchObject({ state: "act", what: expect.stringContaining("by force") });
  });
});

describe("the removal of what others let go", () => {
  const deletionTimestamp = "2026-01-01T00:00:00Z";

  it("is looked at again soon at first and seldom later, or when its end is told where that is watched", async () => {
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock, random: seededRandom(1) });
    const metadata = { ...KEY, uid: "u", deletionTimestamp, finalizers: ["test/hold"] };
    client.seed(persistentVolumeClaims, { metadata, spec: {} });
    const snapshot: VolumeSnapshot = client.seed(volumeSnapshots, { metadata, spec: { source: {} } });
    const ofClaim = () => removal({ client, clock }, persistentVolumeClaims, KEY);
    expect(await ofClaim()).toMatchObject({ state: "wait", recheckMs: 150 });
    await clock.advance(2_000);
    expect(await ofClaim()).toMatchObject({ state: "wait", recheckMs: 1_000 });
    await clock.advance(60_000);
    expect(await ofClaim()).toMatchObject({ state: "wait", recheckMs: 5_000 });
    const watched = { client, clock, snapshots: { get: () => snapshot } };
    expect(await removal(watched, volumeSnapshots, KEY)).toMatchObject({ state: "wait", recheckMs: 2_500 });
  });
});
