import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemCalls } from "@drayage/kernels";
import { createRepository, type ObjectId, openRepository, parseSnapshotSource } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { KopiaSource, restoreEntryOf } from "./kopia-source.ts";
import type { CreateDecoder, Piece, RestoreEntry } from "./restore-source.ts";

const deriveKey = rememberingKeys();
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "source-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function stored() {
  const storage = new MemoryStorage();
  const options = { password: "pw", deriveKey };
  const repository = await createRepository(storage, { ...options, format: { splitter: "FIXED-1M" } });
  const { rootEntry } = await uploadSnapshot({ repository, source: { kind: "directory", path: root }, snapshotSource: parseSnapshotSource("u@h:/data") });
  await repository.close();
  return { storage, rootEntry: restoreEntryOf(rootEntry), source: new KopiaSource(await openRepository(storage, { ...options, readOnly: true })) };
}

async function piecesOf(pieces: readonly Piece[] | AsyncIterable<Piece>): Promise<Piece[]> {
  const all: Piece[] = [];
  for await (const piece of pieces) all.push(piece);
  return all;
}

describe("KopiaSource", () => {
  it("gives the tree in order, and pieces whose ranges decode to the file's bytes, here and as another thread would decode them", async () => {
    const data = patternBytes((2 << 20) + 5);
    mkdirSync(join(root, "dir"));
    writeFileSync(join(root, "dir", "large"), data);
    writeFileSync(join(root, "empty"), "");
    writeFileSync(join(root, "small"), "small");
    systemCalls.makeNode(join(root, "a-pipe"), 0o010640, 0, 0);
    const { source, rootEntry } = await stored();
    const entries = [];
    for await (const batch of source.list(rootEntry).batches()) entries.push(...batch);
    expect(entries.map(({ name, type, size }) => [name, type, size])).toEqual([
      ["dir", "directory", 0],
      ["empty", "file", 0],
      ["small", "file", 5],
      ["a-pipe", "fifo", 0],
    ]);
    const [dir, empty] = entries;
    if (dir === undefined || empty === undefined || source.worker === undefined) throw new Error("missing");
    expect(await piecesOf(source.pieces(empty))).toEqual([]);
    const inner = [];
    for await (const batch of source.list(dir).batches()) inner.push(...batch);
    const [large] = inner;
    if (large === undefined) throw new Error("missing");
    const pieces = await piecesOf(source.pieces(large));
    expect(pieces.map(({ offset, content }) => [offset, content.originalLength])).toEqual([
      [0, 1 << 20],
      [1 << 20, 1 << 20],
      [2 << 20, 5],
    ]);
    const { createDecoder } = (await import(source.worker.module)) as { createDecoder: CreateDecoder };
    const scratch = new Uint8Array(2 << 20);
    for (const decoder of [await source.createDecoder(), await createDecoder(structuredClone(source.worker.options))]) {
      for (const { offset, content } of pieces) {
        const { id, pack = "", originalLength, form } = content;
        const plain = decoder.decode(
          await source.readRange(pack, content.offset, content.length, { into: new Uint8Array(content.length) }),
          { id, pack, originalLength, form },
          scratch,
        );
        expect(Buffer.compare(plain, data.subarray(offset, offset + originalLength))).toBe(0);
        expect(decoder.isGenuine(plain, id)).toBe(true);
        expect(decoder.isGenuine(plain.subarray(1), id)).toBe(false);
      }
    }
    expect(source.bytesFetched).toBeGreaterThan(0);
  });

  it("a pack that has gone is named, and asked for again for none of its other contents", async () => {
    writeFileSync(join(root, "large"), patternBytes(4 << 20));
    const { source, storage, rootEntry } = await stored();
    let large: RestoreEntry<ObjectId | undefined> | undefined;
    for await (const batch of source.list(rootEntry).batches()) large = batch[0];
    if (large === undefined) throw new Error("missing");
    const pieces = await piecesOf(source.pieces(large));
    const pack = pieces[0]?.content.pack ?? "";
    await storage.delete(pack);
    const said = `its pack "${pack}" is missing`;
    for (const { content } of pieces.slice(0, 2)) await expect(source.readContent(content)).rejects.toThrow(said);
    const list = storage.list.bind(storage);
    let lists = 0;
    storage.list = (prefix, signal) => {
      lists++;
      return list(prefix, signal);
    };
    for (const { content } of pieces.slice(2)) await expect(source.readContent(content)).rejects.toThrow(said);
    expect(lists).toBe(0);
  });
});
