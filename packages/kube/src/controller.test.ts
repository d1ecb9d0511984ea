import { type Code, DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { source, startController } from "./controller.ts";
import { type ConfigMap, configMaps } from "./core.ts";
import { startInformer } from "./shared-informers.ts";
import { FakeKubeClient } from "./testing/index.ts";
import type { ReconcileResult } from "./types.ts";

const configMap = (name: string): ConfigMap => ({ metadata: { namespace: "ns", name } });

function setUp(reconcile: (name: string, signal: AbortSignal) => Promise<ReconcileResult>, options: { workers?: number; resyncMs?: number } = {}) {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const logger = memoryLogger();
  const base = { client, clock, random: seededRandom(1), logger };
  const informer = startInformer(configMaps, base);
  const controller = startController({
    ...base,
    name: "test",
    sources: [source(informer)],
    reconcile: ({ name }, signal) => reconcile(name, signal),
    ...options,
  });
  return { clock, client, logger, controller, informer };
}

describe("a controller", () => {
  it("reconciles what is there and what changes", async () => {
    const seen: string[] = [];
    const { client, controller } = setUp(async (name) => {
      seen.push(name);
      return {};
    });
    client.seed(configMaps, configMap("a"));
    await settle();
    await controller.idle();
    client.discard(configMaps, { namespace: "ns", name: "a" });
    await settle();
    expect(seen).toEqual(["a", "a"]);
    await controller.stop();
  });

  it("never works on one key twice at the same time", async () => {
    let running = 0;
    let most = 0;
    const { clock, client, controller } = setUp(
      async () => {
        most = Math.max(most, ++running);
        await clock.sleep(100);
        running--;
        return {};
      },
      { workers: 4 },
    );
    client.seed(configMaps, configMap("a"));
    for (let change = 0; change < 5; change++) {
      await clock.advance(10);
      client.mutate(configMaps, { namespace: "ns", name: "a" }, (object) => {
        object.data = { change: String(change) };
      });
    }
    await clock.advance(1_000);
    expect(most).toBe(1);
    await controller.stop();
  });

  it("calls again after the time that was asked for", async () => {
    let calls = 0;
    const { clock, client, controller } = setUp(async () => (++calls < 3 ? { requeueAfterMs: 1_000 } : {}));
    client.seed(configMaps, configMap("a"));
    await clock.advance(10_000);
    expect(calls).toBe(3);
    await controller.stop();
  });

  it.each<[Code, number, number]>([
    ["KUBE_UNAVAILABLE", 15, 200],
    ["REPO_WRONG_PASSWORD", 10, 30],
    ["KUBE_INVALID", 3, 8],
    ["INVARIANT", 3, 8],
  ])("tries %s again between %i and %i times in five minutes", async (code, least, most) => {
    let calls = 0;
    const { clock, client, controller } = setUp(async () => {
      calls++;
      throw new DrayError(code, "Cannot do it");
    });
    client.seed(configMaps, configMap("a"));
    await clock.advance(300_000);
    expect(calls).toBeGreaterThanOrEqual(least);
    expect(calls).toBeLessThanOrEqual(most);
    await controller.stop();
  });

  it("queues every object again when it resyncs", async () => {
    let calls = 0;
    const { clock, client, controller } = setUp(
      async () => {
        calls++;
        return {};
      },
      { resyncMs: 60_000 },
    );
    client.seed(configMaps, configMap("a"));
    await clock.advance(150_000);
    expect(calls).toBe(3);
    await controller.stop();
  });

  it("waits for what is under way when it is stopped, and tells it so", async () => {
    let reason: unknown;
    const { clock, client, controller } = setUp(async (_name, signal) => {
      await clock.sleep(60_000, signal).catch((error: unknown) => {
        reason = error;
      });
      return {};
    });
    client.seed(configMaps, configMap("a"));
    await settle();
    await controller.stop();
    expect(reason).toMatchObject({ name: "AbortError" });
  });
});
