/**
 * A process of its own that reads blobs again and again through a folder of copies, damages some, and checks what it gets. Told by its arguments: the folder of blobs,
 * the folder of copies, how often, a seed, the bound in bytes. Prints how many answers were wrong, and the most that lay in the folder.
 */
import { appendFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { openFilesystemStorage } from "../filesystem/filesystem-storage.ts";
import { BlobCache } from "../wrappers/blob-cache.ts";
import { CachedStorage } from "../wrappers/cached-storage.ts";

async function main(blobFolder: string, copies: string, times: number, seed: number, bytesMax: number): Promise<void> {
  const inner = await openFilesystemStorage({ path: blobFolder, create: false, random: systemRandom });
  const cache = new BlobCache({ folder: copies, store: "one", bytesMax, clock: systemClock, random: systemRandom, logger: nullLogger });
  const storage = new CachedStorage(inner, cache, () => true);
  const ids: string[] = [];
  for await (const { id } of inner.list("q")) ids.push(id);
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random.fraction() * count);
  let wrong = 0;
  let most = 0;
  for (let i = 0; i < times; i++) {
    const id = ids[below(ids.length)] ?? "";
    const range = { offset: 1000 * below(4), length: 1000 };
    if (!equal(await storage.get(id, range), await inner.get(id, range))) wrong++;
    if (i % 17 === 0) damageOne(copies, below);
    if (i % 29 === 0) cache.forget(id);
    if (i % 40 === 0) most = Math.max(most, cache.use().bytesOfAll);
  }
  process.stdout.write(JSON.stringify({ wrong, most, ...cache.lookups }));
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function damageOne(folder: string, below: (count: number) => number): void {
  try {
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(folder, name)).isFile());
    const chosen = files[below(files.length)];
    if (chosen !== undefined) appendFileSync(join(folder, chosen), "x", { flag: "r+" });
  } catch {
    // The other process removed it meanwhile.
  }
}

if (import.meta.main) {
  const [blobFolder = "", copies = "", times = "1", seed = "1", bytesMax = "0"] = process.argv.slice(2);
  await main(blobFolder, copies, Number(times), Number(seed), Number(bytesMax));
}
