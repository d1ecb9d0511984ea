/** The ordered mode of a restore in a whole cluster: the data comes first, also into volumes that would wait for a pod to be placed, then the workload, then its hooks. */
import { type Restore, restores } from "@drayage/api";
import type { RestorePlan } from "@drayage/controllers";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { namespaces, persistentVolumeClaims, pods } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, inApplication } from "./sample-application.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const fetchesData = ({ method, key }: RequestFacts): boolean => method === "GET" && key.startsWith("kopia/shop/p");

it("a workload is created when its volume has its data, and its hook finds it there; the plan had said so", async () => {
  const { client } = harness;
  await deployApplication(harness, "shop", { data: { storageClass: "drayage-fs-wait" } });
  await inApplication(harness, "shop", "echo precious > /volumes/data/file");
  expect((await harness.backUp("first", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
  await harness.deleteNamespace("shop");

  const plan = JSON.parse(await harness.dray("restore", "plan", "--from-backup", "first", "--data-first", "-o", "json")) as RestorePlan;
  expect(plan).toMatchObject({ backup: "first", faults: [], namespaces: ["shop"], missing: { kinds: [], storageClasses: [] }, errors: {} });
  expect(plan.volumes).toMatchObject([{ namespace: "shop", claim: "data", storageClass: "drayage-fs-wait", data: "moved" }]);
  expect(plan.fetch.bytes).toBeGreaterThan(8);
  expect(await client.find(namespaces, { name: "shop" })).toBeUndefined();

  const hold = harness.hold(fetchesData);
  const restore: Restore = {
    apiVersion: "velero.io/v1",
    kind: "Restore",
    metadata: { namespace: VELERO, name: "back", annotations: { "drayage.io/data-first": "true" } },
    spec: {
      backupName: "first",
      hooks: { resources: [{ name: "use", postHooks: [{ exec: { command: ["sh", "-c", "cp /volumes/data/file /volumes/data/used"], onError: "Fail" } }] }] },
    },
  };
  await client.create<Restore>(restores, restore);
  await hold.reached;
  expect((await client.list(persistentVolumeClaims, { namespace: "shop" })).items).toHaveLength(1);
  expect((await client.list(pods, { namespace: "shop" })).items).toEqual([]);
  hold.release();
  expect((await harness.endOfRestore("back")).status).toMatchObject({ phase: "Completed", hookStatus: { hooksAttempted: 1 } });
  expect(await inApplication(harness, "shop", "cat /volumes/data/used")).toBe("precious\n");
  const done = await harness.archive((store) => store.getRestoreResourceList("back"));
  const restored = Object.entries(done).flatMap(([kind, names]) => names.map((name) => `${kind} ${name}`));
  expect(plan.items.map(({ kind, name, outcome }) => `${kind} ${name}(${outcome})`).sort()).toEqual(restored.sort());
  await harness.expectNothingLeft();
});
