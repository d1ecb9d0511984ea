import { fromUtf8, hasCode, utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ObjectId } from "../object/object-id.ts";
import { ObjectWriter } from "../object/object-writer.ts";
import { memoryObjects } from "../testing/memory-objects.ts";
import type { DirectoryEntry } from "./directory-entry.ts";
import { compareEntries, DirectoryListing, DirectoryListingWriter, loadDirectory } from "./directory-listing.ts";
import type { ListingExtension } from "./extended-metadata.ts";
import { byteStringOf, goJsonBytes, goJsonString, goMode, goTime, isUtf8, parseGoMode, parseGoTime, textOfByteString } from "./go-text.ts";
import { RawListing } from "./raw-listing.ts";
import { decodeSnapshot, encodeSnapshot, labelsOfSnapshot } from "./snapshot-manifest.ts";
import { formatSnapshotSource, parseSnapshotSource } from "./snapshot-source.ts";

/** The root listing of a repository that kopia 0.22.3 made, byte for byte. */
const GOLDEN_LISTING = `{"stream":"kopia:directory","entries":[{"name":"dir","type":"d","mode":"0755","mtime":"2023-11-14T22:13:28.008008008Z","obj":"k38fbfe9e6a5be3353829a73685eafa7e","summ":{"size":400000,"files":1,"symlinks":0,"dirs":2,"maxTime":"2023-11-14T22:13:22.002002002Z","numFailed":0}},{"name":"sub","type":"d","mode":"04000770","mtime":"2023-11-14T22:13:31.011011011Z","obj":"kebb9e2e72220523fb90ccd8ca191dcee","summ":{"size":3009,"files":2,"symlinks":1,"dirs":1,"maxTime":"2023-11-14T22:13:25.005005005Z","numFailed":0}},{"name":"Z","type":"f","mode":"0644","size":5000,"mtime":"2023-11-14T22:13:26.006006006Z","obj":"d57c94955a9a15d673892c3a19aa7969"},{"name":"a.txt","type":"f","mode":"0640","size":12,"uid":1000,"gid":1001,"obj":"b0de5b92e204a18bad9f73e7fdc7306f"},{"name":"empty","type":"f","mode":"0644","mtime":"2023-11-14T22:13:29.009009009Z","obj":"81584e5e73246a18247912809a459d6b"},{"name":"setuid","type":"f","mode":"040000755","size":1,"mtime":"2023-11-14T22:13:30.01001001Z","obj":"4e46e1490411affca09d48e374387432"}],"summary":{"size":408022,"files":7,"symlinks":1,"dirs":4,"maxTime":"2023-11-14T22:13:31.011011011Z","numFailed":0}}
`;
const GOLDEN_MANIFEST = `{"id":"","source":{"host":"host","userName":"user","path":"/data"},"description":"tiny \\u003ctree\\u003e","startTime":"2024-01-02T03:04:05Z","endTime":"2024-01-02T03:05:06Z","stats":{"totalSize":408022,"excludedTotalSize":0,"fileCount":7,"cachedFiles":0,"nonCachedFiles":7,"dirCount":4,"excludedFileCount":0,"excludedDirCount":0,"ignoredErrorCount":0,"errorCount":0},"rootEntry":{"name":"tiny","type":"d","mode":"0755","mtime":"2023-11-14T22:13:20Z","obj":"k3d658577e7cebd5a8db522d5caca0698","summ":{"size":408022,"files":7,"symlinks":1,"dirs":4,"maxTime":"2023-11-14T22:13:31.011011011Z","numFailed":0}},"tags":{"tag:env":"test"},"pins":["keep"]}`;

async function storeText(text: string) {
  const objects = memoryObjects();
  const writer = new ObjectWriter(objects.context, { prefix: "k" });
  await writer.write(utf8(text));
  return { objects, id: (await writer.finish()).objectId };
}

async function writeListing(entries: readonly DirectoryEntry[], extension?: ListingExtension, mtimeNs = 0n) {
  const objects = memoryObjects();
  const writer = new DirectoryListingWriter(objects.context);
  for (const entry of entries) await writer.add(entry);
  const { objectId } = await writer.finish({ mtimeNs, ...(extension === undefined ? {} : { extension }) });
  return { objects, objectId, text: fromUtf8(await objects.reader.read(objectId, 1 << 20)) };
}

function file(name: string, rest: Partial<DirectoryEntry> = {}): DirectoryEntry {
  return { name: byteStringOf(name), type: "file", mode: 0o644, size: 1, mtimeNs: 1n, uid: 0, gid: 0, objectId: "aa" as ObjectId, ...rest };
}

describe("the text forms of Go", () => {
  it.each([
    [0o4755, "040000755"],
    [0o2755, "020000755"],
    [0o1777, "04000777"],
    [0o644, "0644"],
  ])("mode %o is stored as %s", (mode, text) => {
    expect(goMode(mode)).toBe(text);
    expect(parseGoMode(text)).toBe(mode);
  });

  it.each([
    [0n, "1970-01-01T00:00:00Z"],
    [1_700_000_008_008_008_000n, "2023-11-14T22:13:28.008008Z"],
    [-1n, "1969-12-31T23:59:59.999999999Z"],
    [-6_795_364_578_871_345_152n, "1754-08-30T22:43:41.128654848Z"],
    [9_223_372_036_854_775_807n, "2262-04-11T23:47:16.854775807Z"],
  ])("%d ns is %s", (ns, text) => {
    expect(goTime(ns)).toBe(text);
    expect(parseGoTime(text)).toBe(ns);
  });

  it("times with an offset are read, as old repositories have them", () =>
    expect(parseGoTime("2020-01-01T02:00:00.5+02:00")).toBe(parseGoTime("2020-01-01T00:00:00.5Z")));

  it.each(["", "yesterday", "2020-01-01", "2020-13-01T00:00:00Z", 7, null])("%j is no time", (value) =>
    expect(() => parseGoTime(value)).toThrow("Cannot read time"),
  );

  it("strings escape what Go escapes and nothing else", () =>
    expect(goJsonString('<a>&\u2028\u2029"\\\b\f\n\r\t\u0001\u007f\u0085é🚢')).toBe(
      '"\\u003ca\\u003e\\u0026\\u2028\\u2029\\"\\\\\\b\\f\\n\\r\\t\\u0001\u007f\u0085é🚢"',
    ));

  it.each([
    ["61ff62", '"a\\ufffdb"'],
    ["e282", '"\\ufffd\\ufffd"'],
    ["eda080", '"\\ufffd\\ufffd\\ufffd"'],
    ["c080", '"\\ufffd\\ufffd"'],
    ["f09f9aa2ff", '"🚢\\ufffd"'],
    ["efbfbd", '"\ufffd"'],
  ])("the bytes %s become %s: one escape for each invalid byte, a genuine U+FFFD raw", (hex, text) =>
    expect(goJsonBytes(Buffer.from(hex, "hex").toString("latin1"))).toBe(text),
  );

  it("byte strings hold any text and any bytes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(textOfByteString(byteStringOf(text))).toBe(text);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const name = Buffer.from(bytes).toString("latin1");
        expect(JSON.parse(goJsonBytes(name))).toBe(textOfByteString(name));
        expect(isUtf8(name)).toBe(Buffer.from(Buffer.from(bytes).toString("utf8")).equals(bytes));
      }),
    );
  });
});

describe("directory listings", () => {
  it("what Kopia wrote is read and written again byte for byte", async () => {
    const { objects, id } = await storeText(GOLDEN_LISTING);
    const listing = new DirectoryListing(objects.reader, id);
    const entries: DirectoryEntry[] = [];
    for await (const entry of listing.entries()) entries.push(entry);
    expect(entries.map((entry) => [entry.name, entry.mode.toString(8)])).toEqual([
      ["dir", "755"],
      ["sub", "1770"],
      ["Z", "644"],
      ["a.txt", "640"],
      ["empty", "644"],
      ["setuid", "4755"],
    ]);
    expect(listing.summary).toMatchObject({ size: 408022, files: 7, directories: 4 });
    expect((await writeListing(entries)).text).toBe(GOLDEN_LISTING);
  });

  it("an empty directory has null entries and its own time", async () => {
    const { text } = await writeListing([], undefined, 1_000_000_000n);
    expect(text).toBe(
      '{"stream":"kopia:directory","entries":null,"summary":{"size":0,"files":0,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:01Z","numFailed":0}}\n',
    );
  });

  it("names sort by bytes, directories first", () => {
    const names = ["a", "Z", "é", "\uffee", "🚢", "b"].map((name) => file(name));
    const sorted = [...names, file("z-dir", { type: "directory" })].sort(compareEntries).map((entry) => textOfByteString(entry.name));
    expect(sorted).toEqual(["z-dir", "Z", "a", "b", "é", "\uffee", "🚢"]);
  });

  it("additions come back, and are members that Kopia ignores", async () => {
    const raw = Buffer.from("61ff", "hex").toString("latin1");
    const entries = [
      file("image", {
        size: 100,
        extension: {
          linkGroup: "131075",
          holes: [
            { offset: 0, length: 10 },
            { offset: 20, length: 80 },
          ],
          xattrs: [{ name: "user.é", value: Uint8Array.of(0, 255) }],
        },
      }),
      { ...file("x"), name: raw },
    ];
    const extension: ListingExtension = {
      version: 1,
      xattrs: [{ name: "user.dir", value: utf8("v") }],
      special: [
        { name: "null", kind: "char", mode: 0o666, mtimeNs: 5n, uid: 1, gid: 2, device: { major: 1, minor: 3 } },
        { name: raw, kind: "fifo", mode: 0, mtimeNs: 0n, uid: 0, gid: 0, extension: { linkGroup: "7" } },
      ],
    };
    const { objects, objectId, text } = await writeListing(entries, extension);
    const listing = new DirectoryListing(objects.reader, objectId);
    const read: DirectoryEntry[] = [];
    for await (const entry of listing.entries()) read.push(entry);
    expect(read.map((entry) => ({ ...entry }))).toEqual(
      entries.map((entry) => ({
        ...entry,
        ...(entry.extension?.xattrs === undefined ? {} : { extension: { ...entry.extension, xattrs: [{ name: "user.é", value: Buffer.of(0, 255) }] } }),
      })),
    );
    expect(listing.extension.special).toEqual(extension.special);
    expect(listing.extension.xattrs).toEqual([{ name: "user.dir", value: Buffer.from("v") }]);
    expect(Object.keys(JSON.parse(text))).toEqual(["stream", "entries", "summary", "drayage"]);
    expect(text).toContain('"name":"a\\ufffd"');
  });

  it.each([
    ['"drayage":{"name":"YQ=="}', "a name that is UTF-8 needs no bytes"],
    ['"drayage":{"name":"/w=="}', "bytes of another name"],
    ['"drayage":{"holes":[[5,10]]}', "a hole beyond the end"],
    ['"drayage":{"holes":[[0,1],[1,1]]}', "holes that touch"],
    ['"drayage":{"xattrs":{"a":"?"}}', "a value that is not base64"],
    ['"drayage":[]', "another type"],
    ['"drayage":{"link":7}', "a group that is a number"],
  ])("%s is refused: %s", async (member) => {
    const { objects, id } = await storeText(`{"stream":"kopia:directory","entries":[{"name":"a","type":"f","size":8,"obj":"aa",${member}}],"summary":null}\n`);
    await expect(loadDirectory(objects.reader, id, 10)).rejects.toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
  });

  it("a listing is the object that a writer makes of its text, of one content and of several", async () => {
    for (const count of [0, 1, 2, 3, 30]) {
      const { objectId, text } = await writeListing(Array.from({ length: count }, (_, i) => file(`file ${i + 10}`)));
      expect((await storeText(text)).id).toBe(objectId);
    }
  });

  it("an entry is found by what it is, whether its name is plain text or takes decoding", async () => {
    const names = ["plain", "with space", 'quo"te', "back\\slash", "<&>", "tab\t", "ümlaut", "\u2028", "{", "obj", "\x7f"].map(byteStringOf);
    const entries: DirectoryEntry[] = [...names, "\xff\xfe", "a\xffb"].map((name, i) => ({
      ...file("", { mode: [0, 0o644, 0o4755][i % 3] ?? 0, size: i % 2, uid: i % 3, gid: i % 4, mtimeNs: BigInt(i % 2) }),
      ...{ name, objectId: `ab${String(i).padStart(2, "0")}` as ObjectId },
      ...(i % 4 === 1 ? { extension: { linkGroup: "7" } } : {}),
    }));
    const { objects, objectId } = await writeListing(entries.toSorted(compareEntries));
    const wanted = await loadDirectory(objects.reader, objectId, 100);
    const listing = new RawListing(objects.reader, objectId);
    expect(await listing.open()).toBe(true);
    for (const entry of wanted) {
      const found = await listing.peek();
      expect(found?.key).toMatchObject({ name: entry.name, type: entry.type, objectId: entry.objectId });
      expect(found?.decode()).toEqual(entry);
      if (found !== undefined) await listing.pass(found);
    }
    expect(await listing.peek()).toBeUndefined();
    await listing.close();
  });

  it("a checkpoint lists what was added so far and says that it is incomplete", async () => {
    const objects = memoryObjects();
    const writer = new DirectoryListingWriter(objects.context);
    await writer.add(file("a"));
    const checkpoint = await writer.checkpoint([file("b")], { mtimeNs: 0n }, "checkpoint");
    await writer.add(file("c"));
    const { objectId } = await writer.finish({ mtimeNs: 0n });
    expect((await loadDirectory(objects.reader, checkpoint.objectId, 10)).map((entry) => entry.name)).toEqual(["a", "b"]);
    expect(checkpoint.summary).toMatchObject({ incomplete: "checkpoint", files: 2 });
    expect((await loadDirectory(objects.reader, objectId, 10)).map((entry) => entry.name)).toEqual(["a", "c"]);
  });

  it("every prefix and every flipped byte of a listing gives entries or a typed error", async () => {
    const text = utf8(`${GOLDEN_LISTING.slice(0, 400).replace(/,\{"name":"sub".*/s, "")}],"summary":null}\n`);
    const variants = [
      ...Array.from(text, (_, index) => text.slice(0, index)),
      ...Array.from(text, (byte, index) => {
        const copy = text.slice();
        copy[index] = byte ^ (1 << (index % 8));
        return copy;
      }),
    ];
    for (const variant of variants) {
      const objects = memoryObjects();
      const writer = new ObjectWriter(objects.context, { prefix: "k" });
      await writer.write(variant);
      const { objectId } = await writer.finish();
      await loadDirectory(objects.reader, objectId, 10).catch((error: unknown) => expect(hasCode(error, "REPO_CORRUPT")).toBe(true));
    }
  });
});

describe("snapshot manifests", () => {
  const golden = decodeSnapshot({ id: "0123", data: GOLDEN_MANIFEST });

  it("what Kopia reads is written byte for byte", () => {
    expect(golden).toMatchObject({ id: "0123", description: "tiny <tree>", tags: { "tag:env": "test" }, pins: ["keep"] });
    expect(encodeSnapshot(golden)).toBe(GOLDEN_MANIFEST);
  });

  it("labels are the source and the tags", () =>
    expect(labelsOfSnapshot(golden)).toEqual({ type: "snapshot", hostname: "host", username: "user", path: "/data", "tag:env": "test" }));

  it("a tag may not hide a label", () => expect(() => labelsOfSnapshot({ ...golden, tags: { path: "/" } })).toThrow('tag "path": that name is taken'));

  it.each(["{}", "[]", "nonsense", '{"source":{"host":1}}', '{"source":{},"startTime":"x"}'])("%j is refused, naming the manifest", (data) =>
    expect(() => decodeSnapshot({ id: "0123", data })).toThrow('Cannot read snapshot manifest "0123"'),
  );
});

describe("snapshot sources", () => {
  it.each(["user@host:/path", "default@default:snapshot-data-upload-download/kopia/ns/pvc", "u@h:/with:colon@and"])("%s is read and written", (text) =>
    expect(formatSnapshotSource(parseSnapshotSource(text))).toBe(text),
  );
  it.each(["", "host:/path", "user@host", "@:"])("%j is refused", (text) => expect(() => parseSnapshotSource(text)).toThrow("user@host:path is wanted"));
});
