import { formatTime, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type Node, nodes, startInformer } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { watchNodes } from "./node-health.ts";

const node = (ready: "True" | "Unknown", since: string): Node => ({
  metadata: { name: "node-1" },
  status: { conditions: [{ type: "Ready", status: ready, lastTransitionTime: since }] },
});

describe("watchNodes()", () => {
  it.each([-3, 0, 3])("measures how long a node has not been ready where the control plane's clock is %s hours off", async (hours) => {
    const clock = new VirtualClock();
    const random = seededRandom(1);
    const client = new FakeKubeClient({ clock, random });
    const there = (): string => formatTime(clock.nowMs() + hours * 3_600_000);
    client.seed(nodes, node("True", there()));
    const informer = startInformer(nodes, { client, clock, random, logger: nullLogger });
    const health = watchNodes(informer, clock);
    await settle();
    expect(health.unreadyForMs("node-1")).toBeUndefined();
    client.seed(nodes, node("Unknown", there()));
    await settle();
    await clock.advance(59_000);
    expect(health.unreadyForMs("node-1")).toBe(59_000);
    client.seed(nodes, node("True", there()));
    await settle();
    expect(health.unreadyForMs("node-1")).toBeUndefined();
    client.seed(nodes, node("Unknown", there()));
    await settle();
    expect(health.unreadyForMs("node-1")).toBe(0);
    expect(health.unreadyForMs("node-2")).toBeUndefined();
    informer.stop();
  });
});
