/**
 * What blocks of a snapshot's image look like, kept beyond the snapshot itself: so a later snapshot can be told from one that is gone, as storages with changed block tracking do it.
 *
 *   <folder>/checksums/<snapshot id>      16 bytes a block: zeros for a block of zeros, else the beginning of its SHA-256
 */
import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type RandomSource, randomHex } from "@drayage/base";

export const CHECKSUM_BLOCK_BYTES = 65_536;
const CHECKSUM_BYTES = 16;
/** Of one storage: the oldest go. 1 MiB of them stand for 4 GiB. */
const KEPT_MAX = 64;

export class BlockChecksums {
  readonly #folder: string;
  readonly #random: RandomSource;

  constructor(storageFolder: string, random: RandomSource) {
    this.#folder = join(storageFolder, "checksums");
    this.#random = random;
  }

  /** Those that are kept; undefined when there are none. */
  async find(snapshotId: string): Promise<Buffer | undefined> {
    return await readFile(join(this.#folder, snapshotId)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
  }

  /** Those of an image, made when they are not kept yet. */
  async of(snapshotId: string, image: string, signal: AbortSignal): Promise<Buffer> {
    const kept = await this.find(snapshotId);
    if (kept !== undefined) return kept;
    const made = await checksumsOf(image, signal);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const aside = join(this.#folder, `.${randomHex(this.#random, 8)}`);
    await writeFile(aside, made, { mode: 0o600 });
    await rename(aside, join(this.#folder, snapshotId));
    await this.#dropOldest();
    return made;
  }

  async #dropOldest(): Promise<void> {
    const names = await readdir(this.#folder);
    if (names.length <= KEPT_MAX) return;
    const ages = await Promise.all(names.map(async (name) => ({ name, ms: (await stat(join(this.#folder, name)).catch(() => undefined))?.mtimeMs ?? 0 })));
    for (const { name } of ages.sort((a, b) => a.ms - b.ms).slice(0, names.length - KEPT_MAX)) await rm(join(this.#folder, name), { force: true });
  }
}

/** Blocks at which two images differ; with none to compare with, those that are not zeros. Blocks beyond the end of the other differ. */
export function* differingBlocks(target: Buffer, base: Buffer | undefined): Generator<number> {
  for (let at = 0; at < target.length; at += CHECKSUM_BYTES) {
    const own = target.subarray(at, at + CHECKSUM_BYTES);
    const other = base?.subarray(at, at + CHECKSUM_BYTES);
    if (base === undefined ? own.some((byte) => byte !== 0) : other?.equals(own) !== true) yield at / CHECKSUM_BYTES;
  }
}

async function checksumsOf(image: string, signal: AbortSignal): Promise<Buffer> {
  const file = await open(image);
  try {
    const { size } = await file.stat();
    const checksums = Buffer.alloc(Math.ceil(size / CHECKSUM_BLOCK_BYTES) * CHECKSUM_BYTES);
    const zeros = Buffer.alloc(CHECKSUM_BLOCK_BYTES);
    const block = Buffer.alloc(CHECKSUM_BLOCK_BYTES);
    for (let at = 0, i = 0; at < size; at += CHECKSUM_BLOCK_BYTES, i += CHECKSUM_BYTES) {
      signal.throwIfAborted();
      const { bytesRead } = await file.read(block, 0, CHECKSUM_BLOCK_BYTES, at);
      const data = block.subarray(0, bytesRead);
      if (data.compare(zeros, 0, bytesRead) !== 0) createHash("sha256").update(data).digest().copy(checksums, i, 0, CHECKSUM_BYTES);
    }
    return checksums;
  } finally {
    await file.close();
  }
}
