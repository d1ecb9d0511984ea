/** The controllers with the driver itself, over its socket: what is claimed, cut and restored are bytes. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { volumeSnapshots } from "@drayage/api";
import { persistentVolumeClaims } from "@drayage/kube";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DriverBench } from "../csi-driver/testing/driver-bench.ts";
import type { StorageDriver } from "./storage-driver.ts";
import { VolumeWorld } from "./testing/volume-world.ts";

let bench: DriverBench;
let world: VolumeWorld<StorageDriver>;
beforeEach(async () => {
  bench = new DriverBench();
  const { controller, driver } = await bench.start();
  world = new VolumeWorld({ ...controller, name: driver.name, topologyKey: driver.topologyKey });
  world.start();
});
afterEach(async () => {
  await world.stop();
  await bench.end();
});

const folderOf = (handle: string | undefined): string => join(bench.storage, "volumes", handle ?? "", "data");

it("a claim's files come back from a snapshot after claim, volume and storage are gone", async () => {
  await world.createClaim({ name: "files" });
  writeFileSync(join(folderOf((await world.bound("files")).spec.csi?.volumeHandle), "notes"), "kept");
  await world.createSnapshot("s", { source: { persistentVolumeClaimName: "files" } });
  await world.until("the snapshot is ready", () => world.isReady("s"));
  await world.asUser((api) => api.delete(persistentVolumeClaims, { namespace: "app", name: "files" }));
  await world.until("the volume is gone", () => world.claim("files") === undefined && readdirSync(join(bench.storage, "volumes")).length === 0);

  await world.createClaim({ name: "files", dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "s" } });
  expect(readFileSync(join(folderOf((await world.bound("files")).spec.csi?.volumeHandle), "notes"), "utf8")).toBe("kept");
  await world.asUser((api) => api.delete(volumeSnapshots, { namespace: "app", name: "s" }));
  await world.until("the snapshot is gone", () => world.snapshot("s") === undefined && readdirSync(join(bench.storage, "snapshots")).length === 0);
});

it("a driver's refusal is what the claim's event says", async () => {
  await world.createClaim({ name: "large", resources: { requests: { storage: "9Ei" } } });
  const refusal =
    /^Warning ProvisioningFailed: failed to provision volume with StorageClass "drayage-fs": rpc error: code = OutOfRange desc = Cannot create volume "pvc-.*": 9223372036854775807 bytes are wanted/;
  await world.until("the refusal is told", () => world.eventsOf("PersistentVolumeClaim", "large").some((event) => refusal.test(event)));
});
