import { DrayError } from "@drayage/base";
import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { type ConfigMap, configMaps } from "./core.ts";
import { startInformer } from "./shared-informers.ts";
import { FakeKubeClient } from "./testing/index.ts";

const KEY = { namespace: "ns", name: "a" };

function setUp(options: Partial<Parameters<typeof startInformer<ConfigMap>>[1]> = {}) {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const logger = memoryLogger();
  const start = () => startInformer(configMaps, { client, clock, random: seededRandom(1), logger, ...options });
  return { clock, client, logger, start };
}

const configMap = (name: string, data: Record<string, string> = {}): ConfigMap => ({ metadata: { namespace: "ns", name }, data });

describe("an informer", () => {
  it("has the first list when it is synced, and follows changes after it", async () => {
    const { client, start } = setUp();
    client.seed(configMaps, configMap("a", { v: "1" }));
    const informer = start();
    await informer.synced();
    expect(informer.get(KEY)?.data).toEqual({ v: "1" });
    client.mutate(configMaps, KEY, (object) => {
      object.data = { v: "2" };
    });
    client.seed(configMaps, configMap("b"));
    await settle();
    expect(informer.get(KEY)?.data).toEqual({ v: "2" });
    expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
    client.discard(configMaps, KEY);
    await settle();
    expect(informer.get(KEY)).toBeUndefined();
    informer.stop();
  });

  it("lists again after its version has expired, and tells what it missed as one change each", async () => {
    const { clock, client, start } = setUp();
    client.seed(configMaps, configMap("a", { v: "1" }));
    client.seed(configMaps, configMap("gone"));
    const informer = start();
    await informer.synced();
    const seen: string[] = [];
    informer.onChange((before, after) => seen.push(`${before?.metadata.name ?? "-"}>${after?.metadata.name ?? "-"}`));
    seen.length = 0;
    // While the watch is down, the world goes on and its history is forgotten.
    client.failNext({ verb: "watch" }, "KUBE_UNAVAILABLE", 2);
    client.compact();
    client.mutate(configMaps, KEY, (object) => {
      object.data = { v: "3" };
    });
    client.discard(configMaps, { namespace: "ns", name: "gone" });
    client.seed(configMaps, configMap("new"));
    client.compact();
    await clock.advance(60_000);
    expect(seen).toEqual(["gone>-", "a>a", "->new"]);
    informer.stop();
  });

  it("tells an object that was made anew under the same name as gone and as new", async () => {
    const { clock, client, start } = setUp();
    client.seed(configMaps, configMap("a"));
    const informer = start();
    await informer.synced();
    const seen: (string | undefined)[][] = [];
    informer.onChange((before, after) => seen.push([before?.metadata.uid, after?.metadata.uid]));
    seen.length = 0;
    const oldUid = client.peek(configMaps, KEY)?.metadata.uid;
    client.compact();
    client.discard(configMaps, KEY);
    const newUid = client.seed(configMaps, configMap("a")).metadata.uid;
    client.compact();
    await clock.advance(60_000);
    expect(seen).toEqual([
      [oldUid, undefined],
      [undefined, newUid],
    ]);
    informer.stop();
  });

  it("backs off while the server is away and comes back by itself", async () => {
    const { clock, client, start } = setUp();
    let down = true;
    client.intercept = () => {
      if (down) throw new DrayError("KUBE_UNAVAILABLE", "Cannot list: no answer");
    };
    const informer = start();
    await clock.advance(120_000);
    const tries = client.calls.length;
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(20);
    down = false;
    await clock.advance(60_000);
    await informer.synced();
    informer.stop();
  });

  it("does not ask in a tight loop when every watch ends at once", async () => {
    const { clock, client, start } = setUp();
    const informer = start();
    await informer.synced();
    client.calls.length = 0;
    await client.close();
    await clock.advance(1_000);
    expect(client.calls.filter(({ verb }) => verb === "watch").length).toBeLessThan(10);
    informer.stop();
  });

  it("finds objects by index, and forgets what left it", async () => {
    const { client, start } = setUp({ indexes: { app: ({ data }) => (data?.["app"] === undefined ? [] : [data["app"]]) } });
    client.seed(configMaps, configMap("a", { app: "x" }));
    client.seed(configMaps, configMap("b", { app: "x" }));
    const informer = start();
    await informer.synced();
    expect(informer.byIndex("app", "x").map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
    client.mutate(configMaps, KEY, (object) => {
      object.data = { app: "y" };
    });
    await settle();
    expect([informer.byIndex("app", "x"), informer.byIndex("app", "y")].map((list) => list.map(({ metadata }) => metadata.name))).toEqual([["b"], ["a"]]);
    expect(() => informer.byIndex("other", "x")).toThrow('index "other"');
    informer.stop();
  });

  it("keeps what the transform leaves, without managed fields", async () => {
    const { client, start } = setUp({ transform: ({ metadata }) => ({ metadata }) });
    client.seed(configMaps, { metadata: { ...KEY, managedFields: [{}] }, data: { large: "x" } });
    const informer = start();
    await informer.synced();
    expect(informer.get(KEY)?.data).toBeUndefined();
    expect(informer.get(KEY)?.metadata.managedFields).toBeUndefined();
    informer.stop();
  });

  it("goes on when a handler throws, and says so", async () => {
    const { client, logger, start } = setUp();
    const informer = start();
    await informer.synced();
    informer.onChange(() => {
      throw new Error("defect");
    });
    client.seed(configMaps, configMap("a"));
    client.seed(configMaps, configMap("b"));
    await settle();
    expect(informer.list()).toHaveLength(2);
    expect(logger.records.filter(({ level }) => level === "error")).toHaveLength(2);
    informer.stop();
  });

  it("rejects who still waits when it is stopped before its first list", async () => {
    const { client, start } = setUp();
    client.failNext({ verb: "list" }, "KUBE_UNAVAILABLE", 100);
    const informer = start();
    const waiting = expect(informer.synced()).rejects.toMatchObject({ code: "INVARIANT" });
    informer.stop();
    await waiting;
  });
});
