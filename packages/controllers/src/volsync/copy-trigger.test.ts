import { type ReplicationSource, volumeSnapshots } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import { overdueTrigger } from "./copy-trigger.ts";
import { copyTold, volumeWork } from "./volumes.ts";

const NS = "shop";
const KEY = { namespace: NS, name: "data" };
const COPY = { namespace: NS, name: "volsync-data-src" };

let clock: VirtualClock;
let client: FakeKubeClient;
beforeEach(() => {
  clock = new VirtualClock(Date.UTC(2026, 4, 1, 12));
  client = new FakeKubeClient({ clock });
  client.seed(persistentVolumeClaims, {
    metadata: { ...KEY, annotations: { "volsync.backube/use-copy-trigger": "" } },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
  });
});

const sourceOf = (copyMethod: "Snapshot" | "Clone" | "Direct"): ReplicationSource => ({
  apiVersion: "volsync.backube/v1alpha1",
  kind: "ReplicationSource",
  metadata: { ...KEY, uid: "0123456789abcdef" },
  spec: { sourcePVC: "data", restic: { repository: "r", copyMethod } },
});
const claim = (): PersistentVolumeClaim => {
  const found = client.peek(persistentVolumeClaims, KEY);
  if (found === undefined) throw new Error("the claim is gone");
  return found;
};
/** What stands on the claim, without what VolSync's annotations begin with. */
const said = (): Record<string, string> =>
  Object.fromEntries(Object.entries(claim().metadata.annotations ?? {}).map(([key, value]) => [key.replace("volsync.backube/", ""), value]));
function trigger(value: string): void {
  client.mutate(persistentVolumeClaims, KEY, ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, "volsync.backube/copy-trigger": value };
  });
}
const isCopied = (): boolean => client.peek(volumeSnapshots, COPY) !== undefined || client.peek(persistentVolumeClaims, COPY) !== undefined;

/** Works until it waits or is done, and says which. */
async function work(source: ReplicationSource): Promise<string> {
  for (let round = 0; round < 20; round++) {
    const next = await volumeWork(client, source, clock.nowMs());
    if (next.state !== "act") return next.state === "wait" ? `wait: ${next.reason}` : next.state;
    await next.run();
  }
  throw new Error("there is no end to it");
}

describe("a claim that is copied by triggers", () => {
  it("is not copied before there is one, and says that one is waited for, and since when", async () => {
    for (const source of [sourceOf("Snapshot"), sourceOf("Clone")]) {
      expect(await work(source)).toBe(
        'wait: a new value of the annotation "volsync.backube/copy-trigger" on persistent volume claim "shop/data", before it is copied',
      );
      expect(isCopied()).toBe(false);
    }
    expect(said()).toEqual({
      "use-copy-trigger": "",
      "latest-copy-status": "WaitingForTrigger",
      "latest-copy-trigger-waiting-since": formatTime(clock.nowMs()),
    });
  });

  it("is copied by a snapshot at a new value, and says so once the snapshot can be used", async () => {
    await work(sourceOf("Snapshot"));
    trigger("at rest");
    expect(await work(sourceOf("Snapshot"))).toContain("wait: snapshot");
    expect(said()).toEqual({ "use-copy-trigger": "", "copy-trigger": "at rest", "latest-copy-status": "InProgress", "drayage.io/copy-begun-for": "at rest" });
    client.mutate(volumeSnapshots, COPY, (snapshot) => {
      snapshot.status = { readyToUse: true, restoreSize: 1 << 30 };
    });
    expect(await work(sourceOf("Snapshot"))).toBe("done");
    expect(said()).toEqual({ "use-copy-trigger": "", "copy-trigger": "at rest", "latest-copy-trigger": "at rest", "latest-copy-status": "Completed" });
  });

  it("is copied by a clone, and says so once the clone is bound: with some classes only when the mover has it", async () => {
    trigger("at rest");
    expect(await work(sourceOf("Clone"))).toBe("done");
    expect([isCopied(), said()["latest-copy-status"]]).toEqual([true, "InProgress"]);
    client.mutate(persistentVolumeClaims, COPY, (copy) => {
      copy.status = { phase: "Bound" };
    });
    expect(await work(sourceOf("Clone"))).toBe("done");
    expect(said()).toMatchObject({ "latest-copy-trigger": "at rest", "latest-copy-status": "Completed" });
  });

  it("is told of it after the mover's end at the latest", async () => {
    trigger("at rest");
    await work(sourceOf("Clone"));
    const told = await copyTold(client, sourceOf("Clone"));
    if (told.state !== "act") throw new Error("nothing is told");
    await told.run();
    expect(said()["latest-copy-status"]).toBe("Completed");
    expect((await copyTold(client, sourceOf("Clone"))).state).toBe("done");
  });

  it("is not said to be copied for a value that came after its copy was begun: that one has a copy of its own", async () => {
    trigger("one");
    await work(sourceOf("Snapshot"));
    trigger("two");
    client.mutate(volumeSnapshots, COPY, (snapshot) => {
      snapshot.status = { readyToUse: true };
    });
    expect(await work(sourceOf("Snapshot"))).toBe("done");
    const told = { "use-copy-trigger": "", "copy-trigger": "two", "latest-copy-trigger": "one", "latest-copy-status": "Completed" };
    expect(said()).toEqual(told);
    // While the mover runs, and after its end.
    expect(await work(sourceOf("Snapshot"))).toBe("done");
    expect((await copyTold(client, sourceOf("Snapshot"))).state).toBe("done");
    expect(said()).toEqual(told);
    await client.delete(volumeSnapshots, COPY);
    await client.delete(persistentVolumeClaims, COPY);
    expect(await work(sourceOf("Snapshot"))).toContain("wait: snapshot");
    expect(said()).toMatchObject({ "latest-copy-status": "InProgress", "drayage.io/copy-begun-for": "two" });
  });

  it("is copied for the value that is there when the copy is made, where another one stood there when it was announced", async () => {
    trigger("one");
    const announced = await volumeWork(client, sourceOf("Clone"), clock.nowMs());
    if (announced.state !== "act") throw new Error("nothing is announced");
    await announced.run();
    trigger("two");
    await work(sourceOf("Clone"));
    expect([isCopied(), said()["drayage.io/copy-begun-for"]]).toEqual([true, "two"]);
  });

  it("is not copied twice for one value", async () => {
    trigger("at rest");
    client.mutate(persistentVolumeClaims, KEY, ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, "volsync.backube/latest-copy-trigger": "at rest", "volsync.backube/latest-copy-status": "Completed" };
    });
    expect(await work(sourceOf("Snapshot"))).toContain("wait: a new value");
    expect(said()["latest-copy-status"]).toBe("WaitingForTrigger");
  });

  it("has its status say after ten minutes that nobody has set the trigger", async () => {
    await work(sourceOf("Snapshot"));
    await clock.advance(600_000 - 1_000);
    expect(overdueTrigger(claim(), clock.nowMs())).toBeUndefined();
    await clock.advance(2_000);
    expect(overdueTrigger(claim(), clock.nowMs())).toContain("it is still waited for");
    trigger("at rest");
    await work(sourceOf("Snapshot"));
    expect(overdueTrigger(claim(), clock.nowMs())).toBeUndefined();
  });

  it("is read as it is, without triggers, where nothing is copied", async () => {
    expect(await work(sourceOf("Direct"))).toBe("done");
    expect(said()).toEqual({ "use-copy-trigger": "" });
  });
});
