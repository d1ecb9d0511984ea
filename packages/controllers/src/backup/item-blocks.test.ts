import { nullLogger } from "@drayage/base";
import {
  fixedDiscovery,
  type GenericObject,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { itemIdOf } from "../actions/item-id.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { servedResources } from "../testing/recorded-cluster.ts";
import type { CollectedItem } from "./collect-items.ts";
import { itemBlocks } from "./item-blocks.ts";
import { NamespacePods } from "./namespace-pods.ts";

const pod = (name: string, claims: readonly string[], phase: "Running" | "Pending" = "Running"): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "n", name },
  spec: { containers: [], volumes: claims.map((claimName) => ({ name: claimName, persistentVolumeClaim: { claimName } })) },
  status: { phase },
});
const claim = (name: string, volumeName?: string): PersistentVolumeClaim => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { namespace: "n", name },
  spec: volumeName === undefined ? {} : { volumeName },
  status: { phase: volumeName === undefined ? "Pending" : "Bound" },
});
const volume = (name: string): PersistentVolume => ({ apiVersion: "v1", kind: "PersistentVolume", metadata: { name }, spec: {} });

/** The blocks of a cluster in which only `collected` was selected, as lists of names. */
async function blocksOf(
  cluster: readonly (Pod | PersistentVolumeClaim | PersistentVolume)[],
  collected: readonly string[],
  options: { ordered?: boolean; refused?: readonly string[]; groupLabel?: string } = {},
) {
  const client = new FakeKubeClient();
  const spool = await createMemorySpool();
  const items: CollectedItem[] = [];
  for (const object of cluster) {
    if (object.kind === "Pod") client.seed(pods, object as Pod);
    else if (object.kind === "PersistentVolumeClaim") client.seed(persistentVolumeClaims, object as PersistentVolumeClaim);
    else client.seed(persistentVolumes, object as PersistentVolume);
  }
  for (const name of collected) {
    const object = cluster.find(({ metadata }) => metadata.name === name) as unknown as GenericObject;
    const resource = servedResources.find(({ kind }) => kind === object.kind);
    if (resource === undefined) throw new Error(name);
    items.push({ id: itemIdOf(resource, object), resource, spooled: await spool.add(object), ordered: options.ordered ?? false });
  }
  const blocks: string[][] = [];
  const itemBackup = { belongs: ({ metadata }: GenericObject) => !(options.refused ?? []).includes(metadata.name ?? "") };
  for await (const block of itemBlocks({
    client,
    discovery: fixedDiscovery(servedResources),
    items,
    spool,
    itemBackup,
    pods: new NamespacePods(client, new AbortController().signal),
    groupLabel: options.groupLabel ?? "",
    log: nullLogger,
    signal: new AbortController().signal,
  })) {
    blocks.push(block.map(({ id }) => id.name));
  }
  return blocks;
}

describe("item blocks", () => {
  it("hold the claims of a group, with the pods of each", async () => {
    const grouped = (name: string, group: string): PersistentVolumeClaim => {
      const one = claim(name, `pv-${name}`);
      return { ...one, metadata: { ...one.metadata, labels: { together: group } } };
    };
    const cluster = [pod("one", ["a"]), pod("two", ["b"]), pod("three", ["c"]), grouped("a", "x"), grouped("b", "x"), grouped("c", "y")];
    const volumes = ["a", "b", "c"].map((name) => volume(`pv-${name}`));
    expect(await blocksOf([...cluster, ...volumes], ["one", "two", "three"], { groupLabel: "together" })).toEqual([
      ["one", "a", "pv-a", "b", "pv-b", "two"],
      ["three", "c", "pv-c"],
    ]);
    expect(await blocksOf([...cluster, ...volumes], ["one", "two"])).toEqual([
      ["one", "a", "pv-a"],
      ["two", "b", "pv-b"],
    ]);
  });

  it("hold a pod, its claims and their volumes", async () => {
    const cluster = [pod("web", ["a", "b"]), claim("a", "pv-a"), claim("b", "pv-b"), volume("pv-a"), volume("pv-b")];
    expect(await blocksOf(cluster, ["web", "a", "b"])).toEqual([["web", "a", "pv-a", "b", "pv-b"]]);
  });

  it("hold every running pod that shares a volume, so that their hooks run around one snapshot", async () => {
    const cluster = [
      pod("one", ["shared"]),
      pod("two", ["shared", "own"]),
      pod("waiting", ["shared"], "Pending"),
      claim("shared", "pv-s"),
      claim("own", "pv-o"),
      volume("pv-s"),
      volume("pv-o"),
    ];
    expect(await blocksOf(cluster, ["one", "two", "waiting", "shared", "own"])).toEqual([["one", "shared", "pv-s", "two", "own", "pv-o"], ["waiting"]]);
  });

  it("keep unrelated items apart", async () => {
    expect(await blocksOf([pod("a", []), pod("b", [])], ["a", "b"])).toEqual([["a"], ["b"]]);
  });

  it("keep items of an order that the user gave together", async () => {
    expect(await blocksOf([pod("a", []), pod("b", [])], ["a", "b"], { ordered: true })).toEqual([["a", "b"]]);
  });

  it("fetch what was not selected but belongs, and pass over what does not belong or is gone", async () => {
    const cluster = [pod("web", ["a", "gone", "refused"]), claim("a", "pv-a"), claim("refused", "pv-r"), volume("pv-a"), volume("pv-r")];
    expect(await blocksOf(cluster, ["web"], { refused: ["refused"] })).toEqual([["web", "a", "pv-a"]]);
  });

  it("do not follow a claim that is not bound", async () => {
    expect(await blocksOf([pod("web", ["new"]), claim("new")], ["web"])).toEqual([["web", "new"]]);
  });
});
