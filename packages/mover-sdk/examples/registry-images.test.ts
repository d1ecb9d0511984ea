import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger } from "@drayage/base";
import { type BackupContext, MemoryMoverStore } from "@drayage/mover-sdk";
import { conformance, type MoverSample } from "@drayage/mover-sdk/conformance";
import { afterAll, beforeEach, expect, it } from "vitest";
import mover from "./registry-images.ts";
import { type SmallRegistry, startSmallRegistry } from "./testing/small-registry.ts";

const folder = mkdtempSync(join(tmpdir(), "registry-images-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const streamOf = (name: string, tags: readonly string[]) => ({
  apiVersion: "image.openshift.io/v1",
  kind: "ImageStream",
  namespace: "shop",
  name,
  object: { status: { tags: tags.map((tag) => ({ tag })) } },
});

/** Two images that share a layer; a restore pushes into another repository. */
const sample: MoverSample = {
  async prepare() {
    const registry = await startSmallRegistry();
    const layer = Buffer.alloc(200_000, "layer");
    const digests = new Map(["v1", "v2"].map((tag) => [tag, registry.addImage("shop/web", tag, layer)]));
    return {
      source: streamOf("web", ["v1", "v2"]),
      destination: streamOf("copy", []),
      parameters: { insecure: true, registry: registry.host },
      differences: async () =>
        [...digests]
          .filter(([tag, digest]) => registry.digest("shop/copy", tag) !== digest)
          .map(([tag]) => `image "${tag}" is ${registry.digest("shop/copy", tag)}`),
      close: () => registry.close(),
    };
  },
};

it("the example of a mover of images passes the suite", async () => {
  const report = await conformance(mover, { folder, sample });
  expect(report.filter(({ ok }) => !ok)).toEqual([]);
});

let registry: SmallRegistry;
beforeEach(async () => {
  registry = await startSmallRegistry();
  return () => registry.close();
});

const contextOf = (store: MemoryMoverStore, format: string): BackupContext => ({
  id: "one",
  source: streamOf("web", ["v1"]),
  target: { kind: "BackupStorageLocation", name: "default", store },
  parameters: { format, insecure: true, registry: registry.host },
  workspace: folder,
  signal: new AbortController().signal,
  log: nullLogger,
  progress: () => undefined,
});

it("writes an OCI layout: the marker, the index, and each blob under its digest", async () => {
  const digest = registry.addImage("shop/web", "v1", Buffer.from("layer"));
  const store = new MemoryMoverStore();
  await mover.backup(contextOf(store, "any"));
  expect(store.keys.filter((key) => !key.includes("/blobs/"))).toEqual(["one/index.json", "one/oci-layout"]);
  expect(store.keys).toContain(`one/blobs/sha256/${digest.slice(7)}`);
  expect(store.keys).toHaveLength(5);
  const index = JSON.parse(Buffer.from(await store.get("one/index.json")).toString());
  expect(index.manifests).toMatchObject([{ digest, annotations: { "org.opencontainers.image.ref.name": "v1" } }]);
});

it("refuses an image that is not of the format that its parameter asks for, and names it", async () => {
  registry.addImage("shop/web", "v1", Buffer.from("layer"), "application/vnd.docker.distribution.manifest.v2+json");
  await expect(mover.backup(contextOf(new MemoryMoverStore(), "oci"))).rejects.toThrow(/image "v1": its manifest is "application\/vnd\.docker/);
  await expect(mover.backup(contextOf(new MemoryMoverStore(), "docker"))).resolves.toMatchObject({ snapshotId: "one" });
});
