import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { GetBlobOptions } from "@drayage/blob";
import { MemoryStorage } from "@drayage/blob/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PackReader } from "./pack-reader.ts";

const KIB = 1 << 10;
const MIB = 1 << 20;
const PACK = "q0-s0";
const PACK_BYTES = 3 * MIB + 5;
const pack = seededRandom(1).bytes(PACK_BYTES);

class ListeningStorage extends MemoryStorage {
  readonly asked: string[] = [];

  override async get(id: string, options: GetBlobOptions = {}): Promise<Uint8Array> {
    this.asked.push(`${options.offset}+${options.length}`);
    return await super.get(id, options);
  }

  override async head(id: string): ReturnType<MemoryStorage["head"]> {
    this.asked.push("length");
    return await super.head(id);
  }
}

async function readerOf(cacheBytesMax = 4 * MIB): Promise<{ reader: PackReader; storage: ListeningStorage }> {
  const storage = new ListeningStorage(new VirtualClock());
  await storage.put(PACK, pack);
  return { reader: new PackReader(storage, cacheBytesMax), storage };
}

const at = (packOffset: number, packedLength: number) => ({ packBlobId: PACK, packOffset, packedLength });

describe("a reader of packs", () => {
  it("fetches one block for neighbours", async () => {
    const { reader, storage } = await readerOf();
    for (const offset of [MIB + 7, MIB + 900, 2 * MIB - 100]) expect(await reader.read(at(offset, 100))).toEqual(pack.slice(offset, offset + 100));
    expect(storage.asked).toEqual(["length", `${MIB}+${MIB}`]);
    expect(reader.bytesFetched).toBe(MIB);
  });

  it("fetches nothing around what is wanted alone, and that once", async () => {
    const { reader, storage } = await readerOf();
    for (let time = 0; time < 2; time++) expect(await reader.read(at(1000, 70), undefined, { aroundBytes: 0 })).toEqual(pack.slice(1000, 1070));
    expect(storage.asked).toEqual(["1000+70"]);
    expect(reader.bytesFetched).toBe(70);
  });

  it("fetches about as much around as is expected to be wanted", async () => {
    const { reader, storage } = await readerOf();
    const options = { aroundBytes: 50 * KIB };
    for (const offset of [10, 60 * KIB, 3 * MIB]) expect(await reader.read(at(offset, 5), undefined, options)).toEqual(pack.slice(offset, offset + 5));
    // The block that a content crosses is not worth two of them.
    await reader.read(at(60 * KIB, 40 * KIB), undefined, options);
    expect(storage.asked).toEqual(["length", `0+${64 * KIB}`, `${3 * MIB}+5`, `${60 * KIB}+${40 * KIB}`]);
  });

  it("gives the bytes of any content whatever is expected, and keeps no more than it may", async () => {
    const content = fc.tuple(fc.nat(PACK_BYTES - 1), fc.integer({ min: 1, max: 600 * KIB }), fc.constantFrom(undefined, 0, 1, 20 * KIB, 300 * KIB, 9 * MIB));
    await fc.assert(
      fc.asyncProperty(fc.array(content, { maxLength: 12 }), async (contents) => {
        const { reader } = await readerOf(MIB + 100 * KIB);
        for (const [offset, lengthMax, aroundBytes] of contents) {
          const length = Math.min(lengthMax, PACK_BYTES - offset);
          const bytes = await reader.read(at(offset, length), undefined, aroundBytes === undefined ? {} : { aroundBytes });
          expect(Buffer.compare(bytes, pack.subarray(offset, offset + length))).toBe(0);
          expect(reader.keptBytes).toBeLessThanOrEqual(MIB + 100 * KIB);
        }
      }),
      { numRuns: 40 },
    );
  });

  it("tells a pack that ends too early from one that is gone", async () => {
    const { reader } = await readerOf();
    for (const aroundBytes of [0, MIB]) {
      await expect(reader.read(at(PACK_BYTES - 1, 2), undefined, { aroundBytes })).rejects.toMatchObject({ code: "REPO_CORRUPT" });
      await expect(reader.read({ ...at(0, 2), packBlobId: "q1" }, undefined, { aroundBytes })).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    }
    expect(reader.keptBytes).toBeLessThanOrEqual(MIB);
  });
});
