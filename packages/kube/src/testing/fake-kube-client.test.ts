import { systemClock } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { kubeClientContract } from "../contract/index.ts";
import { configMaps, keyOf, pods, secrets } from "../index.ts";
import { FakeKubeClient } from "./fake-kube-client.ts";

kubeClientContract("the fake", async () => {
  const client = new FakeKubeClient({ clock: systemClock });
  return { client, namespace: "contract", close: () => client.close() };
});

const metadata = (name: string) => ({ namespace: "ns", name });

describe("FakeKubeClient", () => {
  it("expires watches that are older than a compaction", async () => {
    const client = new FakeKubeClient();
    const first = await client.create(configMaps, { metadata: metadata("a") });
    await client.create(configMaps, { metadata: metadata("b") });
    client.compact();
    const next = client.watch(configMaps, { resourceVersion: first.metadata.resourceVersion ?? "" }).next();
    await expect(next).rejects.toMatchObject({ code: "KUBE_GONE" });
  });

  it("collects what is owned only by what is gone, level by level", async () => {
    const client = new FakeKubeClient();
    const owner = await client.create(configMaps, { metadata: metadata("owner") });
    const reference = (uid: string | undefined) => [{ apiVersion: "v1", kind: "ConfigMap", name: "x", uid: uid ?? "" }];
    const child = await client.create(secrets, { metadata: { ...metadata("child"), ownerReferences: reference(owner.metadata.uid) } });
    await client.create(pods, { metadata: { ...metadata("grandchild"), ownerReferences: reference(child.metadata.uid) }, spec: { containers: [] } });
    expect(client.collectGarbage()).toBe(0);
    await client.delete(configMaps, keyOf(owner));
    expect(client.collectGarbage()).toBe(2);
    expect(client.all(pods)).toEqual([]);
  });

  it("fails the calls it was told to fail, and only those", async () => {
    const client = new FakeKubeClient();
    client.failNext({ verb: "create", resource: "secrets" }, "KUBE_UNAVAILABLE");
    await client.create(configMaps, { metadata: metadata("a") });
    await expect(client.create(secrets, { metadata: metadata("a") })).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
    await client.create(secrets, { metadata: metadata("a") });
  });

  it("refuses a strategic patch with lists rather than guess", async () => {
    const client = new FakeKubeClient();
    await client.create(pods, { metadata: metadata("a"), spec: { containers: [] } });
    const patching = client.patch(pods, metadata("a"), "strategic", { spec: { containers: [{ name: "x" }] } });
    await expect(patching).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
  });

  it("raises the generation with the spec, not with metadata", async () => {
    const client = new FakeKubeClient();
    const created = await client.create(configMaps, { metadata: metadata("a"), data: { a: "1" } });
    const labelled = await client.patch(configMaps, keyOf(created), "merge", { metadata: { labels: { a: "b" } } });
    const changed = await client.patch(configMaps, keyOf(created), "merge", { data: { a: "2" } });
    expect([created, labelled, changed].map((object) => object.metadata.generation)).toEqual([1, 1, 2]);
  });
});
