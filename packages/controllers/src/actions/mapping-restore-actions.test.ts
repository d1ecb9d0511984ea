import { nullLogger } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { configMaps, type GenericObject, nodes, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { admissionRestoreActions, apiServiceRestoreAction, definitionRestoreAction } from "./definition-restore-actions.ts";
import { createImageActions, createNodeSelectionAction, createStorageClassActions } from "./mapping-restore-actions.ts";
import type { RestoreAction } from "./restore-action.ts";

function world(action: string, ...maps: Record<string, string>[]) {
  const client = new FakeKubeClient({ clock: new VirtualClock() });
  for (const [index, data] of maps.entries())
    client.seed(configMaps, {
      metadata: { namespace: "velero", name: `config-${index}`, labels: { "velero.io/plugin-config": "", [action]: "RestoreItemAction" } },
      data,
    });
  client.seed(storageClasses, { metadata: { name: "new" }, provisioner: "x" });
  client.seed(nodes, { metadata: { name: "node-b" } });
  return { client, namespace: "velero" };
}

const run = (actions: RestoreAction | readonly RestoreAction[], groupResource: string, item: GenericObject) => {
  const action = [actions].flat().find((candidate) => candidate.groupResource === groupResource);
  if (action === undefined) throw new Error(`no action for ${groupResource}`);
  return action.execute(item, {
    restore: { metadata: { name: "r" }, spec: {} },
    backup: { metadata: { name: "b" }, spec: {} },
    itemFromBackup: item,
    targetNamespace: "shop",
    log: nullLogger,
    signal: new AbortController().signal,
  });
};

const claim = (storageClassName: string, annotations: Record<string, string> = {}): GenericObject => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { namespace: "shop", name: "data", annotations },
  spec: { storageClassName },
});

describe("velero.io/change-storage-class", () => {
  const action = "velero.io/change-storage-class";

  it("maps the class of claims, of volumes and of the claims that a StatefulSet makes", async () => {
    const actions = createStorageClassActions(world(action, { old: "new" }));
    expect((await run(actions, "persistentvolumeclaims", claim("old"))).item).toMatchObject({ spec: { storageClassName: "new" } });
    expect((await run(actions, "persistentvolumes", claim("old"))).item).toMatchObject({ spec: { storageClassName: "new" } });
    const set = { metadata: { name: "db" }, spec: { volumeClaimTemplates: [{ spec: { storageClassName: "old" } }, { spec: { storageClassName: "other" } }] } };
    expect((await run(actions, "statefulsets.apps", set)).item).toMatchObject({
      spec: { volumeClaimTemplates: [{ spec: { storageClassName: "new" } }, { spec: { storageClassName: "other" } }] },
    });
  });

  it("leaves alone what is not mapped, and everything where there is no ConfigMap", async () => {
    expect((await run(createStorageClassActions(world(action, { old: "new" })), "persistentvolumeclaims", claim("same"))).item).toEqual(claim("same"));
    expect((await run(createStorageClassActions(world(action)), "persistentvolumeclaims", claim("old"))).item).toEqual(claim("old"));
  });

  it("fails for a class that is not there, and for two ConfigMaps", async () => {
    await expect(run(createStorageClassActions(world(action, { old: "gone" })), "persistentvolumeclaims", claim("old"))).rejects.toThrow(
      '"old" is mapped to "gone", which is not there',
    );
    await expect(run(createStorageClassActions(world(action, {}, {})), "persistentvolumeclaims", claim("old"))).rejects.toThrow(
      "2 ConfigMaps are labelled for it (config-0, config-1)",
    );
  });
});

describe("velero.io/change-pvc-node-selector", () => {
  const selected = "volume.kubernetes.io/selected-node";
  const mapping = { "node-a": "node-b", "node-c": "node-gone" };
  it.each([
    ["to the node it is mapped to", "node-a", { [selected]: "node-b" }],
    ["to no node when there is no such node", "node-c", {}],
    ["to no node when it is not mapped", "node-x", {}],
  ])("turns the selection %s", async (_what, from, annotations) => {
    const action = createNodeSelectionAction(world("velero.io/change-pvc-node-selector", mapping));
    const { item } = await action.execute(claim("x"), {
      restore: { metadata: { name: "r" }, spec: {} },
      backup: { metadata: { name: "b" }, spec: {} },
      itemFromBackup: claim("x", { [selected]: from }),
      targetNamespace: "shop",
      log: nullLogger,
      signal: new AbortController().signal,
    });
    expect(item.metadata.annotations).toEqual(annotations);
  });
});

describe("velero.io/change-image-name", () => {
  const containers = [{ name: "a", image: "1.1.1.1:5000/abc:test" }];
  const rules = { case1: "1.1.1.1:5000 , 2.2.2.2:3000", case2: "abc,never" };
  it.each([
    ["pods", { spec: { containers, initContainers: [{ name: "i", image: "1.1.1.1:5000/init" }] } }],
    ["deployments.apps", { spec: { template: { spec: { containers } } } }],
    ["cronjobs.batch", { spec: { jobTemplate: { spec: { template: { spec: { containers } } } } } }],
  ])("replaces the part of each image that the first rule names, in %s", async (groupResource, object) => {
    const { item } = await run(createImageActions(world("velero.io/change-image-name", rules)), groupResource, { metadata: { name: "x" }, ...object });
    expect(JSON.stringify(item)).toBe(JSON.stringify({ metadata: { name: "x" }, ...object }).replaceAll("1.1.1.1:5000", "2.2.2.2:3000"));
  });

  it("says which entry is no rule", async () => {
    const actions = createImageActions(world("velero.io/change-image-name", { odd: "one" }));
    await expect(run(actions, "pods", { metadata: { name: "x" }, spec: { containers } })).rejects.toThrow(
      'entry "odd" of the ConfigMap is "one", where "old,new" is wanted',
    );
  });
});

describe("objects that extend the API", () => {
  it("a definition that keeps unknown fields says so in its schemas", async () => {
    const definition = (preserveUnknownFields: boolean, schema: object) => ({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "x" },
      spec: { preserveUnknownFields, versions: [{ schema: { openAPIV3Schema: schema } }] },
    });
    const { item } = await run(definitionRestoreAction, definitionRestoreAction.groupResource, definition(true, { type: "object" }));
    expect(item).toEqual(definition(false, { type: "object", "x-kubernetes-preserve-unknown-fields": true }));
  });

  it("an APIService that the aggregator makes is left to it", async () => {
    const service = (labels: Record<string, string>) => ({ metadata: { name: "v1.apps", labels } });
    const { groupResource } = apiServiceRestoreAction;
    expect((await run(apiServiceRestoreAction, groupResource, service({ "kube-aggregator.kubernetes.io/automanaged": "onstart" }))).skip).toBe(true);
    expect((await run(apiServiceRestoreAction, groupResource, service({}))).skip).toBe(false);
  });

  it.each(["mutatingwebhookconfigurations", "validatingwebhookconfigurations"])("%s lose side effects that v1 does not have", async (plural) => {
    const configuration = (...effects: string[]) => ({
      apiVersion: "admissionregistration.k8s.io/v1",
      metadata: { name: "x" },
      webhooks: effects.map((sideEffects) => ({ name: "w", sideEffects })),
    });
    const { item } = await run(admissionRestoreActions, `${plural}.admissionregistration.k8s.io`, configuration("Some", "NoneOnDryRun", "Unknown"));
    expect(item).toEqual(configuration("None", "NoneOnDryRun", "None"));
  });
});
