import { serverStatusRequests } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { decide } from "./server-status.ts";
import { startServerStatusController } from "./server-status-controller.ts";

describe("decide()", () => {
  it("answers what is new, keeps the answer for a minute, then deletes the request", () => {
    expect(decide({ phase: "New", processedForMs: 1e12 })).toMatchObject({ do: "answer" });
    expect(decide({ phase: "Processed", processedForMs: 20_000 })).toEqual({ do: "nothing", recheckAfterMs: 40_000 });
    expect(decide({ phase: "Processed", processedForMs: 60_000 })).toEqual({ do: "delete" });
  });
});

describe("the server status controller", () => {
  it("says version and plug-ins, and cleans up after askers that went away", async () => {
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock });
    const plugins = [{ kind: "ObjectStore", name: "velero.io/aws" }];
    const controller = startServerStatusController({
      client,
      clock,
      random: seededRandom(1),
      logger: memoryLogger(),
      namespace: "velero",
      serverVersion: "v0.1.0",
      plugins,
    });
    const key = { namespace: "velero", name: "velero-cli-x" };
    client.seed(serverStatusRequests, { metadata: key, spec: {}, status: {} });
    await clock.advance(0);
    await settle(10);
    await controller.idle();
    expect(client.peek(serverStatusRequests, key)?.status).toEqual({
      phase: "Processed",
      processedTimestamp: formatTime(clock.nowMs()),
      serverVersion: "v0.1.0",
      plugins,
    });
    await clock.advance(61_000);
    await controller.idle();
    expect(client.peek(serverStatusRequests, key)).toBeUndefined();
    await controller.stop();
  });
});
