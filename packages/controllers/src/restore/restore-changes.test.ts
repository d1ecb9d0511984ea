import { dataDownloads, type Restore, restores } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { configMaps, deployments, persistentVolumeClaims, storageClasses } from "@drayage/kube";
import { afterEach, describe, expect, it } from "vitest";
import type { RunningController } from "../backup/backup-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { emptyCluster, NAMESPACE, newRestore, recordedBackup, restoreIn } from "../testing/recorded-cluster.ts";
import { startRestoreController } from "./restore-controller.ts";

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

async function world() {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  const { client, clock, discovery } = cluster;
  const deps = { client, clock, discovery, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, helperImage: "drayage/dray:test" };
  running.push(startRestoreController(deps));
  const rules = (...lines: string[]) =>
    client.seed(configMaps, {
      metadata: { namespace: NAMESPACE, name: "rules" },
      data: { yaml: ["version: v1", "resourceModifierRules:", ...lines].join("\n") },
    });
  return { cluster, client, store, rules };
}

const modified = (spec: Restore["spec"] = {}): Restore => newRestore("back", { resourceModifier: { kind: "ConfigMap", name: "rules" }, ...spec });
const INVALID = ["FailedValidation"] as const;
const OVER = ["Finalizing", "FinalizingPartiallyFailed", "WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed"] as const;

describe("resource modifiers", () => {
  it("change what is created, by the namespace it comes from, before it is created in another", async () => {
    const { cluster, client, rules } = await world();
    rules("- conditions: {groupResource: deployments.apps, namespaces: [notes]}", '  patches: [{operation: replace, path: /spec/replicas, value: "5"}]');
    await client.create<Restore>(restores, modified({ namespaceMapping: { notes: "other" } }));
    expect((await restoreIn(cluster, "back", ...OVER)).status?.errors).toBeUndefined();
    expect(client.all(deployments).map(({ metadata, spec }) => [metadata.namespace, spec?.replicas])).toEqual([["other", 5]]);
  });

  it("that cannot be applied are an error of the restore, and the object comes back as it was", async () => {
    const { cluster, client, store, rules } = await world();
    rules("- conditions: {groupResource: deployments.apps}", "  patches: [{operation: remove, path: /spec/none}]");
    await client.create<Restore>(restores, modified());
    expect((await restoreIn(cluster, "back", ...OVER)).status).toMatchObject({ phase: "WaitingForPluginOperationsPartiallyFailed", errors: 1 });
    expect(client.all(deployments)).toHaveLength(1);
    expect(store.restores.get("back")?.results?.errors.namespaces?.["notes"]?.[0]).toContain('remove of "/spec/none" cannot be applied');
  });

  it("fail validation when there are none, when they are wrong, and when they are no ConfigMap", async () => {
    const { cluster, client, rules } = await world();
    await client.create<Restore>(restores, modified());
    expect((await restoreIn(cluster, "back", ...INVALID)).status?.validationErrors?.[0]).toContain('names ConfigMap "rules", which is not in the namespace');
    rules("- conditions: {groupResource: pods}");
    await client.create<Restore>(restores, { ...modified(), metadata: { namespace: NAMESPACE, name: "wrong" } });
    expect((await restoreIn(cluster, "wrong", ...INVALID)).status?.validationErrors?.[0]).toContain("resourceModifierRules[0] has no patches");
    await client.create<Restore>(restores, {
      ...modified({ resourceModifier: { kind: "Secret", name: "rules" } }),
      metadata: { namespace: NAMESPACE, name: "kind" },
    });
    expect((await restoreIn(cluster, "kind", ...INVALID)).status?.validationErrors?.[0]).toContain('spec.resourceModifier.kind is "Secret"');
  });
});

it("a claim of a class that is called otherwise here gets the new one, and its data goes there", async () => {
  const { cluster, client } = await world();
  client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "x" });
  const labels = { "velero.io/plugin-config": "", "velero.io/change-storage-class": "RestoreItemAction" };
  client.seed(configMaps, { metadata: { namespace: NAMESPACE, name: "classes", labels }, data: { csi: "fast" } });
  await client.create<Restore>(restores, newRestore("back"));
  await restoreIn(cluster, "back", ...OVER);
  expect(new Set(client.all(persistentVolumeClaims).map(({ spec }) => spec.storageClassName))).toEqual(new Set(["fast"]));
  expect(client.all(dataDownloads)).toHaveLength(2);
});
