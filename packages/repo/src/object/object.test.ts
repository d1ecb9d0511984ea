import { concat, hasCode, utf8 } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FixedSplitter, MarkerSplitter, memoryObjects, SMALL } from "../testing/memory-objects.ts";
import type { Chunk } from "./chunk-list.ts";
import { EntryDocument } from "./entry-document.ts";
import { encodeIndirectList } from "./indirect-list.ts";
import { type ObjectId, parseObjectId } from "./object-id.ts";
import { ObjectWriter, type ObjectWriterOptions } from "./object-writer.ts";

const random = seededRandom(7);

async function write(objects: ReturnType<typeof memoryObjects>, parts: readonly (Uint8Array | number)[], options: ObjectWriterOptions = {}) {
  const writer = new ObjectWriter(objects.context, { splitter: SMALL, ...options });
  for (const part of parts) {
    if (typeof part === "number") await writer.writeZeros(part);
    else await writer.write(part);
  }
  return await writer.finish();
}

async function chunksOf(objects: ReturnType<typeof memoryObjects>, id: ObjectId) {
  const chunks: Chunk[] = [];
  for await (const chunk of objects.reader.chunks(id)) chunks.push(chunk);
  return chunks;
}

describe("object ids", () => {
  it.each([
    ["3b28ff", { indirection: 0, compressed: false, contentId: "3b28ff" }],
    ["k18c2", { indirection: 0, compressed: false, contentId: "k18c2" }],
    ["IIx5da1", { indirection: 2, compressed: false, contentId: "x5da1" }],
    ["Z00ff", { indirection: 0, compressed: true, contentId: "00ff" }],
    ["D00ff", { indirection: 0, compressed: false, contentId: "00ff" }],
  ])("%s is read", (text, wanted) => expect(parseObjectId(text)).toEqual(wanted));

  it.each(["", "I", "IZ00ff", "xyz", "a", "kk00", "00FF", "../etc"])("%j is refused", (text) => {
    expect(() => parseObjectId(text)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
  });
});

describe("writing and reading objects", () => {
  it("an empty object is one empty content", async () => {
    const objects = memoryObjects();
    const { objectId, length } = await write(objects, []);
    expect(length).toBe(0);
    expect(objects.contents.writes).toHaveLength(1);
    expect(await objects.reader.read(objectId, 10)).toHaveLength(0);
  });

  it("one chunk needs no list", async () => {
    const objects = memoryObjects();
    const { objectId } = await write(objects, [utf8("hello")], { prefix: "k" });
    expect(objectId).toMatch(/^k[0-9a-f]{32}$/);
  });

  it("several chunks are joined by a list under x, compressed as metadata", async () => {
    const objects = memoryObjects(() => new FixedSplitter(200));
    const data = random.bytes(450);
    const { objectId, length } = await write(objects, [data]);
    expect(length).toBe(450);
    expect(objectId).toMatch(/^Ix/);
    expect(objects.contents.writes.at(-1)?.compressor).toBe("zstd-fastest");
    expect(await objects.reader.read(objectId, 1000)).toEqual(Buffer.from(data));
    const open = await objects.reader.open(objectId);
    expect(open.length).toBe(450);
    expect(await open.read(195, 10)).toEqual(data.slice(195, 205));
    expect(await open.read(445, 100)).toEqual(data.slice(445));
  });

  it("a list that is itself cut becomes a list of lists", async () => {
    const objects = memoryObjects(() => new FixedSplitter(100));
    const data = random.bytes(2_000);
    const { objectId } = await write(objects, [data]);
    expect(objectId).toMatch(/^II+x/);
    expect(await objects.reader.read(objectId, 10_000)).toEqual(Buffer.from(data));
    expect(await objects.reader.length(objectId)).toBe(2_000);
  });

  it("a chunk boundary at the very end leaves no empty chunk", async () => {
    const objects = memoryObjects(() => new FixedSplitter(100));
    const { objectId } = await write(objects, [random.bytes(200)]);
    const chunks = await chunksOf(objects, objectId);
    expect(chunks.map((chunk) => chunk.length)).toEqual([100, 100]);
  });

  it("parts restart the splitter, and a file that fills its parts ends in an empty chunk", async () => {
    const objects = memoryObjects(() => new FixedSplitter(40));
    const { objectId } = await write(objects, [random.bytes(170), random.bytes(30)], { partBytes: 100 });
    const chunks = await chunksOf(objects, objectId);
    expect(chunks.map((chunk) => chunk.length)).toEqual([40, 40, 20, 40, 40, 20, 0]);
  });

  it("zeros written as zeros give the same object as zeros written as bytes, wherever they lie", async () => {
    const piece = fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 200 }));
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), fc.boolean(), async (parts, inParts) => {
        const options = inParts ? { partBytes: 64 } : {};
        const plain = await write(
          memoryObjects(() => new MarkerSplitter(8, 32)),
          [concat(parts.map((part) => (typeof part === "number" ? new Uint8Array(part) : part)))],
          options,
        );
        const mixed = await write(
          memoryObjects(() => new MarkerSplitter(8, 32)),
          parts,
          options,
        );
        expect(mixed).toEqual(plain);
      }),
      { numRuns: 300 },
    );
  });

  it("cuts do not depend on how the bytes arrive", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), async (data, steps) => {
        const whole = await write(
          memoryObjects(() => new MarkerSplitter(8, 32)),
          [data],
        );
        const pieces: Uint8Array[] = [];
        for (let at = 0, step = 0; at < data.length; step++) {
          const length = steps[step % steps.length] ?? 1;
          pieces.push(data.subarray(at, at + length));
          at += length;
        }
        expect(
          await write(
            memoryObjects(() => new MarkerSplitter(8, 32)),
            pieces,
          ),
        ).toEqual(whole);
      }),
    );
  });

  it("a checkpoint holds what was written so far and does not disturb the stream", async () => {
    const objects = memoryObjects(() => new FixedSplitter(100));
    const data = random.bytes(450);
    const writer = new ObjectWriter(objects.context, { splitter: SMALL });
    await writer.write(data.subarray(0, 250));
    const checkpoint = await writer.checkpoint(utf8("tail"));
    await writer.write(data.subarray(250));
    const { objectId } = await writer.finish();
    expect(await objects.reader.read(checkpoint.objectId, 1000)).toEqual(Buffer.concat([data.subarray(0, 250), utf8("tail")]));
    expect(objectId).toBe((await write(objects, [data])).objectId);
  });
});

describe("damaged objects", () => {
  it("a content that is lost is named", async () => {
    const objects = memoryObjects(() => new FixedSplitter(100));
    const { objectId } = await write(objects, [random.bytes(250)]);
    const lost = objects.contents.writes[1]?.id;
    if (lost !== undefined) objects.contents.lose(lost);
    await expect(objects.reader.read(objectId, 1000)).rejects.toThrow(`"${lost}"`);
  });

  it("a chunk that is shorter than its list says is an error, not a shorter object", async () => {
    const objects = memoryObjects(() => new FixedSplitter(100));
    const { objectId } = await write(objects, [random.bytes(250)]);
    const id = objects.contents.writes[0]?.id;
    if (id !== undefined) objects.contents.replace(id, random.bytes(99));
    await expect(objects.reader.read(objectId, 1000)).rejects.toThrow("it has 99 bytes, 100 were wanted");
  });

  it.each([
    ['{"stream":"kopia:other","entries":[]}', "stream type"],
    ['{"stream":"kopia:indirect","entries":{}}', "not a list"],
    ['{"stream":"kopia:indirect","entries":[{"l":1}]}', "not an entry"],
    ['{"stream":"kopia:indirect","entries":[{"s":5,"l":1,"o":"00"}]}', "an entry starts at 5, 0 was wanted"],
    ['{"stream":"kopia:indirect","entries":[{"l":-1,"o":"00"}]}', "not an entry"],
    ["[]", "not a JSON object"],
    ["", "JSON"],
  ])("the list %j is refused", async (text, message) => {
    const objects = memoryObjects();
    const { objectId } = await write(objects, [utf8(text)], { prefix: "x" });
    await expect(objects.reader.read(`I${objectId}` as ObjectId, 1000)).rejects.toThrow(message);
  });

  it("every prefix and every flipped byte of a list gives a right answer or a typed error", async () => {
    const chunks = [
      { offset: 0, length: 3, objectId: "aa" as ObjectId },
      { offset: 3, length: 4, objectId: "bb" as ObjectId },
    ];
    const text = concat([...encodeIndirectList(chunks)]);
    const variants = [
      ...Array.from(text, (_, index) => text.slice(0, index)),
      ...Array.from(text, (byte, index) => {
        const copy = text.slice();
        copy[index] = byte ^ 0x04;
        return copy;
      }),
    ];
    for (const variant of variants) {
      const objects = memoryObjects();
      const { objectId } = await write(objects, [variant], { prefix: "x" });
      await objects.reader
        .length(`I${objectId}` as ObjectId)
        .catch((error: unknown) => expect(hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND")).toBe(true));
    }
  });
});

describe("EntryDocument", () => {
  async function readInPieces(text: string, pieceBytes: number) {
    const bytes = utf8(text);
    async function* pieces() {
      for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
    }
    const document = new EntryDocument(pieces(), "t", "the document");
    const entries: unknown[] = [];
    for await (const batch of document.batches()) entries.push(...batch);
    return { entries, members: document.members };
  }

  it("gives the same in any pieces", async () => {
    const json = fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(json, fc.jsonValue(), fc.integer({ min: 1, max: 40 }), async (entries, other, pieceBytes) => {
        const text = `{"before":${JSON.stringify(other)},"stream":"t","entries":${JSON.stringify(entries)},"after":{"entries":[1]}}\n`;
        const read = await readInPieces(text, pieceBytes);
        expect(read.entries).toEqual(JSON.parse(JSON.stringify(entries)));
        expect(read.members["after"]).toEqual({ entries: [1] });
        expect(read.members["before"]).toEqual(JSON.parse(JSON.stringify(other)));
      }),
    );
  });

  it.each(['{"stream":"t","entries":[1,2', '{"stream":"t","entries":[1,,2]}', '{"stream":"t","entries":[1]', '{"stream":"t","entries":[1 2]}'])(
    "%j is refused in pieces too",
    async (text) => {
      await expect(readInPieces(text, 4)).rejects.toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
    },
  );
});
