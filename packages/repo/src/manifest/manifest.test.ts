import { gzipSync } from "node:zlib";
import { utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryContents } from "../testing/memory-contents.ts";
import { decodeManifestContent, encodeManifestContent } from "./manifest-content.ts";
import { ManifestStore } from "./manifest-store.ts";
import { rawElements, rawMembers } from "./raw-json.ts";

function open(contents: MemoryContents, seed = 1, clock = new VirtualClock(), readOnly = false) {
  return new ManifestStore({ contents, clock, random: seededRandom(seed), readOnly });
}

const labels = { type: "policy", policyType: "global" };

describe("raw JSON", () => {
  it("members and elements are the text they were", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue()), (object, list) => {
        expect(rawMembers(JSON.stringify(object)).map(([name, raw]) => [name, JSON.parse(raw)])).toEqual(
          Object.entries(JSON.parse(JSON.stringify(object)) as object),
        );
        expect(rawElements(JSON.stringify(list)).map((raw) => JSON.stringify(JSON.parse(raw)))).toEqual(list.map((value) => JSON.stringify(value)));
      }),
    );
  });

  it("space between is skipped and numbers are not rounded", () =>
    expect(rawMembers(' { "a" : 9223372036854775807 , "b":[1, {"c":"}"}] } ')).toEqual([
      ["a", "9223372036854775807"],
      ["b", '[1, {"c":"}"}]'],
    ]));
});

describe("manifest contents", () => {
  it("data survives as text: numbers above 2^53, key order, unknown members", () => {
    const data = '{"z":9223372036854775807,"a":1.50,"new":[null]}';
    const [manifest] = decodeManifestContent(encodeManifestContent([{ id: "1", labels, modifiedNs: 5n, deleted: false, data }]), "m00");
    expect(manifest).toEqual({ id: "1", labels, modifiedNs: 5n, deleted: false, data });
  });

  it.each([
    "",
    "{}",
    "null",
    '{"entries":[{}]}',
    '{"entries":[{"id":"a","labels":{"x":1},"modified":"2020-01-01T00:00:00Z"}]}',
    '{"entries":[{"id":"a","labels":{}}]}',
  ])("%j is refused, naming the content", (text) =>
    expect(() => decodeManifestContent(gzipSync(utf8(text)), "m00ff")).toThrow('Cannot read manifest content "m00ff"'),
  );

  it("bytes that are not gzip are refused", () =>
    expect(() => decodeManifestContent(utf8("hello"), "m00ff")).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" })));
});

describe("ManifestStore", () => {
  it("what was put is seen at once, and by others after a commit", async () => {
    const contents = new MemoryContents();
    const store = open(contents);
    const id = await store.put(labels, '{"a":1}');
    expect((await store.get(id)).data).toBe('{"a":1}');
    expect(await open(contents).find({ type: "policy" })).toEqual([]);
    await store.commit();
    expect((await open(contents).find({ type: "policy" })).map((manifest) => manifest.id)).toEqual([id]);
  });

  it("a commit of nothing writes nothing", async () => {
    const contents = new MemoryContents();
    await open(contents).commit();
    expect(contents.writes).toEqual([]);
  });

  it("what was deleted is gone, even when this clock is behind the one that wrote it", async () => {
    const contents = new MemoryContents();
    const ahead = open(contents, 1, new VirtualClock(Date.UTC(2030, 0, 1)));
    const id = await ahead.put(labels, "{}");
    await ahead.commit();
    const behind = open(contents, 2, new VirtualClock(Date.UTC(2020, 0, 1)));
    await behind.delete(id);
    await behind.commit();
    await expect(open(contents).get(id)).rejects.toThrow(expect.objectContaining({ code: "REPO_MANIFEST_NOT_FOUND" }));
  });

  it("replace leaves one", async () => {
    const contents = new MemoryContents();
    const store = open(contents);
    await store.put(labels, '{"a":1}');
    await store.commit();
    await store.replace(labels, '{"a":2}');
    await store.commit();
    const found = await open(contents).find(labels);
    expect(found).toHaveLength(1);
    expect((await open(contents).get(found[0]?.id ?? "")).data).toBe('{"a":2}');
  });

  it("many contents are compacted when they are loaded, and tombstones go with them", async () => {
    const contents = new MemoryContents();
    const writer = open(contents);
    const ids: string[] = [];
    for (let index = 0; index < 17; index++) {
      ids.push(await writer.put({ ...labels, index: String(index) }, String(index)));
      await writer.commit();
    }
    await writer.delete(ids[3] ?? "");
    await writer.commit();
    const reader = open(contents, 9);
    expect((await reader.find(labels)).map((manifest) => manifest.labels["index"])).not.toContain("3");
    expect([...contents.list({ prefix: "m" })]).toHaveLength(1);
    expect(await open(contents).find(labels)).toHaveLength(16);
  });

  it("a store opened for reading neither compacts nor changes", async () => {
    const contents = new MemoryContents();
    const writer = open(contents);
    for (let index = 0; index < 20; index++) {
      await writer.put(labels, "{}");
      await writer.commit();
    }
    const reader = open(contents, 9, new VirtualClock(), true);
    expect(await reader.find(labels)).toHaveLength(20);
    expect([...contents.list({ prefix: "m" })]).toHaveLength(20);
    await expect(reader.put(labels, "{}")).rejects.toThrow(expect.objectContaining({ code: "REPO_READ_ONLY" }));
  });

  it.each(["", "{", "{} {}"])("malformed data (%j) is never stored", async (data) => {
    const contents = new MemoryContents();
    await expect(open(contents).put(labels, data)).rejects.toThrow(SyntaxError);
    expect(contents.writes).toEqual([]);
  });
});
