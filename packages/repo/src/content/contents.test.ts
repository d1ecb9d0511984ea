import { concat, equalBytes, hasCode, toHex, utf8 } from "@drayage/base";
import { settle, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage, GetBlobOptions } from "@drayage/blob";
import { FaultyStorage, faultAt, faultWhen, MemoryStorage } from "@drayage/blob/testing";
import { ctr } from "@drayage/kernels/testing";
import { describe, expect, it } from "vitest";
import type { ContentId } from "../content-port.ts";
import { unframeFormatBlob } from "../format/format-blob.ts";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import { bytesOfHex, GOLDEN_PASSWORD, golden, goldenBlobs } from "../testing/golden.ts";
import { newTestRepository, openTestContents } from "../testing/open-repository.ts";
import { idOfKey, isContentId, keyOf, parseContentId } from "./content-id.ts";
import type { Contents } from "./contents.ts";
import { decodePostamble, encodePostamble, openPackTail } from "./pack-layout.ts";
import { newSessionId, sessionOfBlob } from "./session-id.ts";

const MINUTE_MS = 60_000;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const bytesOf = (length: number, seed: number): Uint8Array => {
  const out = new Uint8Array(length);
  let x = seed * 2654435761 + 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
};
async function namesOf(storage: BlobStorage, prefix = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}
const kinds = async (storage: BlobStorage): Promise<string> =>
  (await namesOf(storage)).map((id) => (id.startsWith("kopia.") ? "" : id.slice(0, id.startsWith("x") ? 2 : 1))).join("");

describe("contents", () => {
  it("are read from the store itself when a copy on the way does not open", async () => {
    const repository = await newTestRepository();
    const writer = await repository.open();
    const { id } = await writer.write(utf8("a directory"), { prefix: "k" });
    await writer.flush();
    // A copy of before the repair of a damaged pack, whole as a copy.
    const [pack = ""] = await namesOf(repository.storage, "q");
    const asked: boolean[] = [];
    const copies: BlobStorage = Object.create(repository.storage, {
      get: {
        value: async (blobId: string, options: GetBlobOptions = {}) => {
          const bytes = await repository.storage.get(blobId, options);
          if (blobId !== pack) return bytes;
          asked.push(options.fresh === true);
          return options.fresh === true ? bytes : bytes.map((byte) => byte ^ 1);
        },
      },
      head: { value: (blobId: string) => repository.storage.head(blobId) },
      list: { value: (prefix: string) => repository.storage.list(prefix) },
    });
    const reader = await openTestContents(copies, repository.clock);
    expect(text(await reader.get(id))).toBe("a directory");
    expect(asked).toEqual([false, true]);
  });

  it("that others have made ready are stored together, each once, and read back", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const texts = ["one", "two", "one", "there", "deleted", ""].map(utf8);
    const there = await contents.write(utf8("there"), { prefix: "k" });
    const deleted = await contents.write(utf8("deleted"), { prefix: "k" });
    await contents.delete(deleted.id);
    await contents.flush();
    const { hasher } = contents;
    const payloads = concat(texts);
    const lengths = Uint32Array.from(texts, ({ length }) => length);
    const starts = Uint32Array.from(texts, (_, i) => texts.slice(0, i).reduce((sum, { length }) => sum + length, 0));
    const ready = {
      ...{ prefix: "k", hashes: concat(texts.map((one) => hasher.hash(one))), originalLengths: lengths, compressionIds: new Uint32Array(texts.length) },
      payloads: { data: payloads, starts, lengths, count: texts.length },
    };
    expect(contents.takesReady).toBe(true);
    const written = await contents.writeReady(ready);
    expect(written).toEqual({
      knownBytes: 8,
      packedBytes: ["one", "two", "deleted", ""].reduce((sum, one) => sum + contents.codec.sealedLength(one.length), 0),
    });
    expect(await contents.writeReady(ready)).toEqual({ knownBytes: payloads.length, packedBytes: 0 });
    await contents.flush();
    const reader = await repository.open();
    for (const one of texts) {
      const id = `k${toHex(hasher.hash(one))}` as ContentId;
      expect(equalBytes(await contents.get(id), one)).toBe(true);
      expect(equalBytes(await reader.get(id), one)).toBe(true);
      expect(reader.info(id)).toMatchObject({ originalLength: one.length, compressionId: 0, deleted: false });
    }
    expect(reader.info(there.id)?.packBlobId).not.toBe(reader.info(deleted.id)?.packBlobId);
    expect(contents.statistics).toMatchObject({ deduplicatedBytes: 8 + payloads.length });
  });

  it("come back from memory, after a flush, and in another client", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const file = await contents.write(utf8("file data"));
    const directory = await contents.write(utf8("file data"), { prefix: "k" });
    const packed = await contents.write(new Uint8Array(100_000), { compressor: "zstd-fastest" });
    const large = await contents.write(bytesOf(700_000, 3));
    const empty = await contents.write(new Uint8Array());
    expect(directory.id).toBe(`k${file.id}`);
    expect(packed.packedLength).toBeLessThan(200);
    const check = async (reader: Contents): Promise<void> => {
      expect(text(await reader.get(file.id))).toBe("file data");
      expect(text(await reader.get(directory.id))).toBe("file data");
      expect(equalBytes(await reader.get(packed.id), new Uint8Array(100_000))).toBe(true);
      expect(equalBytes(await reader.get(large.id), bytesOf(700_000, 3))).toBe(true);
      expect((await reader.get(empty.id)).length).toBe(0);
      expect(reader.info(packed.id)).toMatchObject({ compressionId: 0x1101, originalLength: 100_000, deleted: false, formatVersion: 3 });
      expect([...reader.list()].map(({ id }) => id)).toEqual([...[empty, file, large, packed].map(({ id }) => id).sort(), directory.id]);
      expect([...reader.list({ prefix: "k" })].map(({ id }) => id)).toEqual([directory.id]);
      expect([...reader.list({ prefix: "" })]).toHaveLength(4);
    };
    await check(contents);
    expect(await kinds(repository.storage)).toBe("");
    await contents.flush();
    expect(await kinds(repository.storage)).toBe("pqxn");
    await check(contents);
    await check(await repository.open({ readOnly: true }));
  });

  it("are stored once, whoever writes them, and nothing is written for a flush of nothing", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    expect((await contents.write(utf8("a"))).isNew).toBe(true);
    expect(await contents.write(utf8("a"))).toMatchObject({ isNew: false, packedLength: 0 });
    await contents.flush();
    const before = await namesOf(repository.storage);
    const other = await repository.open();
    expect((await other.write(utf8("a"))).isNew).toBe(false);
    await other.flush();
    await contents.flush();
    expect(await namesOf(repository.storage)).toEqual(before);
    expect(other.statistics).toMatchObject({ deduplicatedContents: 1, deduplicatedBytes: 1, writtenContents: 0 });
  });

  it("let the caller reuse the memory at once, also when the index has to be refreshed first", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const other = await repository.open();
    const data = utf8("first");
    repository.clock.jump(16 * MINUTE_MS);
    await other.write(utf8("first"));
    await other.flush();
    const pending = contents.write(data);
    data.fill(0);
    const written = await pending;
    // The other client's content was not in the index that this one had loaded.
    expect(written.isNew).toBe(false);
    expect(text(await contents.get(written.id))).toBe("first");
  });

  it("are split over packs of bounded size, with uploads bounded in flight", async () => {
    const repository = await newTestRepository({ blockFormat: { maxPackBytes: 10 << 20 } });
    let inFlight = 0;
    let most = 0;
    const put = repository.storage.put.bind(repository.storage);
    repository.storage.put = async (...args) => {
      most = Math.max(most, ++inFlight);
      await new Promise((resolve) => setImmediate(resolve));
      await put(...args);
      inFlight--;
    };
    const contents = await repository.open({ packBytesInFlightMax: 25 << 20 });
    for (let i = 0; i < 45; i++) await contents.write(bytesOf(1 << 20, i));
    await contents.flush();
    const packs = await namesOf(repository.storage, "p");
    expect(packs).toHaveLength(5);
    // Two packs, or one and the session marker.
    expect(most).toBeLessThanOrEqual(3);
    for (const id of packs) {
      const pack = await repository.storage.get(id);
      expect(sessionOfBlob(id)).toBe(sessionOfBlob(packs[0] ?? ""));
      const { offset } = decodePostamble(pack);
      expect(offset % 4096).toBe(0);
      const index = decodeIndex(openPackTail(contents.codec, pack, pack.length));
      expect(index.entryCount).toBe([...contents.list()].filter(({ packBlobId }) => packBlobId === id).length);
    }
    expect(await namesOf(repository.storage, "s")).toEqual([]);
  });

  it("leave no part of a session marker behind on a store without atomic puts", async () => {
    let torn = 0;
    const repository = await newTestRepository({
      wrap: (inner) =>
        new FaultyStorage(inner, ({ operation, id }) => (operation === "put" && id.startsWith("s") && torn++ < 3 ? { kind: "torn" } : undefined)),
    });
    const contents = await repository.open();
    await contents.write(utf8("kept"));
    for (let tries = 0; tries < 2; tries++) {
      await expect(contents.flush()).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
      expect(await namesOf(repository.storage, "s")).toHaveLength(1);
      repository.clock.jump(MINUTE_MS);
    }
    await contents.flush();
    expect(await namesOf(repository.storage, "s")).toEqual([]);
  });

  it("are deleted, listed only when asked for, and written again with a later time", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const { id } = await contents.write(utf8("a"));
    await contents.flush();
    await contents.delete(id);
    await contents.delete(id);
    const seconds = repository.clock.nowMs() / 1000;
    expect(contents.info(id)).toMatchObject({ deleted: true, timestampSeconds: seconds + 1 });
    await contents.flush();
    expect([...contents.list()]).toEqual([]);
    expect([...contents.list({ includeDeleted: true })]).toHaveLength(1);
    const other = await repository.open();
    // Still readable: the deletion is not final yet.
    expect(text(await other.get(id))).toBe("a");
    expect((await other.write(utf8("a"))).isNew).toBe(true);
    expect(other.info(id)).toMatchObject({ deleted: false, timestampSeconds: seconds + 2 });
    await other.flush();
    await contents.refresh();
    expect(contents.info(id)).toMatchObject({ deleted: false, timestampSeconds: seconds + 2 });
    await expect(contents.delete("00ff" as ContentId)).rejects.toMatchObject({ code: "REPO_CONTENT_NOT_FOUND" });
  });

  it("of which the deletion is final are as if they had never been", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const { id } = await contents.write(utf8("a"));
    await contents.delete(id);
    expect(contents.info(id)?.deleted).toBe(true);
    await contents.flush();
    await repository.storage.put(`xw${repository.clock.nowMs() / 1000 + 10}`, utf8("deletion-watermark"));
    await contents.refresh();
    expect(contents.info(id)).toBeUndefined();
    expect([...contents.list({ includeDeleted: true })]).toEqual([]);
    await expect(contents.get(id)).rejects.toMatchObject({ code: "REPO_CONTENT_NOT_FOUND" });
    expect((await contents.write(utf8("a"))).isNew).toBe(true);
    // Later than the deletion, or it would be hidden by it.
    expect(contents.info(id)?.timestampSeconds).toBe(repository.clock.nowMs() / 1000 + 2);
  });

  it("become part of the repository by themselves after ten minutes of writing", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    await contents.write(utf8("a"));
    repository.clock.jump(9 * MINUTE_MS);
    await contents.write(utf8("b"));
    expect(await kinds(repository.storage)).toBe("");
    repository.clock.jump(2 * MINUTE_MS);
    // Also when nothing new comes any more.
    await contents.write(utf8("b"));
    expect(await kinds(repository.storage)).toBe("pxn");
    expect([...(await repository.open()).list()]).toHaveLength(2);
    repository.clock.jump(12 * MINUTE_MS);
    await contents.write(utf8("c"));
    expect(await kinds(repository.storage)).toBe("pxn");
  });

  it("of other writers are found on the first miss", async () => {
    const repository = await newTestRepository();
    const reader = await repository.open({ readOnly: true });
    const writer = await repository.open();
    const { id } = await writer.write(utf8("new"));
    await writer.flush();
    expect(reader.info(id)).toBeUndefined();
    expect(text(await reader.get(id))).toBe("new");
    await expect(reader.get("0123456789abcdef0123456789abcdef" as ContentId)).rejects.toMatchObject({ code: "REPO_CONTENT_NOT_FOUND" });
  });

  it("that moved to another pack are found there", async () => {
    const repository = await newTestRepository();
    const reader = await repository.open({ readOnly: true });
    const writer = await repository.open();
    const { id } = await writer.write(utf8("moving"));
    await writer.flush();
    await reader.refresh();
    const old = writer.info(id)?.packBlobId ?? "";
    await writer.delete(id);
    await writer.write(utf8("moving"));
    await writer.flush();
    await repository.storage.delete(old);
    expect(text(await reader.get(id))).toBe("moving");
    expect(reader.info(id)?.packBlobId).not.toBe(old);
    await repository.storage.delete(reader.info(id)?.packBlobId ?? "");
    const cold = await repository.open({ readOnly: true });
    await expect(cold.get(id)).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining("is missing") });
  });

  it("of one pack come with one request", async () => {
    const repository = await newTestRepository();
    const writer = await repository.open();
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await writer.write(utf8(`content ${i}`))).id);
    const infos = ids.map((id) => writer.info(id)).filter((info) => info !== undefined);
    const wanted = [infos[3], infos[1]].filter((info) => info !== undefined);
    expect((await writer.getPacked(wanted)).map(text)).toEqual(["content 3", "content 1"]);
    await writer.flush();
    const faulty = new FaultyStorage(repository.storage);
    const reader = await openTestContents(faulty, repository.clock, { readOnly: true });
    const calls = faulty.calls;
    expect((await reader.getPacked(wanted)).map(text)).toEqual(["content 3", "content 1"]);
    expect(faulty.calls).toBe(calls + 1);
    const { id } = await writer.write(utf8("elsewhere"), { prefix: "k" });
    await expect(writer.getPacked([...wanted, writer.info(id)].filter((info) => info !== undefined))).rejects.toMatchObject({ code: "INVARIANT" });
    expect(await writer.getPacked([])).toEqual([]);
  });

  it("are refused for writing where the repository was opened to be read", async () => {
    const contents = await (await newTestRepository()).open({ readOnly: true });
    for (const attempt of [() => contents.write(utf8("a")), () => contents.delete("00" as ContentId), () => contents.flush()]) {
      await expect(attempt()).rejects.toMatchObject({ code: "REPO_READ_ONLY" });
    }
  });

  it("work in repositories of format versions 1 and 2 too", async () => {
    for (const formatVersion of [1, 2]) {
      const repository = await newTestRepository({ blockFormat: { formatVersion } });
      const contents = await repository.open();
      const { id } = await contents.write(new Uint8Array(5000), { compressor: "zstd" });
      await contents.flush();
      expect(contents.info(id)).toMatchObject({ formatVersion, compressionId: formatVersion === 1 ? 0 : 0x1100 });
      const [pack = ""] = await namesOf(repository.storage, "p");
      const embedded = unframeFormatBlob(await repository.storage.get(pack));
      expect(embedded === undefined).toBe(formatVersion !== 1);
      expect(await kinds(repository.storage)).toBe(formatVersion === 1 ? "np" : "pxn");
      expect((await (await repository.open()).get(id)).length).toBe(5000);
    }
  });

  it("are stored as they are where they are large and no sample of them becomes shorter, and compressed where one does", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const noise = ctr(2 << 20);
    const partly = noise.slice().fill(7, 1 << 20, (1 << 20) + (300 << 10));
    for (const compressor of ["zstd-fastest", "gzip-best-speed"]) {
      const ids = [noise, partly].map(async (data) => (await contents.write(concat([utf8(compressor), data]), { compressor })).id);
      const [asItIs, compressed] = (await Promise.all(ids)).map((id) => contents.info(id));
      expect(asItIs).toMatchObject({ compressionId: 0, originalLength: noise.length + compressor.length });
      expect(compressed?.compressionId).not.toBe(0);
      expect(compressed?.packedLength).toBeLessThan(noise.length - (250 << 10));
    }
    // What is short is tried as a whole.
    const { id } = await contents.write(noise.slice(0, 600 << 10).fill(7, 1000, 200_000), { compressor: "zstd-fastest" });
    expect(contents.info(id)?.compressionId).toBe(0x1101);
  });

  it("stop when what was asked for is aborted", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const reason = new Error("enough");
    await expect(contents.write(utf8("a"), {}, AbortSignal.abort(reason))).rejects.toBe(reason);
    const { id } = await contents.write(utf8("a"));
    await expect(contents.get(id, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it("are waited for by each caller alone: the abort of one does not fail another", async () => {
    const repository = await newTestRepository();
    const writer = await repository.open();
    const reader = await repository.open({ readOnly: true });
    const { id } = await writer.write(utf8("shared"));
    await writer.flush();
    const reason = new Error("enough");
    const abort = new AbortController();
    const impatient = expect(reader.get(id, abort.signal)).rejects.toBe(reason);
    const patient = reader.get(id);
    abort.abort(reason);
    await impatient;
    expect(text(await patient)).toBe("shared");
    // Both wait for one block now.
    const cold = await repository.open({ readOnly: true });
    const second = new AbortController();
    const first = expect(cold.get(id, second.signal)).rejects.toBe(reason);
    const other = cold.get(id);
    second.abort(reason);
    await first;
    expect(text(await other)).toBe("shared");
  });
});

describe("contents of kopia", () => {
  for (const name of ["tiny-v3", "tiny-v1", "tiny-ecc"] as const) {
    it(`${name}: are listed entry by entry and decrypt`, async () => {
      const repository = golden.repositories.items[name];
      const clock = new VirtualClock();
      const storage = new MemoryStorage(clock);
      for (const [id, bytes] of goldenBlobs(repository)) await storage.put(id, bytes);
      const contents = await openTestContents(storage, clock, { password: GOLDEN_PASSWORD, readOnly: true });
      const entries = [...contents.list({ includeDeleted: true })].map((info) => [
        ...[info.id, info.packBlobId, info.packOffset, info.packedLength, info.originalLength, info.timestampSeconds],
        ...[info.deleted, info.formatVersion, `0x${info.compressionId.toString(16)}`],
      ]);
      expect(entries.toSorted()).toEqual(repository.entries.map((entry) => [...entry]).toSorted());
      for (const { id } of contents.list()) {
        const plain = await contents.get(id);
        expect(id.endsWith(toHex(contents.codec.hasher.hash(plain)))).toBe(true);
      }
      const root = repository.tree.find(({ path }) => path === "")?.obj ?? "";
      // In format version 1 directories are not compressed either.
      expect(text(await contents.get(parseContentId(root)))).toBe(
        repository.rootListing.endsWith("\n") ? repository.rootListing : `${repository.rootListing}\n`,
      );
      for (const [id, bytes] of goldenBlobs(repository).filter(([blobId]) => /^[pq]/.test(blobId))) {
        expect(decodeIndex(openPackTail(contents.codec, bytes, bytes.length)).entryCount).toBe(repository.entries.filter(([, pack]) => pack === id).length);
      }
    });
  }
});

describe("damage", () => {
  it("of a pack is reported with content and pack, and never restored", async () => {
    const repository = await newTestRepository();
    const writer = await repository.open();
    const { id } = await writer.write(utf8("precious"));
    await writer.flush();
    const info = writer.info(id);
    const packBlobId = info?.packBlobId ?? "";
    const pack = await repository.storage.get(packBlobId);
    for (const damage of [
      (bytes: Uint8Array) => bytes.map((byte, i) => (i === (info?.packOffset ?? 0) + 14 ? byte ^ 1 : byte)),
      (bytes: Uint8Array) => bytes.slice(0, (info?.packOffset ?? 0) + 10),
      (bytes: Uint8Array) => bytes.slice(0, 0),
    ]) {
      await repository.storage.put(packBlobId, damage(pack));
      const reader = await repository.open({ readOnly: true });
      await expect(reader.get(id)).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining(packBlobId) });
    }
  });

  it("of an index blob is reported with its name", async () => {
    const repository = await newTestRepository();
    const writer = await repository.open();
    await writer.write(utf8("a"));
    await writer.flush();
    const [name = ""] = await namesOf(repository.storage, "xn");
    const blob = await repository.storage.get(name);
    for (const damaged of [blob.slice(0, -1), blob.map((byte, i) => (i === 20 ? byte ^ 1 : byte)), new Uint8Array()]) {
      await repository.storage.put(name, damaged);
      await expect(repository.open()).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining(name) });
    }
    await repository.storage.put(name, blob);
    await repository.storage.put("xn0_nohash-sx-c1", blob);
    await expect(repository.open()).rejects.toMatchObject({ code: "REPO_CORRUPT", message: expect.stringContaining("holds no hash") });
  });

  it("of a postamble is an error whatever byte it hits", () => {
    const { liv, offset, length, bytes } = golden.postamble;
    const encoded = encodePostamble({ iv: bytesOfHex(liv), offset, length });
    expect(toHex(encoded)).toBe(bytes);
    const pack = concat([new Uint8Array(100), encoded]);
    expect(decodePostamble(pack)).toMatchObject({ offset, length });
    for (let at = 0; at < pack.length; at++) {
      const damaged = pack.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 0x40;
      if (at < 100) expect(decodePostamble(damaged)).toMatchObject({ offset, length });
      else expect(() => decodePostamble(damaged)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
      expect(() => decodePostamble(encoded.subarray(at + 1))).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
    }
  });
});

describe("a storage that fails", () => {
  it("at any single call loses nothing: the flush succeeds when it is tried again", async () => {
    const repository = await newTestRepository({ wrap: (inner) => new FaultyStorage(inner) });
    const storage = repository.storage as FaultyStorage;
    const contents = await repository.open();
    const reader = await repository.open({ readOnly: true });
    for (const kind of ["fail", "appliedButTimedOut", "torn"] as const) {
      for (let k = 1; ; k++) {
        const work = async (): Promise<ContentId[]> => {
          const file = await contents.write(utf8(`data ${kind} ${k}`));
          const listing = await contents.write(utf8(`listing ${kind} ${k}`), { prefix: "k" });
          await contents.flush();
          return [file.id, listing.id];
        };
        const until = storage.calls + k;
        storage.plan = faultAt(until, { kind });
        let ids: ContentId[];
        try {
          ids = await work();
        } catch (error) {
          expect(hasCode(error, "BLOB_UNAVAILABLE", "TIMED_OUT")).toBe(true);
          ids = await work();
        }
        const done = storage.calls < until;
        storage.plan = undefined;
        await reader.refresh();
        for (const id of ids) expect(text(await reader.get(id))).toContain(`${kind} ${k}`);
        if (done) break;
      }
    }
    expect([...reader.list()].length).toBeGreaterThan(40);
  });

  it("keeps a pack whose upload failed, readable, until the next write stores it", async () => {
    const repository = await newTestRepository({ blockFormat: { maxPackBytes: 10 << 20 }, wrap: (inner) => new FaultyStorage(inner) });
    const faulty = repository.storage as FaultyStorage;
    const contents = await repository.open();
    faulty.plan = faultWhen(({ operation, id }) => operation === "put" && id.startsWith("p"));
    const ids: ContentId[] = [];
    for (let i = 0; i < 10; i++) ids.push((await contents.write(bytesOf(1 << 20, i))).id);
    await expect(contents.flush()).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
    for (const id of ids) expect((await contents.get(id)).length).toBe(1 << 20);
    faulty.plan = undefined;
    expect((await contents.write(bytesOf(1 << 20, 3))).isNew).toBe(false);
    await contents.flush();
    expect([...(await repository.open()).list()]).toHaveLength(10);
  });

  it("forgets no pack when what tries several of them again is aborted in the middle", async () => {
    const repository = await newTestRepository({ blockFormat: { maxPackBytes: 10 << 20 }, wrap: (inner) => new FaultyStorage(inner) });
    const faulty = repository.storage as FaultyStorage;
    // Room for one pack at a time, so that the others wait for it.
    const contents = await repository.open({ packBytesInFlightMax: 11 << 20 });
    faulty.plan = faultWhen(({ operation, id }) => operation === "put" && id.startsWith("p"));
    const ids = (await Promise.all(Array.from({ length: 30 }, (_, i) => contents.write(bytesOf(1 << 20, i))))).map(({ id }) => id);
    await settle();
    faulty.plan = undefined;
    const aborting = new AbortController();
    const retrying = contents.write(bytesOf(100, 77), {}, aborting.signal);
    aborting.abort(new Error("no more"));
    await expect(retrying).rejects.toThrow("no more");
    await contents.flush();
    const reader = await repository.open({ readOnly: true });
    for (const [i, id] of ids.entries()) expect(equalBytes(await reader.get(id), bytesOf(1 << 20, i))).toBe(true);
  });
});

describe("names", () => {
  it("of contents are a letter or none, and hex", () => {
    for (const id of ["ab", "kab", "0123456789abcdef0123456789abcdef", `m${"00".repeat(32)}`]) {
      expect(isContentId(id)).toBe(true);
      expect(idOfKey(keyOf(parseContentId(id)))).toBe(id);
    }
    for (const id of ["", "k", "a", "fab", "AB", "kAB", "k ab", "xyz", "../ab", "00".repeat(33)]) {
      expect(isContentId(id)).toBe(false);
      expect(() => parseContentId(id)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
    }
  });

  it("of sessions end in the 30-day period", () => {
    const random = { bytes: (length: number) => new Uint8Array(length), fraction: () => 0 };
    expect(newSessionId(random, Date.UTC(2025, 9, 25))).toBe("s000000000000000013a");
    expect(newSessionId(random, Date.UTC(2026, 10, 21))).toBe("s0000000000000000147");
    expect(sessionOfBlob("xn0_75631536810b3e7827d487b540b307c0-s320fad732aeeb63d147-c1")).toBe("s320fad732aeeb63d147");
    expect(sessionOfBlob("n75631536810b3e7827d487b540b307c0")).toBeUndefined();
  });
});
