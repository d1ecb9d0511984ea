/**
 * Answers of a store, kept in a folder of this machine: one folder a store, one a blob, one file an answer. Any number of processes use it at once, without locks:
 *
 *   <store>/<blob id>/<offset>-<length>   the bytes of a range, then a digest of 32 bytes over the name and the bytes
 *   <store>/<blob id>/all                 those of the whole blob
 *   <store>/<blob id>/head                length and time, as text
 *   <store>/<random>.tmp                  in the making; renamed when whole
 *
 * A file is never changed once it has its name. One that is cut off, damaged or under another's name is told by its digest, removed, and fetched again. Files whose use lies
 * furthest back go first when all together take more than `bytesMax`. Nothing here is worth a failed command: what cannot be kept is not kept.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, rmdirSync, statSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Clock, equalBytes, errorFields, isOursAlone, type Logger, makeFolders, type RandomSource, randomHex } from "@drayage/base";

export interface BlobCacheOptions {
  /** Of all stores; made where it is missing, and not used where others may write to it. */
  readonly folder: string;
  /** Which store: a hash of it names the folder. */
  readonly store: string;
  /** Of all stores together, in bytes. @default 512 MiB */
  readonly bytesMax?: number | undefined;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

export interface BlobCacheUse {
  readonly folder: string;
  /** Bytes of files, of this store and of all. */
  readonly bytes: number;
  readonly bytesOfAll: number;
  readonly bytesMax: number;
}

export const DEFAULT_BLOB_CACHE_BYTES: number = 512 << 20;
const DIGEST_BYTES = 32;
/** Between two looks at what others have stored, as a share of the limit. */
const LOOK_EVERY_SHARE = 1 / 32;
/** Above this share of the limit room is made: four processes that fill the folder at once then stay within it until each looks again. */
const FULL_SHARE = 1 - 4 * LOOK_EVERY_SHARE;
/** So much is left then: making room for each file by itself would list the folder each time. */
const LEFT_SHARE = 0.75;
/** How exactly the last use is known. */
const TOUCH_AFTER_MS = 60_000;
/** A file in the making that is older was left by a process that was killed. */
const ABANDONED_AFTER_MS = 3_600_000;
const TEMPORARY = /^[0-9a-f]{16}\.tmp$/;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/;

interface StoredFile {
  readonly path: string;
  readonly length: number;
  readonly usedMs: number;
  readonly isTemporary: boolean;
}

export class BlobCache {
  readonly #options: BlobCacheOptions;
  readonly #bytesMax: number;
  readonly #store: string;
  /** Undefined when nothing is kept. */
  #folder: string | undefined;
  /** Stored by this process since it last looked at the folder; undefined before it did. */
  #storedBytes: number | undefined;
  #hits = 0;
  #misses = 0;

  constructor(options: BlobCacheOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? DEFAULT_BLOB_CACHE_BYTES;
    this.#store = createHash("sha256").update(options.store).digest("hex").slice(0, 32);
    this.#folder = this.#bytesMax === 0 ? undefined : this.#usable(join(options.folder, this.#store));
  }

  /** Answers that were here, and those that were not. */
  get lookups(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  /** A kept answer; undefined where there is none, or none that is whole. */
  load(blobId: string, name: string): Uint8Array<ArrayBuffer> | undefined {
    const path = this.#pathOf(blobId, name);
    if (path === undefined) return undefined;
    let bytes: Buffer<ArrayBuffer>;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if (!isMissing(error)) this.#warn("Cannot read the local copy of a blob", path, error);
      this.#misses++;
      return undefined;
    }
    const end = bytes.length - DIGEST_BYTES;
    if (end < 0 || !equalBytes(bytes.subarray(end), digestOf(blobId, name, bytes.subarray(0, end)))) {
      this.#options.logger.warn("Fetching a blob again, its local copy was damaged", { path });
      remove(path);
      this.#misses++;
      return undefined;
    }
    this.#touch(path);
    this.#hits++;
    return new Uint8Array(bytes.buffer, bytes.byteOffset, end);
  }

  /** Keeps an answer. Does nothing where it cannot. */
  store(blobId: string, name: string, bytes: Uint8Array): void {
    const path = this.#pathOf(blobId, name);
    if (path === undefined || this.#folder === undefined || bytes.length + DIGEST_BYTES > this.#bytesMax / 2) return;
    const temporary = join(this.#folder, `${randomHex(this.#options.random, 8)}.tmp`);
    try {
      writeFileSync(temporary, bytes, { flag: "wx", mode: 0o600 });
      writeFileSync(temporary, digestOf(blobId, name, bytes), { flag: "a" });
      this.#touch(temporary);
      makeFolders(dirname(path), 0o700);
      renameSync(temporary, path);
    } catch (error) {
      remove(temporary);
      // A sweep of another process may have taken the blob's folder in between.
      if (!isMissing(error)) this.#stop(error);
      return;
    }
    this.#makeRoom(bytes.length + DIGEST_BYTES);
  }

  /** Forgets a blob, which was replaced or deleted, or whose bytes did not prove right. */
  forget(blobId: string): void {
    if (this.#folder === undefined || !ID.test(blobId)) return;
    const folder = join(this.#folder, blobId);
    for (const name of list(folder)) remove(join(folder, name));
    removeEmpty(folder);
  }

  /** What is on the disk. */
  use(): BlobCacheUse {
    const { folder } = this.#options;
    const files = this.#folder === undefined ? [] : this.#files();
    const own = `${join(folder, this.#store)}/`;
    const sum = (some: readonly StoredFile[]): number => some.reduce((total, { length }) => total + length, 0);
    return { folder, bytes: sum(files.filter(({ path }) => path.startsWith(own))), bytesOfAll: sum(files), bytesMax: this.#bytesMax };
  }

  /** Removes the files whose use lies furthest back, once there is too much. Other processes may do so at the same time. */
  #makeRoom(added: number): void {
    if (this.#storedBytes !== undefined && this.#storedBytes + added < this.#bytesMax * LOOK_EVERY_SHARE) {
      this.#storedBytes += added;
      return;
    }
    this.#storedBytes = 0;
    const files = this.#files();
    const nowMs = this.#options.clock.nowMs();
    for (const { path, usedMs, isTemporary } of files) if (isTemporary && nowMs - usedMs > ABANDONED_AFTER_MS) remove(path);
    let bytes = files.reduce((total, { length }) => total + length, 0);
    if (bytes <= this.#bytesMax * FULL_SHARE) return;
    for (const file of files.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= this.#bytesMax * LEFT_SHARE) break;
      if (file.isTemporary) continue;
      remove(file.path);
      removeEmpty(dirname(file.path));
      bytes -= file.length;
    }
  }

  #pathOf(blobId: string, name: string): string | undefined {
    return this.#folder === undefined || !ID.test(blobId) ? undefined : join(this.#folder, blobId, name);
  }

  #files(): StoredFile[] {
    const { folder } = this.#options;
    return list(folder).flatMap((store) => {
      const inStore = join(folder, store);
      return list(inStore).flatMap((blob) => {
        const path = join(inStore, blob);
        return TEMPORARY.test(blob) ? statOf(path, true) : list(path).flatMap((name) => statOf(join(path, name), false));
      });
    });
  }

  #touch(path: string): void {
    const nowMs = this.#options.clock.nowMs();
    try {
      if (Math.abs(nowMs - statSync(path).mtimeMs) > TOUCH_AFTER_MS) utimesSync(path, nowMs / 1000, nowMs / 1000);
    } catch {
      // It may have been removed, or belong to a file system without times: it then goes a little earlier.
    }
  }

  /** The folder, made where it is missing; undefined when it is not ours alone to write. */
  #usable(folder: string): string | undefined {
    try {
      makeFolders(folder, 0o700);
      if (isOursAlone(folder)) return folder;
      this.#options.logger.warn("Not keeping blobs between commands: others may write to the folder", { path: folder });
    } catch (error) {
      this.#warn("Not keeping blobs between commands", folder, error);
    }
    return undefined;
  }

  /** A disk that is full or read-only stays so: it is told once. */
  #stop(error: unknown): void {
    this.#warn("Not keeping blobs between commands any longer", this.#folder ?? "", error);
    this.#folder = undefined;
  }

  #warn(message: string, path: string, error: unknown): void {
    this.#options.logger.warn(message, { path, ...errorFields(error) });
  }
}

/** Over the name too, so that a file under another's name is not taken for it. */
function digestOf(blobId: string, name: string, bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(`${blobId}/${name}\n`).update(bytes).digest();
}

function statOf(path: string, isTemporary: boolean): StoredFile[] {
  try {
    const { size, mtimeMs } = statSync(path);
    return [{ path, length: size, usedMs: mtimeMs, isTemporary }];
  } catch {
    // Another process removed it meanwhile.
    return [];
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody was faster.
  }
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // There are more files in it.
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOENT";
}
