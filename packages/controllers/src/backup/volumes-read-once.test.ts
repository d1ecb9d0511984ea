import { persistentVolumeClaims, persistentVolumes, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { expect, it } from "vitest";
import { readingVolumesOnce } from "./volumes-read-once.ts";

it("a volume is asked for once and stays as it was then, whatever is done to what was answered; everything else is asked for each time", async () => {
  const api = new FakeKubeClient();
  api.seed(persistentVolumes, { metadata: { name: "v", labels: { a: "1" } }, spec: {} });
  api.seed(persistentVolumeClaims, { metadata: { namespace: "app", name: "c", labels: { a: "1" } }, spec: {} });
  const client = readingVolumesOnce(api);
  expect(await client.find(persistentVolumes, { name: "absent" })).toBeUndefined();
  const first = await client.get(persistentVolumes, { name: "v" });
  first.spec.storageClassName = "changed";
  for (const [type, key] of [
    [persistentVolumes, { name: "v" }],
    [persistentVolumeClaims, { namespace: "app", name: "c" }],
  ] as const)
    await api.patch(type as typeof persistentVolumes, key, "merge", { metadata: { labels: { a: "2" } } });
  const again = await client.find(persistentVolumes, { name: "v" });
  expect([again?.metadata.labels, again?.spec]).toEqual([{ a: "1" }, {}]);
  expect((await client.get(persistentVolumeClaims, { namespace: "app", name: "c" })).metadata.labels).toEqual({ a: "2" });
  api.seed(persistentVolumes, { metadata: { name: "absent" }, spec: {} });
  expect(await client.find(persistentVolumes, { name: "absent" })).toBeDefined();
});

it("a class that several ask for at once is asked for once, and again when that failed", async () => {
  const api = new FakeKubeClient();
  api.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com" });
  const client = readingVolumesOnce(api);
  const ask = () => client.find(storageClasses, { name: "fast" });
  api.failNext({ verb: "get" }, "KUBE_UNAVAILABLE");
  const failed = await Promise.allSettled([ask(), ask()]);
  expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  const found = await Promise.all([ask(), ask(), client.get(storageClasses, { name: "fast" })]);
  expect(found.map((each) => each?.provisioner)).toEqual(Array(3).fill("csi.example.com"));
  expect(api.calls.filter(({ resource }) => resource.startsWith("storageclasses"))).toHaveLength(2);
});
