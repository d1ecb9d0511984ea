import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { collect } from "../contract/collect.ts";
import { blobStorageContract, objectStoreContract } from "../contract/index.ts";
import { openDirectoryStore } from "./directory-store.ts";
import { openFilesystemStorage } from "./filesystem-storage.ts";
import { translateFsError } from "./fs-errors.ts";
import { blobPath, createdSharding, decodeSharding, encodeSharding, legacySharding } from "./sharding.ts";

const newFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "drayage-fs-"));

for (const shards of [undefined, [], [3, 3], [1, 1, 1, 1]]) {
  blobStorageContract(`filesystem storage with shards ${JSON.stringify(shards ?? "of today")}`, async () => {
    const path = await newFolder();
    const storage = await openFilesystemStorage({ path, create: true, ...(shards === undefined ? {} : { shards }) });
    return { storage, dispose: () => rm(path, { recursive: true }) };
  });
}

objectStoreContract("directory store", async () => {
  const path = await newFolder();
  return { store: await openDirectoryStore({ path, create: true }), dispose: () => rm(path, { recursive: true }) };
});

describe("sharding", () => {
  const cases: [string, string, string][] = [
    ["kopia.repository", "kopia.repository.f", "kopia.repository.f"],
    ["pd5f2a0123456789abcdef-s1", "p/d5f/2a0123456789abcdef-s1.f", "pd5/f2a/0123456789abcdef-s1.f"],
    ["xn0_1da9456789abcdef-s1-c1", "x/n0_/1da9456789abcdef-s1-c1.f", "xn0/_1d/a9456789abcdef-s1-c1.f"],
    ["xe12", "xe12.f", "xe12.f"],
    ["_log_20261121000000_0000_1_2_3_f", "_/log/_20261121000000_0000_1_2_3_f.f", "_lo/g_2/0261121000000_0000_1_2_3_f.f"],
    ["kopia.repository.backup.me1", "k/opi/a.repository.backup.me1.f", "kop/ia./repository.backup.me1.f"],
  ];
  it.each(cases)("puts %s where Kopia puts it", (id, today, legacy) => {
    expect(blobPath(createdSharding, id).join("/")).toBe(today);
    expect(blobPath(legacySharding, id).join("/")).toBe(legacy);
  });

  it("takes the first override that matches and stops when nothing would be left of the name", () => {
    const rule = {
      defaultShards: [20, 20],
      maxNonShardedLength: 4,
      overrides: [
        { prefix: "x", shards: [2] },
        { prefix: "xa", shards: [] },
      ],
    };
    expect(blobPath(rule, "xabcdef")).toEqual(["xa", "bcdef.f"]);
    expect(blobPath(rule, "0123456789012345678901234")).toEqual(["01234567890123456789", "01234.f"]);
  });

  it("is stored as one line of JSON and read back", () => {
    expect(encodeSharding(createdSharding)).toBe('{"default":[1,3],"maxNonShardedLength":20}\n');
    const rule = { ...legacySharding, overrides: [{ prefix: "p", shards: [2] }] };
    expect(decodeSharding(encodeSharding(rule), "x")).toEqual(rule);
  });

  it.each(["", "[]x", "null", '{"default":"x"}', '{"default":[0]}', '{"default":[1],"maxNonShardedLength":-1}', '{"overrides":[{}]}', '{"overrides":5}'])(
    "refuses %j rather than guess",
    (text) => {
      expect(() => decodeSharding(text, "/repo/.shards")).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
    },
  );
});

describe("filesystem storage", () => {
  let path: string;
  beforeEach(async () => {
    path = await newFolder();
  });
  afterEach(() => rm(path, { recursive: true, force: true }));

  it("writes the sharding rule of a new repository, and the old one where it only connects", async () => {
    await (await openFilesystemStorage({ path: join(path, "new"), create: true })).put("a", utf8("x"));
    expect(await readFile(join(path, "new", ".shards"), "utf8")).toBe('{"default":[1,3],"maxNonShardedLength":20}\n');
    await mkdir(join(path, "old"));
    await (await openFilesystemStorage({ path: join(path, "old") })).head("a").catch(() => undefined);
    expect(await readFile(join(path, "old", ".shards"), "utf8")).toBe('{"default":[3,3],"maxNonShardedLength":20}\n');
  });

  it("does not list temporary files, foreign files and what is in foreign folders", async () => {
    const storage = await openFilesystemStorage({ path, create: true });
    await storage.put("real", utf8("x"));
    await writeFile(join(path, "real.f.tmp.0123456789abcdef"), "half");
    await writeFile(join(path, "README"), "hello");
    await mkdir(join(path, "lost+found"));
    await writeFile(join(path, "lost+found", "x.f"), "x");
    expect((await collect(storage.list(""))).map(({ id }) => id)).toEqual(["real"]);
  });

  it("leaves no temporary file behind when a put is aborted half way", async () => {
    const storage = await openFilesystemStorage({ path, create: true });
    const abort = new AbortController();
    const parts = function* (): Iterable<Uint8Array> {
      yield utf8("first");
      abort.abort(new Error("enough"));
      yield utf8("second");
    };
    await expect(storage.put("kopia.repository", parts() as never, { signal: abort.signal })).rejects.toThrow("enough");
    expect(await readdir(path)).toEqual([".shards"]);
  });

  it.each([
    // Memory of this size begins 16 bytes past a page.
    ["whole blocks", 4080, [1 << 20]],
    ["blocks and a rest", 4080, [(5 << 20) + 4097]],
    ["less than is worth it", 4080, [100_000]],
    ["several parts", 4080, [(1 << 20) + 8192, (2 << 20) + 1, 3 << 20]],
    ["memory that begins anywhere", 7, [(2 << 20) + 100]],
  ])("stores past the cache what is %s", async (_, from, lengths) => {
    const storage = await openFilesystemStorage({ path, create: true });
    const parts = lengths.map((length, i) => {
      const part = new Uint8Array(new SharedArrayBuffer(from + length), from, length);
      // 251 is prime: no two blocks are the same.
      for (let at = 0; at < length; at++) part[at] = (at + i) % 251;
      return part;
    });
    await storage.put("a", parts, { pastCache: true });
    expect(Buffer.concat(parts).equals(await storage.get("a"))).toBe(true);
    expect((await readdir(path)).sort()).toEqual([".shards", "a.f"]);
  });

  it("tells a folder that has gone from a blob that is not there, and does not make it again", async () => {
    const storage = await openFilesystemStorage({ path: join(path, "disk"), create: true });
    await storage.put("a", utf8("x"));
    await rename(join(path, "disk"), join(path, "unmounted"));
    await expect(storage.get("a")).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await expect(storage.put(`p${"0".repeat(40)}`, utf8("x"))).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await expect(storage.delete("a")).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await expect(collect(storage.list(""))).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    expect(await readdir(path)).toEqual(["unmounted"]);
  });

  it("opens no relative path, no file and nothing that is not there", async () => {
    await writeFile(join(path, "file"), "");
    await expect(openFilesystemStorage({ path: "relative" })).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
    await expect(openFilesystemStorage({ path: join(path, "file") })).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
    await expect(openFilesystemStorage({ path: join(path, "none") })).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
  });

  it("reports a full disk as such", () => {
    const error = translateFsError(Object.assign(new Error("write"), { code: "ENOSPC" }), 'Cannot store blob "a" in file:///repo');
    expect(error).toMatchObject({ code: "BLOB_NO_SPACE", message: 'Cannot store blob "a" in file:///repo: the disk is full' });
  });
});

describe("directory store", () => {
  it("refuses keys that would leave the folder", async () => {
    const path = await newFolder();
    const store = await openDirectoryStore({ path });
    for (const key of ["../x", "a/../../x", "/etc/passwd", "a//b", "a/", "."]) {
      await expect(store.put(key, utf8("x")), key).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
    }
    await rm(path, { recursive: true });
  });

  it("says that a folder is not there", async () => {
    const path = await newFolder();
    const store = await openDirectoryStore({ path: join(path, "none") });
    await expect(store.check()).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await expect(store.get("a")).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await expect(store.put("a/b", utf8("x"))).rejects.toMatchObject({ code: "BLOB_BUCKET_NOT_FOUND" });
    await rm(path, { recursive: true });
  });

  it("does not take an empty folder for a prefix", async () => {
    const path = await newFolder();
    await mkdir(join(path, "lost+found"));
    const store = await openDirectoryStore({ path });
    expect(await store.listLevel("")).toEqual({ objects: [], prefixes: [] });
    await rm(path, { recursive: true });
  });
});
