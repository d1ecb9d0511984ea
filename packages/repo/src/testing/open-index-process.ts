/**
 * A process of its own that opens an index again and again over a shared folder of runs, and checks what it says. Told by its arguments:
 * a folder of sealed index blobs, the folder of runs, how often, a seed. Prints what it found in the end; the test compares.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom, toHex, utf8 } from "@drayage/base";
import { MemoryStorage } from "@drayage/blob/testing";
import { createKernels } from "@drayage/kernels";
import { CommittedIndex } from "../content/committed-index.ts";
import { ContentCodec } from "../content/content-codec.ts";
import { ContentSealer } from "../content/content-sealer.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";

/** The codec of tests that need no repository around it. */
export async function testCodec(): Promise<ContentCodec> {
  const kernels = await createKernels({ random: systemRandom });
  const hasher = await kernels.hasher("BLAKE2B-256-128", utf8("secret of the tests"));
  return new ContentCodec(hasher, new ContentSealer(kernels.encryptor("AES256-GCM-HMAC-SHA256", new Uint8Array(32)), undefined), kernels, true);
}

async function main(blobFolder: string, runFolder: string, times: number): Promise<void> {
  const storage = new MemoryStorage();
  for (const id of readdirSync(blobFolder)) await storage.put(id, readFileSync(join(blobFolder, id)));
  const blobs = readdirSync(blobFolder).map((id) => ({ id, length: statSync(join(blobFolder, id)).size, timestampMs: 0 }));
  const codec = await testCodec();
  const found = new Set<string>();
  for (let i = 0; i < times; i++) {
    const index = new CommittedIndex({
      ...{ storage, codec, clock: systemClock, random: systemRandom, logger: nullLogger, cache: { folder: runFolder } },
      blobs: { active: () => Promise.resolve({ blobs, deletionWatermark: 0 }), write: () => Promise.reject(new Error("nothing is written here")) },
      limits: { inMemoryBytes: 2000, streamedFromBytes: 8000, pieceBytes: 1000 },
    });
    await index.refresh();
    const entries = [...mergeEntries(index.indexes())];
    if (!entries.every(({ key }) => index.find(key) !== undefined)) throw new Error("an entry that is listed is not found");
    found.add(entries.map(({ key, packBlobId }) => `${toHex(key)} ${packBlobId}`).join("\n"));
    index.close();
  }
  process.stdout.write(JSON.stringify([...found]));
}

if (import.meta.main) {
  const [blobFolder = "", runFolder = "", times = "1"] = process.argv.slice(2);
  await main(blobFolder, runFolder, Number(times));
}
