import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { elfFacts } from "./elf.ts";
import { digestOf, type LayerEntry, makeLayer, withParents } from "./layer.ts";
import { imageLayout, qualified } from "./oci-layout.ts";

const entries: LayerEntry[] = [
  { path: "/a/b/file", type: "file", mode: 0o640, content: Buffer.from("text") },
  { path: "/link", type: "symlink", mode: 0o777, target: "/a/b/file" },
  { path: "/tmp", type: "directory", mode: 0o1777 },
];

describe("makeLayer", () => {
  it("gives the same bytes for the same entries, in whatever order they come", async () => {
    const [one, two] = [await makeLayer(entries, 6), await makeLayer(entries.toReversed(), 6)];
    expect(digestOf(one.blob)).toBe(digestOf(two.blob));
    expect(one.mediaType).toBe("application/vnd.oci.image.layer.v1.tar+gzip");
    expect(digestOf(gunzipSync(one.blob))).toBe(one.diffId);
  });

  it("is plain without compression", async () => {
    const layer = await makeLayer(entries, 0);
    expect(layer).toMatchObject({ mediaType: "application/vnd.oci.image.layer.v1.tar", diffId: digestOf(layer.blob) });
  });

  it("puts folders before what is in them", () => {
    expect(withParents(entries).map(({ path }) => path)).toEqual(["/a", "/a/b", "/a/b/file", "/link", "/tmp"]);
  });

  it("refuses a path that comes twice", () => {
    expect(() => withParents([...entries, { path: "/tmp", type: "directory", mode: 0o755 }])).toThrow('"/tmp" is in it twice');
  });
});

describe("imageLayout", () => {
  it("names each platform in one index, and the first for Docker", async () => {
    const layer = await makeLayer(entries, 6);
    const config = { entrypoint: ["/dray"], user: "1:1", env: [], labels: {} };
    const files = imageLayout("drayage/dray:1", config, [
      { architecture: "amd64", layers: [layer] },
      { architecture: "arm64", layers: [layer] },
    ]);
    const read = <T>(path: string): T => JSON.parse(Buffer.from(files.find((file) => file.path === path)?.bytes ?? []).toString()) as T;
    const [top] = read<{ manifests: { digest: string }[] }>("index.json").manifests;
    const index = read<{ manifests: { platform: object }[] }>(`blobs/sha256/${top?.digest.slice(7)}`);
    expect(index.manifests.map(({ platform }) => platform)).toEqual([
      { architecture: "amd64", os: "linux" },
      { architecture: "arm64", os: "linux" },
    ]);
    expect(read<object[]>("manifest.json")).toHaveLength(1);
    // The layer that both have is one blob.
    expect(files.filter(({ path }) => path.startsWith("blobs/"))).toHaveLength(1 + 2 + 2 + 1);
  });

  it.each([
    ["dray", "docker.io/library/dray"],
    ["drayage/dray:1", "docker.io/drayage/dray:1"],
    ["localhost/dray:1", "localhost/dray:1"],
    ["registry.example:5000/dray", "registry.example:5000/dray"],
  ])("completes %s to %s", (name, whole) => expect(qualified(name)).toBe(whole));
});

describe("elfFacts", () => {
  it("finds the libraries and the loader of this program", () => {
    const facts = elfFacts(readFileSync(process.execPath));
    expect(facts?.machine).toBe(process.arch === "arm64" ? "arm64" : "amd64");
    expect(facts?.interpreter).toMatch(/\/ld-linux/);
    expect(facts?.needed).toEqual(expect.arrayContaining(["libc.so.6", "libstdc++.so.6"]));
  });

  it("knows what is none, and refuses one that is cut off", () => {
    expect(elfFacts(Buffer.from("#!/bin/sh\n"))).toBeUndefined();
    expect(() => elfFacts(readFileSync(process.execPath).subarray(0, 100))).toThrow(RangeError);
  });
});
