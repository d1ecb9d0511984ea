import { utf8 } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { describe, expect, it } from "vitest";
import type { ContentInfo } from "../content-port.ts";
import { decodeIndex } from "../index-blobs/index-codec.ts";
import { newTestRepository } from "../testing/open-repository.ts";
import type { Contents } from "./contents.ts";
import { decodePostamble, openPackTail } from "./pack-layout.ts";

/** Six data and two parity shards for what is short, 128 and 4 for what is not. */
const blockFormat = { eccOverheadPercent: 10 };

async function namesOf(storage: BlobStorage, prefix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}

/** Flips a byte at each of these offsets of a blob. */
async function damage(storage: BlobStorage, blobId: string, offsets: readonly number[]): Promise<void> {
  const bytes = (await storage.get(blobId)).slice();
  for (const at of offsets) bytes[at] = (bytes[at] ?? 0) ^ 0x55;
  await storage.put(blobId, bytes);
}
function infoOf(contents: Contents, id: ContentInfo["id"]): ContentInfo {
  const info = contents.info(id);
  if (info === undefined) throw new Error("no such content");
  return info;
}

describe("a repository with error correction", () => {
  it("reads contents through damage up to its parity, and counts what it put right", async () => {
    const repository = await newTestRepository({ blockFormat });
    const writer = await repository.open();
    const long = new Uint8Array(300_000).map((_, i) => i % 251);
    const { id } = await writer.write(long);
    const { id: shortId } = await writer.write(utf8("short"), { prefix: "k" });
    await writer.flush();
    for (const [content, plain] of [
      [infoOf(writer, id), long],
      [infoOf(writer, shortId), utf8("short")],
    ] as const) {
      await damage(repository.storage, content.packBlobId, [
        content.packOffset + Math.floor(content.packedLength / 2),
        content.packOffset + content.packedLength - 1,
      ]);
      const reader = await repository.open({ readOnly: true });
      expect(await reader.get(content.id)).toEqual(plain);
      expect(reader.repairedShards).toBe(2);
    }
  });

  it("refuses a content that is damaged further, naming it and its pack", async () => {
    const repository = await newTestRepository({ blockFormat });
    const writer = await repository.open();
    const { id } = await writer.write(new Uint8Array(300_000).fill(7));
    await writer.flush();
    const { packBlobId, packOffset, packedLength } = infoOf(writer, id);
    await damage(
      repository.storage,
      packBlobId,
      Array.from({ length: 200 }, (_, i) => packOffset + packedLength - 1 - i * 10),
    );
    const reader = await repository.open({ readOnly: true });
    await expect(reader.get(id)).rejects.toMatchObject({
      code: "REPO_CORRUPT",
      message: expect.stringMatching(new RegExp(`content "${id}" in pack "${packBlobId}": Cannot correct errors: \\d+ of 128 data shards`)),
    });
  });

  it("protects index blobs, session markers and the index in each pack as well", async () => {
    const repository = await newTestRepository({ blockFormat });
    const writer = await repository.open();
    const { id } = await writer.write(utf8("precious"));
    await writer.flush();
    const [index = ""] = await namesOf(repository.storage, "xn");
    const length = (await repository.storage.get(index)).length;
    await damage(repository.storage, index, [length - 1, 40]);
    const reader = await repository.open();
    expect(await reader.get(id)).toEqual(utf8("precious"));

    const { packBlobId } = infoOf(reader, id);
    const { offset } = decodePostamble(await repository.storage.get(packBlobId));
    await damage(repository.storage, packBlobId, [offset + 60]);
    const pack = await repository.storage.get(packBlobId);
    expect(decodeIndex(openPackTail(reader.codec, pack, pack.length)).entryCount).toBe(1);

    const marker = reader.codec.sealBlob("s", utf8("{}"), "s00");
    const flipped = marker.data.slice();
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    expect(reader.codec.openBlob(marker.id, flipped)).toEqual(utf8("{}"));
  });

  it("is what a format says that names one and gives it room", async () => {
    const plain = await (await newTestRepository({ blockFormat: { ecc: "REED-SOLOMON-CRC32" } })).open();
    expect([plain.format.block.ecc, plain.codec.sealedLength(100)]).toEqual(["", 128]);
    const corrected = await (await newTestRepository({ blockFormat })).open();
    expect(corrected.format.block).toMatchObject({ ecc: "REED-SOLOMON-CRC32", eccOverheadPercent: 10 });
    expect(corrected.codec.sealedLength(100)).toBe(8 * (4 + 22));
  });
});
