import { VirtualClock } from "@drayage/base/testing";
import type { PersistentVolume } from "@drayage/kube";
import { expect, it } from "vitest";
import type { ObjectReader } from "../steps.ts";
import { MadeVolumes } from "./made-volumes.ts";
import { observeRequest } from "./observe.ts";
import { decideProvision } from "./provision.ts";

const volume = (resourceVersion: string): PersistentVolume => ({ metadata: { name: "pvc-1", resourceVersion }, spec: {} });

it("a volume that was made is there before the cache has it, and goes with the cache from then on", () => {
  const made = new MadeVolumes(new VirtualClock());
  expect(made.latest("pvc-1", undefined)).toBeUndefined();
  made.add(volume("1"));
  expect(made.latest("pvc-1", undefined)).toEqual(volume("1"));
  expect(made.latest("pvc-1", volume("2"))).toEqual(volume("2"));
  expect(made.latest("pvc-1", undefined)).toBeUndefined();
});

it("a volume that a cache never comes to see is looked for again after a while", async () => {
  const clock = new VirtualClock();
  const made = new MadeVolumes(clock);
  made.add(volume("1"));
  await clock.advance(10_000);
  expect(made.latest("pvc-1", undefined)).toBeUndefined();
});

it("a claim whose volume was made is not to be provisioned once more by a cache that has not seen the volume", async () => {
  const claim = {
    metadata: { namespace: "app", name: "files", uid: "1", annotations: { "volume.kubernetes.io/storage-provisioner": "driver" } },
    spec: { storageClassName: "fast" },
  };
  const storageClass = { metadata: { name: "fast" }, provisioner: "driver" };
  const behind: ObjectReader = {
    find: async (type) => (type.kind === "PersistentVolumeClaim" ? claim : type.kind === "StorageClass" ? storageClass : undefined) as never,
    list: async () => [],
  };
  const made = new MadeVolumes(new VirtualClock());
  const decide = async (): Promise<readonly string[]> => {
    const observed = await observeRequest(behind, { namespace: "app", name: "files" }, { driverName: "driver", made });
    return observed === undefined ? [] : decideProvision(observed).steps.map((step) => step.do);
  };
  expect(await decide()).toEqual(["event", "provision"]);
  made.add(volume("1"));
  expect(await decide()).toEqual([]);
});
