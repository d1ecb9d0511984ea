import { nullLogger } from "@drayage/base";
import { memoryLogger } from "@drayage/base/testing";
import { type ConfigMap, configMaps, fixedDiscovery, namespaces, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { backupResourceFilter } from "../resource-selection/resource-filter.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { servedResources } from "../testing/recorded-cluster.ts";
import { collectItems, loadNamespaces, namespaceFilterOf } from "./collect-items.ts";

type Spec = Parameters<typeof namespaceFilterOf>[0];

function cluster() {
  const client = new FakeKubeClient();
  for (const name of ["shop", "shop-dev", "kube-system"])
    client.seed(namespaces, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: { team: name.split("-")[0] ?? "" } },
      status: { phase: "Active" },
    });
  client.seed(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "leaving" }, status: { phase: "Terminating" } });
  for (const [namespace, name, tier] of [
    ["shop", "a", "gold"],
    ["shop", "b", "tin"],
    ["shop-dev", "c", "gold"],
    ["kube-system", "d", "tin"],
  ] as const) {
    client.seed<ConfigMap>(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace, name, labels: { tier } } });
  }
  client.seed(pods, { apiVersion: "v1", kind: "Pod", metadata: { namespace: "shop", name: "p" }, spec: { containers: [] } });
  return client;
}

async function collect(spec: Spec, log = nullLogger, discovery = fixedDiscovery(servedResources)) {
  const client = cluster();
  const signal = new AbortController().signal;
  const clusterNamespaces = await loadNamespaces(client, signal);
  const filter = namespaceFilterOf(
    spec,
    clusterNamespaces.map(({ metadata }) => metadata.name ?? ""),
  );
  const items = await collectItems({
    client,
    discovery,
    spec,
    clusterNamespaces,
    selection: {
      namespaces: filter,
      resources: await backupResourceFilter(spec, filter, discovery),
      labels: new LabelFilter(spec.labelSelector, spec.orLabelSelectors),
    },
    spool: await createMemorySpool(),
    log,
    signal,
  });
  return items.map(({ id }) => `${id.groupResource}/${id.namespace === undefined ? "" : `${id.namespace}/`}${id.name}`);
}

describe("collectItems()", () => {
  it("takes a namespace and what is in it, pods first", async () => {
    expect(await collect({ includedNamespaces: ["shop"] })).toEqual(["pods/shop/p", "configmaps/shop/a", "configmaps/shop/b", "namespaces/shop"]);
  });

  it("takes of each namespace what the list of its scope names", async () => {
    const wanted = ["configmaps/shop/a", "configmaps/shop/b"];
    expect(await collect({ includedNamespaces: ["shop"], includedNamespaceScopedResources: ["configmaps"] })).toEqual(expect.arrayContaining(wanted));
    expect(await collect({ includedNamespaces: ["shop"], includedNamespaceScopedResources: ["configmaps"] })).not.toContain("pods/shop/p");
  });

  it("resolves globs of namespaces against those that exist", async () => {
    expect(await collect({ includedNamespaces: ["shop*"], excludedNamespaces: ["*-dev"], includedResources: ["configmaps"] })).toEqual([
      "configmaps/shop/a",
      "configmaps/shop/b",
    ]);
    expect(await collect({ includedNamespaces: ["none-*"] })).toEqual([]);
  });

  it("takes everything of every namespace but the excluded ones, and none that is going away", async () => {
    const all = await collect({ includedNamespaces: ["*"], excludedNamespaces: ["kube-system"], includedResources: ["configmaps", "namespaces"] });
    expect(all).toEqual(["configmaps/shop-dev/c", "configmaps/shop/a", "configmaps/shop/b", "namespaces/shop", "namespaces/shop-dev"]);
  });

  it("takes what a selector fits, with the namespaces it lies in", async () => {
    expect(await collect({ includedNamespaces: ["*"], labelSelector: { matchLabels: { tier: "gold" } } })).toEqual([
      "configmaps/shop-dev/c",
      "configmaps/shop/a",
      "namespaces/shop",
      "namespaces/shop-dev",
    ]);
  });

  it("takes what any of several selectors fits, each item once", async () => {
    const either = await collect({
      includedNamespaces: ["shop"],
      orLabelSelectors: [{ matchLabels: { tier: "gold" } }, { matchExpressions: [{ key: "tier", operator: "Exists" }] }],
    });
    expect(either).toEqual(["configmaps/shop/a", "configmaps/shop/b", "namespaces/shop"]);
  });

  it("puts items into the order that the spec names", async () => {
    const log = memoryLogger();
    expect(await collect({ includedNamespaces: ["shop"], orderedResources: { configmaps: "shop/b, shop/zzz" } }, log)).toEqual([
      "pods/shop/p",
      "configmaps/shop/b",
      "configmaps/shop/a",
      "namespaces/shop",
    ]);
    expect(log.records.find(({ level }) => level === "warn")?.message).toMatch(/Cannot find "shop\/zzz"/);
  });

  it("records a named namespace that does not exist as an error", async () => {
    const log = memoryLogger();
    await collect({ includedNamespaces: ["shop", "nowhere"] }, log);
    expect(log.records.filter(({ level }) => level === "error").map(({ message }) => message)).toEqual([
      'Cannot back up namespace "nowhere" of spec.includedNamespaces: it does not exist',
    ]);
  });

  it("says which API does not answer, since nothing of it is in the backup", async () => {
    const log = memoryLogger();
    await collect({}, log, { ...fixedDiscovery(servedResources), unavailable: async () => ["metrics.k8s.io/v1beta1"] });
    expect(log.records.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
      'API group "metrics.k8s.io/v1beta1" does not answer: what only it serves is not in the backup',
    ]);
  });
});

describe("cluster-scoped resources", () => {
  const namesOf = async (spec: Spec) => {
    const discovery = fixedDiscovery(servedResources);
    const filter = await backupResourceFilter(spec, namespaceFilterOf(spec, ["shop"]), discovery);
    return servedResources.filter((resource) => !resource.namespaced && filter.has(resource)).map(({ plural }) => plural);
  };

  it("come along with the whole cluster, but not with some namespaces", async () => {
    expect(await namesOf({ includedNamespaces: ["*"] })).toContain("clusterroles");
    expect(await namesOf({ includedNamespaces: ["shop"] })).toEqual(["namespaces"]);
  });

  it("come along when they are asked for, in either generation of fields", async () => {
    expect(await namesOf({ includedNamespaces: ["shop"], includeClusterResources: true })).toContain("clusterroles");
    expect(await namesOf({ includedNamespaces: ["shop"], includedClusterScopedResources: ["clusterroles"] })).toEqual(["namespaces", "clusterroles"]);
  });

  it("stay out when they are asked to", async () => {
    expect(await namesOf({ includedNamespaces: ["*"], includeClusterResources: false })).toEqual([]);
    expect(await namesOf({ includedNamespaces: ["*"], excludedClusterScopedResources: ["*"] })).toEqual([]);
  });

  it("come along with the whole cluster also after the server has put its own excludes into the spec", async () => {
    const spec = {
      includedNamespaces: ["*"],
      excludedClusterScopedResources: ["volumesnapshotcontents.snapshot.storage.k8s.io"],
      excludedNamespaceScopedResources: ["volumesnapshots.snapshot.storage.k8s.io"],
    };
    expect(await namesOf(spec)).toContain("clusterroles");
    expect(await namesOf(spec)).not.toContain("volumesnapshotcontents");
  });
});
