/** A plug-in made for Velero in the pod of the server: brought there by its image, found, listed, called, and taken away again. What plug-ins do is in test/compat/velero-plugins.test.ts. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { configMaps, deployments, namespaces } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";

const IMAGE = "example.com/notes:1";
const PLUGIN = /^example\.com\/notes\s+BackupItemAction$/m;
let harness: Harness;
let folder: string;

beforeAll(async () => {
  // The image holds a program in /plugins, which its entry point copies to where the server looks, as images of plug-ins do. The program lies in this checkout, which pods see.
  folder = mkdtempSync(join(tmpdir(), "dray-plugin-image-"));
  mkdirSync(join(folder, "plugins"));
  const program = join(folder, "plugins", "notes");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${resolve(import.meta.dirname, "..", "plugins", "notes.ts")}'\n`);
  chmodSync(program, 0o755);
  const image = {
    pattern: IMAGE,
    entrypoint: ["/bin/sh", "-c", "cp /plugins/notes /target/notes"],
    mounts: [{ source: join(folder, "plugins"), target: "/plugins", readOnly: true }],
  };
  harness = await Harness.start({ nodes: 1, imageMap: [image] });
});
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

const untilRolledOut = (count: number) =>
  harness.until(deployments, { namespace: VELERO, name: "drayage" }, ({ metadata, spec, status }) => {
    const { observedGeneration, updatedReplicas, availableReplicas, replicas } = (status ?? {}) as Record<string, number | undefined>;
    const isDone = observedGeneration === metadata.generation && updatedReplicas === 1 && availableReplicas === 1 && replicas === 1;
    return isDone && (spec.template.spec.initContainers ?? []).length === count;
  });

it("works in the server until it is removed", async () => {
  expect(await harness.dray("plugin", "get")).not.toMatch(PLUGIN);
  expect(await harness.dray("plugin", "add", IMAGE)).toContain("Plug-in notes added; the server starts anew with it.");
  await untilRolledOut(1);
  expect(await harness.dray("plugin", "get")).toMatch(PLUGIN);
  await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  await harness.client.create(configMaps, {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "shop", name: "orders", labels: { noted: "yes" } },
    data: {},
  });
  expect((await harness.backUp("noted", { includedNamespaces: ["shop"], snapshotVolumes: false })).status).toMatchObject({ phase: "Completed" });
  expect((await harness.restore("back", { backupName: "noted", namespaceMapping: { shop: "copy" } })).status).toMatchObject({ phase: "Completed" });
  expect((await harness.client.get(configMaps, { namespace: "copy", name: "orders" })).metadata.annotations).toMatchObject({ "example.com/notes": "was here" });
  expect(await harness.dray("plugin", "remove", "notes")).toContain("Plug-in notes removed; the server starts anew without it.");
  await untilRolledOut(0);
  expect(await harness.dray("plugin", "get")).not.toMatch(PLUGIN);
});
