import { nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { type ConfigMap, configMaps, secrets } from "./core.ts";
import { shareInformers, startInformer } from "./shared-informers.ts";
import { FakeKubeClient } from "./testing/index.ts";

function setUp() {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const base = { client, clock, random: seededRandom(1), logger: nullLogger };
  const counted = (verb: "list" | "watch"): number => client.calls.filter((call) => call.verb === verb).length;
  return { client, base, counted, end: shareInformers(client) };
}

const configMap = (name: string, labels: Record<string, string> = {}): ConfigMap => ({ metadata: { namespace: "ns", name, labels } });
const names = (objects: readonly ConfigMap[]) => objects.map(({ metadata }) => metadata.name);

describe("informers that share", () => {
  it("list and watch a kind once, also those that select by labels within the namespace", async () => {
    const { client, base, counted, end } = setUp();
    client.seed(configMaps, configMap("a", { tier: "db" }));
    client.seed(configMaps, configMap("b"));
    const all = startInformer(configMaps, { ...base, namespace: "ns" });
    await all.synced();
    const some = startInformer(configMaps, { ...base, namespace: "ns", labelSelector: "tier=db" });
    await some.synced();
    await settle();
    expect([names(all.list()), names(some.list()), some.get({ namespace: "ns", name: "b" })]).toEqual([["a", "b"], ["a"], undefined]);
    expect([counted("list"), counted("watch")]).toEqual([1, 1]);
    end();
  });

  it("are told of an object that comes to fit as new, and of one that ceases to as gone", async () => {
    const { client, base, end } = setUp();
    const some = startInformer(configMaps, { ...base, namespace: "ns", labelSelector: "tier" });
    await some.synced();
    const seen: string[] = [];
    some.onChange((before, after) => seen.push(`${before?.metadata.name ?? "-"}>${after?.metadata.name ?? "-"}`));
    client.seed(configMaps, configMap("a"));
    for (const labels of [{ tier: "db" }, { tier: "web" }, {}, { tier: "db" }]) {
      client.mutate(configMaps, { namespace: "ns", name: "a" }, ({ metadata }) => {
        metadata.labels = labels;
      });
    }
    client.discard(configMaps, { namespace: "ns", name: "a" });
    await settle();
    expect(seen).toEqual(["->a", "a>a", "a>-", "->a", "a>-"]);
    end();
  });

  it("tell a late comer of what is there, and one that has stopped of nothing more", async () => {
    const { client, base, counted, end } = setUp();
    client.seed(configMaps, configMap("a"));
    const first = startInformer(configMaps, { ...base, namespace: "ns" });
    await first.synced();
    const seen: unknown[] = [];
    const late = startInformer(configMaps, { ...base, namespace: "ns" });
    late.onChange((_before, after) => seen.push(after?.metadata.name));
    late.stop();
    client.seed(configMaps, configMap("b"));
    await settle();
    expect([seen, names(first.list())]).toEqual([["a"], ["a", "b"]]);
    await expect(late.synced()).rejects.toMatchObject({ code: "INVARIANT" });
    first.stop();
    // The cache outlives who asked for it first.
    expect(names(startInformer(configMaps, { ...base, namespace: "ns" }).list())).toEqual(["a", "b"]);
    expect(counted("list")).toBe(1);
    end();
  });

  it("keep apart kinds, namespaces, parts of the whole cluster, and what is somebody's own", async () => {
    const { base, counted, end } = setUp();
    const started = [
      startInformer(configMaps, { ...base, namespace: "ns" }),
      startInformer(configMaps, { ...base, namespace: "other" }),
      startInformer(secrets, { ...base, namespace: "ns" }),
      startInformer(configMaps, { ...base, labelSelector: "tier" }),
      startInformer(configMaps, { ...base, namespace: "ns", fieldSelector: "metadata.name=a" }),
      startInformer(configMaps, { ...base, namespace: "ns", transform: (object) => object }),
    ];
    for (const informer of started) await informer.synced();
    expect(counted("list")).toBe(6);
    for (const informer of started) informer.stop();
    end();
  });

  it("have caches of their own again when the sharing has ended", async () => {
    const { base, counted, end } = setUp();
    await startInformer(configMaps, { ...base, namespace: "ns" }).synced();
    end();
    const own = startInformer(configMaps, { ...base, namespace: "ns" });
    await own.synced();
    expect(counted("list")).toBe(2);
    own.stop();
  });
});
