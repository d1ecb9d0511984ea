/**
 * Blob storage in a folder, laid out as Kopia's filesystem provider does (`sharding.ts`), so that either program opens the other's repository.
 *
 * Invariants: a blob's file appears by a rename of a complete, flushed file; a name ending in anything but `.f` is not a blob; the root is never created after opening.
 */

import { open, readdir, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { DrayError, isAbort, makeFolders, mapLimit, type RandomSource, systemRandom } from "@drayage/base";
import { blobAlreadyExists, blobNotFound, rangeOf } from "../blob-errors.ts";
import { checkBlobId, isBlobId } from "../blob-id.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import { writeFileAtomically } from "./atomic-write.ts";
import { errnoOf, translateFsError } from "./fs-errors.ts";
import { BLOB_SUFFIX, blobPath, createdSharding, decodeSharding, encodeSharding, legacySharding, SHARDS_FILE, type ShardingRule } from "./sharding.ts";

export interface FilesystemStorageOptions {
  /** The folder; absolute. */
  readonly path: string;
  /** Make the folder if it is missing, and lay out a new repository in today's way rather than the old one. */
  readonly create?: boolean;
  /** Shard sizes of a new repository where they are not the defaults; `[]` keeps every blob in the root. */
  readonly shards?: readonly number[];
  readonly fileMode?: number;
  readonly folderMode?: number;
  readonly random?: RandomSource;
}

/** Opens a folder as blob storage. Throws BLOB_BUCKET_NOT_FOUND when it is not there, BLOB_ACCESS_DENIED, BLOB_BAD_CONFIG. */
export async function openFilesystemStorage(options: FilesystemStorageOptions): Promise<BlobStorage> {
  if (!isAbsolute(options.path)) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open storage folder "${options.path}": the path is relative, an absolute one is wanted`);
  }
  const root = resolve(options.path);
  try {
    if (options.create === true) makeFolders(root, options.folderMode ?? FOLDER_MODE);
    if (!(await stat(root)).isDirectory()) throw new DrayError("BLOB_BAD_CONFIG", `Cannot open storage folder "${root}": it is not a folder`);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") throw folderMissing(root, error);
    throw translateFsError(error, `Cannot open storage folder "${root}"`);
  }
  return new FilesystemStorage(root, options);
}

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** File systems on a network answer a stat in milliseconds; this many at once keeps a listing going. */
const STATS_AT_ONCE = 32;
/** One read call of Node's takes at most 2 GiB; larger reads are made in steps. */
const READ_STEP_BYTES = 1 << 30;

class FilesystemStorage implements BlobStorage {
  readonly description: string;
  readonly capabilities: BlobCapabilities = { putIfAbsent: true, retention: false, isLocal: true };
  readonly #root: string;
  readonly #options: FilesystemStorageOptions;
  #sharding: Promise<ShardingRule> | undefined;

  constructor(root: string, options: FilesystemStorageOptions) {
    this.#root = root;
    this.#options = options;
    this.description = pathToFileURL(root).href;
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    options.signal?.throwIfAborted();
    const path = await this.#path(id);
    return await this.#translated(id, "read", options.signal, async () => {
      const file = await open(path, "r");
      try {
        const { offset, length } = rangeOf(this.description, id, options, (await file.stat()).size);
        const bytes = options.into?.length === length ? options.into : new Uint8Array(length);
        for (let at = 0; at < length; ) {
          options.signal?.throwIfAborted();
          const { bytesRead } = await file.read(bytes, at, Math.min(length - at, READ_STEP_BYTES), offset + at);
          if (bytesRead === 0) throw new DrayError("BLOB_UNAVAILABLE", `Cannot read blob "${id}" of ${this.description}: it became shorter while being read`);
          at += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    });
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    signal?.throwIfAborted();
    const path = await this.#path(id);
    return await this.#translated(id, "read", signal, async () => {
      const { size, mtimeMs } = await stat(path);
      return { id, length: size, timestampMs: Math.floor(mtimeMs) };
    });
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options: PutBlobOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (options.retention !== undefined) throw this.#noRetention();
    const path = await this.#path(id);
    await this.#translated(id, "store", options.signal, async () => {
      await writeFileAtomically(path, data instanceof Uint8Array ? [data] : data, {
        random: this.#options.random ?? systemRandom,
        ifAbsent: options.ifAbsent === true,
        fileMode: this.#options.fileMode ?? FILE_MODE,
        folderMode: this.#options.folderMode ?? FOLDER_MODE,
        root: this.#root,
        pastCache: options.pastCache === true,
        signal: options.signal,
      });
    });
  }

  async delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const path = await this.#path(id);
    try {
      await unlink(path);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw translateFsError(error, `Cannot delete blob "${id}" of ${this.description}`);
      await this.#checkRoot();
    }
  }

  /**
   * Best-first walk: the heap holds files by their id and unread folders by the prefix all their ids share. A folder is read only when nothing smaller is left,
   * so ids come out in byte order whatever the sharding, and only the folders on the way are in memory.
   */
  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const heap = new EntryHeap();
    const readFolder = async (path: string, idPrefix: string): Promise<void> => {
      let entries: { name: string; folder: boolean }[];
      try {
        entries = (await readdir(path, { withFileTypes: true })).map((entry) => ({ name: entry.name, folder: entry.isDirectory() }));
      } catch (error) {
        if (errnoOf(error) !== "ENOENT") throw translateFsError(error, `Cannot list ${this.description}`);
        if (path === this.#root) throw folderMissing(this.#root, error);
        return;
      }
      const wanted = entries.flatMap(({ name, folder }): HeapEntry[] => {
        const id = idPrefix + (folder ? name : name.slice(0, -BLOB_SUFFIX.length));
        // What is not made of an id's characters is not ours (`lost+found`).
        if (!isBlobId(id)) return [];
        if (folder) return id.startsWith(prefix) || prefix.startsWith(id) ? [{ id, path: join(path, name), metadata: undefined }] : [];
        return name.endsWith(BLOB_SUFFIX) && id.startsWith(prefix) ? [{ id, path: join(path, name), metadata: { id, length: -1, timestampMs: 0 } }] : [];
      });
      const known = await mapLimit(wanted, STATS_AT_ONCE, async (entry) => (entry.metadata === undefined ? entry : await withMetadata(entry)), signal);
      for (const entry of known) if (entry !== undefined) heap.push(entry);
    };

    signal?.throwIfAborted();
    await readFolder(this.#root, "");
    for (let next = heap.pop(); next !== undefined; next = heap.pop()) {
      signal?.throwIfAborted();
      if (next.metadata === undefined) await readFolder(next.path, next.id);
      else yield next.metadata;
    }
  }

  extendRetention(_id: BlobId, _retention: BlobRetention): Promise<void> {
    return Promise.reject(this.#noRetention());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #path(id: BlobId): Promise<string> {
    checkBlobId(id);
    this.#sharding ??= this.#loadSharding();
    // A failed load is not remembered: the disk may be back for the next call.
    const rule = await this.#sharding.catch((error: unknown) => {
      this.#sharding = undefined;
      throw error;
    });
    return join(this.#root, ...blobPath(rule, id));
  }

  async #loadSharding(): Promise<ShardingRule> {
    const path = join(this.#root, SHARDS_FILE);
    try {
      return decodeSharding(await readFile(path, "utf8"), path);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw translateFsError(error, `Cannot read "${path}"`);
    }
    await this.#checkRoot();
    const { shards, create } = this.#options;
    const rule = shards !== undefined ? { ...createdSharding, defaultShards: shards } : create === true ? createdSharding : legacySharding;
    try {
      await writeFile(path, encodeSharding(rule), { flag: "wx", mode: this.#options.fileMode ?? FILE_MODE, flush: true });
    } catch (error) {
      if (errnoOf(error) === "EEXIST") return decodeSharding(await readFile(path, "utf8"), path);
      // A storage that may only be read keeps the rule in memory.
      if (translateFsError(error, "").code !== "BLOB_ACCESS_DENIED") throw translateFsError(error, `Cannot write "${path}"`);
    }
    return rule;
  }

  async #translated<T>(id: BlobId, verb: "read" | "store", signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      const errno = errnoOf(error);
      if (errno === "ENOENT") {
        await this.#checkRoot();
        throw blobNotFound(this.description, id, error);
      }
      if (errno === "EEXIST" && verb === "store") throw blobAlreadyExists(this.description, id, error);
      throw translateFsError(error, `Cannot ${verb} blob "${id}" ${verb === "read" ? "of" : "in"} ${this.description}`);
    }
  }

  /** "Not there" means something else when the whole folder has gone (an unmounted disk). */
  async #checkRoot(): Promise<void> {
    try {
      await stat(this.#root);
    } catch (error) {
      throw errnoOf(error) === "ENOENT" ? folderMissing(this.#root, error) : translateFsError(error, `Cannot open storage folder "${this.#root}"`);
    }
  }

  #noRetention(): DrayError {
    return new DrayError("NOT_SUPPORTED", `Cannot lock blobs of ${this.description}: a folder has no object lock`);
  }
}

function folderMissing(root: string, cause: unknown): DrayError {
  return new DrayError("BLOB_BUCKET_NOT_FOUND", `Cannot use storage folder "${root}": it is not there`, {
    cause,
    hint: "Check the path, and that the disk it lies on is mounted.",
  });
}

interface HeapEntry {
  readonly id: string;
  readonly path: string;
  /** Undefined for a folder that is not read yet. */
  readonly metadata: BlobMetadata | undefined;
}

/** The entry with its length and time, or undefined when the blob was deleted meanwhile. */
async function withMetadata(entry: HeapEntry): Promise<HeapEntry | undefined> {
  try {
    const { size, mtimeMs } = await stat(entry.path);
    return { ...entry, metadata: { id: entry.id, length: size, timestampMs: Math.floor(mtimeMs) } };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw translateFsError(error, `Cannot list blob "${entry.id}"`);
  }
}

/** A binary heap by id. Ids are ASCII, so the order of strings is the order of bytes. */
class EntryHeap {
  readonly #entries: HeapEntry[] = [];

  push(entry: HeapEntry): void {
    const entries = this.#entries;
    let at = entries.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (this.#id(above) <= entry.id) break;
      this.#move(above, at);
      at = above;
    }
    entries[at] = entry;
  }

  pop(): HeapEntry | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (last === undefined || entries.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= entries.length) break;
      if (below + 1 < entries.length && this.#id(below + 1) < this.#id(below)) below++;
      if (this.#id(below) >= last.id) break;
      this.#move(below, at);
      at = below;
    }
    entries[at] = last;
    return first;
  }

  #id(at: number): string {
    return this.#entries[at]?.id ?? "";
  }

  #move(from: number, to: number): void {
    const entry = this.#entries[from];
    if (entry !== undefined) this.#entries[to] = entry;
  }
}
