/** Items of one kind come back beside each other; what each of them meets is its own. */
import { type Restore, restores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type ConfigMap, configMaps, type GenericObject } from "@drayage/kube";
import { afterEach, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, NAMESPACE, newRestore, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { startRestoreController } from "./restore-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

const MAPS = Array.from({ length: 12 }, (_, n) => ({ name: `map-${n}`, data: { n: `${n}` } }));

async function restored(cluster: ReturnType<typeof emptyCluster>): Promise<readonly string[]> {
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  const writer = await store.newArchiveWriter();
  for (const { name, data } of MAPS) {
    const object: GenericObject = { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "shop", name }, data };
    await writer.add({ groupResource: "configmaps", namespace: "shop", name, version: "v1", preferred: true }, object);
  }
  await store.putBackup({ ...(store.backups.get("second") ?? { backup: { metadata: { name: "second" }, spec: {} } }), archive: await writer.finish() });
  await writer.dispose();
  running.push(
    startRestoreController({ ...cluster, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" }),
  );
  await cluster.client.create<Restore>(restores, newRestore("back", {}));
  await restoreIn(cluster, "back", "Finalizing", "FinalizingPartiallyFailed", "Completed", "PartiallyFailed");
  return store.restores.get("back")?.resourceList?.["v1/ConfigMap"] ?? [];
}

it("creates several objects of a kind at once, in a namespace that is made once", async () => {
  const cluster = emptyCluster();
  const both = Promise.withResolvers<void>();
  const met: string[] = [];
  cluster.client.intercept = async ({ verb, resource, namespace, name = "" }) => {
    if (verb !== "create" || resource !== "configmaps" || namespace !== "shop") return;
    met.push(name);
    if (met.length === 2) both.resolve();
    // The first one waits for the second.
    await both.promise;
  };
  expect(await restored(cluster)).toEqual(MAPS.map(({ name }) => `shop/${name}(created)`).sort());
  expect(cluster.client.calls.filter(({ verb, resource, name }) => verb === "create" && resource === "namespaces" && name === "shop")).toHaveLength(1);
});

it("lays what was said of one object to that one alone", async () => {
  const cluster = emptyCluster();
  for (const [index, { name, data }] of MAPS.entries()) {
    const there = index % 2 === 0 ? data : { n: "another" };
    cluster.client.seed<ConfigMap>(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "shop", name }, data: there });
  }
  expect(await restored(cluster)).toEqual(MAPS.map(({ name }, index) => `shop/${name}(${index % 2 === 0 ? "skipped" : "failed"})`).sort());
});
