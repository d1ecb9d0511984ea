import { hash } from "node:crypto";
import { toHex, utf8 } from "@drayage/base";
import type { MemoryObjectStore } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import { ID_BYTES } from "./format/json.ts";
import { isStaleLock } from "./format/lock-file.ts";
import { decodeTree, type ResticNode } from "./format/tree.ts";
import { openResticRepository } from "./open-repository.ts";
import type { ResticRepository } from "./repository.ts";
import { type GoldenName, golden, goldenStore, openGolden } from "./testing/golden.ts";
import { putSealed } from "./testing/seal.ts";

const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });

/** Every node of a tree by its path. */
async function nodesBelow(repository: ResticRepository, tree: Uint8Array, path = ""): Promise<Map<string, ResticNode>> {
  const nodes = new Map<string, ResticNode>();
  for (const node of decodeTree(await repository.readTree(tree), "tree")) {
    nodes.set(path + node.name, node);
    if (node.subtree !== undefined) for (const [below, found] of await nodesBelow(repository, node.subtree, `${path}${node.name}/`)) nodes.set(below, found);
  }
  return nodes;
}

async function fileDigest(repository: ResticRepository, contents: Uint8Array): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of repository.readFile(contents)) parts.push(part);
  return hash("sha256", Buffer.concat(parts), "hex");
}

/** The facts that restic stores, in the form of the golden ones. */
async function factsOf(repository: ResticRepository, tree: Uint8Array): Promise<Record<string, unknown>> {
  const facts: Record<string, unknown> = {};
  const firstNames = new Map<string, string>();
  for (const [path, node] of await nodesBelow(repository, tree)) {
    const link = `${node.deviceId}:${node.inode}`;
    if (node.links > 1 && node.type === "file" && !firstNames.has(link)) firstNames.set(link, path);
    const type = { file: "file", dir: "directory", symlink: "symlink" }[node.type as string] ?? "other";
    facts[path] = {
      type,
      mode: node.mode.toString(8),
      owner: `${node.uid}:${node.gid}`,
      mtimeNs: String(node.mtimeNs),
      size: node.size,
      content: type === "file" ? await fileDigest(repository, node.contents) : node.target,
      linkOf: type === "file" ? (firstNames.get(link) ?? path) : "",
      isSparse: false,
      xattrs: node.xattrs.map(({ name, value }) => `${name}=${Buffer.from(value).toString("base64")}`).join(" "),
    };
  }
  return facts;
}

async function packsOf(store: MemoryObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.listAll("data/")) keys.push(key);
  return keys;
}

async function change(store: MemoryObjectStore, key: string, edit: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  await store.put(key, edit(await store.get(key)));
}

const flip = (at: number) => (bytes: Uint8Array) => bytes.with(at, (bytes.at(at) ?? 0) ^ 1);

describe("repositories that restic wrote", () => {
  const names: readonly (readonly [GoldenName, version: 1 | 2])[] = [
    ["v1", 1],
    ["v2", 2],
    ["v2-off", 2],
    ["v2-max", 2],
    ["upgraded", 2],
    ["pruned", 2],
  ];
  it.each(names)("%s: every snapshot holds what was in the tree, to the last attribute", async (name, version) => {
    const repository = await openGolden(name);
    expect(repository.config.version).toBe(version);
    const { snapshots, unreadable } = await repository.listSnapshots();
    expect(unreadable).toEqual([]);
    const expected = golden(name).snapshots;
    expect(snapshots).toHaveLength(expected.length);
    for (const [index, snapshot] of snapshots.entries()) {
      const { ".": _root, ...entries } = expected[index] ?? {};
      expect(await factsOf(repository, snapshot.tree)).toEqual(entries);
      expect(snapshot).toMatchObject({ hostName: "volsync", programVersion: "restic 0.18.0", summary: { files: expect.any(Number) as number } });
    }
    await repository.close();
  });

  it("opens with each of its passwords, and with no other", async () => {
    const ids = new Set<string>();
    for (const password of golden("keys").passwords) {
      const repository = await openResticRepository(await goldenStore("keys"), { password });
      ids.add(repository.keyId);
      expect((await repository.listSnapshots()).snapshots).toHaveLength(1);
    }
    expect(ids.size).toBe(3);
    await expect(openResticRepository(await goldenStore("keys"), { password: "another" })).rejects.toMatchObject({
      code: "REPO_WRONG_PASSWORD",
      message: 'Cannot open restic repository "memory:": the password is that of none of its 3 keys',
    });
  });

  it("sees the lock that a killed client left", async () => {
    const repository = await openGolden("locked");
    const [lock, ...others] = await repository.listLocks();
    expect(others).toEqual([]);
    expect(lock).toMatchObject({ exclusive: false, userName: "root" });
    const heldMs = Number((lock?.timeNs ?? 0n) / 1_000_000n);
    expect(lock === undefined ? [] : [isStaleLock(lock, heldMs + 60_000), isStaleLock(lock, heldMs + 3_600_000)]).toEqual([false, true]);
    expect((await repository.listSnapshots()).snapshots).toHaveLength(1);
  });

  it("takes an empty one for what it is", async () => {
    const repository = await openGolden("empty");
    expect(await repository.listSnapshots()).toEqual({ snapshots: [], unreadable: [] });
    expect(await repository.listLocks()).toEqual([]);
    await expect(repository.findSnapshot("latest")).rejects.toMatchObject({ code: "REPO_MANIFEST_NOT_FOUND" });
  });

  it("finds a snapshot by the beginning of its id, or the newest", async () => {
    const repository = await openGolden("pruned");
    const { snapshots } = await repository.listSnapshots();
    const [first, second] = snapshots;
    expect((await repository.findSnapshot(first?.id.slice(0, 12) ?? "")).id).toBe(first?.id);
    expect((await repository.findSnapshot("latest")).id).toBe(second?.id);
    await expect(repository.findSnapshot("")).rejects.toMatchObject({ code: "REPO_MANIFEST_NOT_FOUND" });
    await expect(repository.findSnapshot("zz")).rejects.toMatchObject({ code: "REPO_MANIFEST_NOT_FOUND" });
  });

  it("reads the layout of the oldest buckets", async () => {
    const store = await goldenStore("v1");
    for (const [today, old] of [
      ["keys/", "key/"],
      ["snapshots/", "snapshot/"],
      ["locks/", "lock/"],
    ] as const) {
      for await (const { key } of store.listAll(today)) {
        await store.put(key.replace(today, old), await store.get(key));
        await store.delete(key);
      }
    }
    for (const key of await packsOf(store)) {
      await store.put(key.replace(/data\/..\//, "data/"), await store.get(key));
      await store.delete(key);
    }
    const repository = await openResticRepository(store, { password: "geheim" });
    expect(repository.layout.isOld).toBe(true);
    const snapshot = await repository.findSnapshot("latest");
    expect(Object.keys(await factsOf(repository, snapshot.tree))).toHaveLength(Object.keys(golden("v1").snapshots[0] ?? {}).length - 1);
  });
});

describe("damage", () => {
  it("says that a place holds no repository, and what is wrong with its configuration", async () => {
    const store = await goldenStore("v2");
    await change(store, "config", flip(20));
    await expect(openResticRepository(store, { password: "geheim" })).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: 'Cannot read "config" of memory:: it is damaged: its authentication does not match',
    });
    await store.delete("config");
    await expect(openResticRepository(store, { password: "geheim" })).rejects.toMatchObject({ code: "REPO_NOT_FOUND" });
  });

  it("tells a damaged key from a wrong password", async () => {
    const store = await goldenStore("v2");
    const [key = ""] = Object.keys(golden("v2").files).filter((file) => file.startsWith("keys/"));
    await change(store, key, flip(-5));
    await expect(openResticRepository(store, { password: "geheim" })).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: expect.stringMatching(/^Cannot read key "[0-9a-f]{64}" of memory:: its bytes are not those that its name says$/) as string,
    });
    await store.delete(key);
    await expect(openResticRepository(store, { password: "geheim" })).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: "Cannot read memory:: it has no key file",
    });
  });

  it("names the pack that is missing, once the index was read anew", async () => {
    const store = await goldenStore("v2-off");
    const repository = await openGolden("v2-off", store);
    const { tree } = await repository.findSnapshot("latest");
    const nodes = await nodesBelow(repository, tree);
    const index = await repository.index();
    const file = nodes.get("compressible");
    const place = index.place("data", file?.contents ?? new Uint8Array(ID_BYTES));
    await store.delete(repository.layout.pack(place?.pack ?? ""));
    await expect(fileDigest(repository, file?.contents ?? new Uint8Array())).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: `Cannot read content "${toHex((file?.contents ?? new Uint8Array()).subarray(0, 32))}": its pack "${place?.pack}" is missing`,
    });
    expect(await repository.index()).not.toBe(index);
    // Asked again, it does not look again.
    await expect(fileDigest(repository, file?.contents ?? new Uint8Array())).rejects.toThrow(corrupt);
  });

  it("refuses a changed byte and a short pack, whatever was changed", async () => {
    for (const [edit, why] of [
      [(bytes: Uint8Array) => bytes.map((byte) => byte ^ 1), /authentication does not match/],
      [(bytes: Uint8Array) => bytes.subarray(0, 10), /shorter than the index says/],
    ] as const) {
      const store = await goldenStore("v2");
      for (const key of await packsOf(store)) await change(store, key, edit);
      const repository = await openGolden("v2", store);
      const { tree } = await repository.findSnapshot("latest");
      await expect(repository.readTree(tree)).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringMatching(why) as string });
    }
  });

  it("reads a content from another pack when the first one is damaged or gone", async () => {
    const store = await goldenStore("v2-off");
    const first = await openGolden("v2-off", store);
    const { tree } = await first.findSnapshot("latest");
    const place = (await first.index()).place("tree", tree);
    const { pack, offset, length } = place ?? { pack: "", offset: 0, length: 0 };
    const copy = (await store.get(first.layout.pack(pack))).slice(offset, offset + length);
    const packId = hash("sha256", copy, "hex");
    await store.put(first.layout.pack(packId), copy);
    const blobs = [{ id: toHex(tree), type: "tree", offset: 0, length, uncompressed_length: place?.plainLength }];
    await putSealed(first, "index", JSON.stringify({ packs: [{ id: packId, blobs }] }));
    await change(store, first.layout.pack(pack), flip(offset + 20));
    const second = await openGolden("v2-off", store);
    expect(toHex(Buffer.from(hash("sha256", await second.readTree(tree), "hex"), "hex"))).toBe(toHex(tree));
    expect((await second.index()).places("tree", tree)).toHaveLength(2);
  });

  it("prefers packs of index files that none replaces", async () => {
    const store = await goldenStore("v2-off");
    const first = await openGolden("v2-off", store);
    const { tree } = await first.findSnapshot("latest");
    const place = (await first.index()).place("tree", tree);
    const indexes = Object.keys(golden("v2-off").files).filter((file) => file.startsWith("index/"));
    const packId = hash("sha256", "elsewhere", "hex");
    const blobs = [{ id: toHex(tree), type: "tree", offset: 0, length: place?.length }];
    await putSealed(first, "index", JSON.stringify({ supersedes: indexes.map((key) => key.slice(6)), packs: [{ id: packId, blobs }] }));
    const second = await openGolden("v2-off", store);
    expect((await second.index()).places("tree", tree).map(({ pack }) => pack)).toEqual([packId, place?.pack]);
    // The pack of the one in force is not there: the other still serves.
    expect(await second.readTree(tree)).toEqual(await first.readTree(tree));
  });

  it("learns from the packs themselves what an index file that is damaged or gone said", async () => {
    for (const spoil of [
      (store: MemoryObjectStore, key: string) => change(store, key, flip(3)),
      (store: MemoryObjectStore, key: string) => store.delete(key),
    ]) {
      for (const name of ["v1", "v2"] as const) {
        const store = await goldenStore(name);
        for (const key of Object.keys(golden(name).files).filter((file) => file.startsWith("index/"))) await spoil(store, key);
        const repository = await openGolden(name, store);
        const { tree } = await repository.findSnapshot("latest");
        const { ".": _root, ...entries } = golden(name).snapshots[0] ?? {};
        expect(await factsOf(repository, tree)).toEqual(entries);
        const report = await repository.indexReport();
        expect(report.packsRead).toBe((await packsOf(store)).length);
      }
    }
  });

  it("lists the snapshots that can be read beside one that cannot", async () => {
    const store = await goldenStore("pruned");
    const [spoiled = ""] = Object.keys(golden("pruned").files).filter((file) => file.startsWith("snapshots/"));
    await change(store, spoiled, flip(0));
    const repository = await openGolden("pruned", store);
    const { snapshots, unreadable } = await repository.listSnapshots();
    expect(snapshots).toHaveLength(1);
    expect(unreadable.map(({ id }) => id)).toEqual([spoiled.slice("snapshots/".length)]);
    await expect(repository.findSnapshot(unreadable[0]?.id ?? "")).rejects.toThrow(corrupt);
  });

  it("passes over files that are not restic's", async () => {
    const store = await goldenStore("v2");
    for (const key of ["snapshots/README", "index/.tmp", "data/aa/x", "locks/x", "keys/old~"]) await store.put(key, utf8("?"));
    const repository = await openGolden("v2", store);
    expect((await repository.listSnapshots()).unreadable).toEqual([]);
    expect((await repository.indexReport()).unreadable).toEqual([]);
  });

  it("stops when it is told to", async () => {
    const repository = await openGolden("v2");
    const stopped = AbortSignal.abort(new Error("enough"));
    await expect(repository.listSnapshots(stopped)).rejects.toThrow("enough");
    await expect(repository.index(stopped)).rejects.toThrow("enough");
    // The failure is not remembered.
    expect((await repository.index()).size).toBeGreaterThan(0);
  });
});
