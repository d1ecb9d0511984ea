/**
 * An object store in a folder: a key is the path of a file below it. For locations of provider `fs` and for tests.
 *
 * Invariants: a file appears by a rename of a complete, flushed file; a folder that holds no object is not a prefix, as in an object store; the root is never created after opening.
 */

import { createReadStream } from "node:fs";
import { open, readdir, readFile, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { compareUtf8, DrayError, isAbort, makeFolders, type RandomSource, systemRandom } from "@drayage/base";
import { objectNotFound, objectRangeMissing } from "../blob-errors.ts";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "../object-store.ts";
import { openSourceFile } from "../source-file.ts";
import { isTemporaryName, writeFileAtomically } from "./atomic-write.ts";
import { errnoOf, translateFsError } from "./fs-errors.ts";

export interface DirectoryStoreOptions {
  /** The folder; absolute. */
  readonly path: string;
  readonly create?: boolean;
  readonly random?: RandomSource;
}

/** Opens a folder as an object store. The folder is looked at when it is used (`check`), except that `create` makes it now. */
export async function openDirectoryStore(options: DirectoryStoreOptions): Promise<ObjectStore> {
  if (!isAbsolute(options.path)) {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open folder "${options.path}": the path is relative, an absolute one is wanted`);
  }
  const root = resolve(options.path);
  if (options.create === true) {
    try {
      makeFolders(root, 0o700);
    } catch (error) {
      throw translateFsError(error, `Cannot make folder "${root}"`);
    }
  }
  return new DirectoryStore(root, options.random ?? systemRandom);
}

class DirectoryStore implements ObjectStore {
  readonly description: string;
  readonly #root: string;
  readonly #random: RandomSource;

  constructor(root: string, random: RandomSource) {
    this.#root = root;
    this.#random = random;
    this.description = pathToFileURL(root).href;
  }

  async check(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    try {
      await readdir(this.#root);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw translateFsError(error, `Cannot use folder "${this.#root}"`);
      throw new DrayError("BLOB_BUCKET_NOT_FOUND", `Cannot use folder "${this.#root}": it is not there`, {
        cause: error,
        hint: "Check the path, and that the disk it lies on is mounted.",
      });
    }
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    return await this.#translated(key, "read", signal, async (path) => await readFile(path, { signal }));
  }

  async getRange(key: string, range: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    return await this.#translated(key, "read", signal, async (path) => {
      const file = await open(path, "r");
      try {
        if (range.offset + range.length > (await file.stat()).size) throw objectRangeMissing(this.description, key, range);
        const bytes = range.into?.length === range.length ? range.into : new Uint8Array(range.length);
        for (let at = 0; at < bytes.length; ) {
          signal?.throwIfAborted();
          const { bytesRead } = await file.read(bytes, at, bytes.length - at, range.offset + at);
          if (bytesRead === 0) throw objectRangeMissing(this.description, key, range);
          at += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    });
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const file = await this.#translated(key, "read", signal, async (path) => {
      const opened = await open(path, "r");
      if ((await opened.stat()).isFile()) return opened;
      await opened.close();
      throw objectNotFound(this.description, key);
    });
    const stream = createReadStream("", { fd: file, ...(signal === undefined ? {} : { signal }) });
    return this.#read(stream, key, signal);
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    return await this.#translated(key, "read", signal, async (path) => {
      const found = await stat(path);
      if (!found.isFile()) throw objectNotFound(this.description, key);
      return { key, length: found.size, timestampMs: Math.floor(found.mtimeMs) };
    });
  }

  async put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#write(key, [data], signal);
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const file = await openSourceFile(path, `Cannot store "${key}" in ${this.description}`);
    try {
      await this.#write(key, file.createReadStream({ autoClose: false }), signal);
    } finally {
      await file.close();
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const path = this.#path(key);
    try {
      await unlink(path);
    } catch (error) {
      if (!["ENOENT", "ENOTDIR", "EISDIR"].includes(errnoOf(error) ?? "")) throw translateFsError(error, `Cannot delete "${key}" of ${this.description}`);
      await this.check(signal);
      return;
    }
    // A prefix without objects does not exist; a folder that is in use again refuses to go.
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder)) {
      try {
        await rmdir(folder);
      } catch {
        return;
      }
    }
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const objects: StoredObject[] = [];
    const prefixes: string[] = [];
    for (const entry of await this.#entries(prefix, signal)) {
      if (entry.folder) {
        if (await this.#holdsObject(entry.key, signal)) prefixes.push(entry.key);
      } else {
        const found = await this.#stat(entry.key);
        if (found !== undefined) objects.push(found);
      }
    }
    return { objects, prefixes };
  }

  /** A folder sorts with its final slash, so depth first is byte order of keys. */
  async *listAll(prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    for (const entry of await this.#entries(prefix, signal)) {
      if (entry.folder) {
        yield* this.listAll(entry.key, signal);
      } else {
        const found = await this.#stat(entry.key);
        if (found !== undefined) yield found;
      }
    }
  }

  /** A `file:` address: it can be read by whoever may read the folder, for as long as the file is there. */
  signedUrl(key: string, _validForMs: number): Promise<string> {
    return Promise.resolve(pathToFileURL(this.#path(key)).href);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async *#read(stream: AsyncIterable<Uint8Array>, key: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    try {
      yield* stream;
    } catch (error) {
      signal?.throwIfAborted();
      throw translateFsError(error, `Cannot read "${key}" of ${this.description}`);
    }
  }

  async #write(key: string, parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const path = this.#path(key);
    try {
      await writeFileAtomically(path, parts, { random: this.#random, fileMode: 0o600, folderMode: 0o700, root: this.#root, signal });
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      if (errnoOf(error) === "ENOENT") await this.check(signal);
      throw translateFsError(error, `Cannot store "${key}" in ${this.description}`);
    }
  }

  async #stat(key: string): Promise<StoredObject | undefined> {
    try {
      const { size, mtimeMs } = await stat(this.#path(key));
      return { key, length: size, timestampMs: Math.floor(mtimeMs) };
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw translateFsError(error, `Cannot list "${key}" of ${this.description}`);
    }
  }

  async #holdsObject(prefix: string, signal: AbortSignal | undefined): Promise<boolean> {
    for (const entry of await this.#entries(prefix, signal)) {
      if (!entry.folder || (await this.#holdsObject(entry.key, signal))) return true;
    }
    return false;
  }

  /** Files and folders directly below a prefix, in byte order of their keys. */
  async #entries(prefix: string, signal: AbortSignal | undefined): Promise<{ readonly key: string; readonly folder: boolean }[]> {
    signal?.throwIfAborted();
    const path = prefix === "" ? this.#root : this.#path(prefix.replace(/\/$/, ""));
    try {
      const entries = await readdir(path, { withFileTypes: true });
      return entries
        .filter((entry) => entry.isDirectory() || (entry.isFile() && !isTemporaryName(entry.name)))
        .map((entry) => ({ key: `${prefix}${entry.name}${entry.isDirectory() ? "/" : ""}`, folder: entry.isDirectory() }))
        .sort((a, b) => compareUtf8(a.key, b.key));
    } catch (error) {
      if (!["ENOENT", "ENOTDIR"].includes(errnoOf(error) ?? "")) throw translateFsError(error, `Cannot list "${prefix}" of ${this.description}`);
      await this.check(signal);
      return [];
    }
  }

  async #translated<T>(key: string, verb: string, signal: AbortSignal | undefined, work: (path: string) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const path = this.#path(key);
    try {
      return await work(path);
    } catch (error) {
      signal?.throwIfAborted();
      if (["ENOENT", "ENOTDIR", "EISDIR"].includes(errnoOf(error) ?? "")) {
        await this.check(signal);
        throw objectNotFound(this.description, key, error);
      }
      throw translateFsError(error, `Cannot ${verb} "${key}" of ${this.description}`);
    }
  }

  #path(key: string): string {
    const segments = key.split("/");
    if (segments.some((segment) => segment === "" || segment === "." || segment === ".." || segment.includes("\0") || isTemporaryName(segment))) {
      throw new DrayError("BLOB_BAD_CONFIG", `Cannot use key ${JSON.stringify(key)} in ${this.description}: every part between slashes must be a file name`);
    }
    return join(this.#root, ...segments);
  }
}
