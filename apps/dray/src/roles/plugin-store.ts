/**
 * A plug-in's object store as the store of a backup location: the tarball of a backup and its companions go through it. Movers reach the bucket by themselves, as they do in Velero.
 * Velero's interface tells neither length nor time of an object; nothing of the archive asks for them, so they are 0 in listings.
 */
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackupStorageLocation, LocationSecrets } from "@drayage/api";
import { DrayError, hasCode, messageOf } from "@drayage/base";
import type { ByteRange, ObjectListing, ObjectStore, StoredObject } from "@drayage/blob";
import type { PluginHost, PluginObjectStore } from "@drayage/plugin-host";

/** The store of a location through a plug-in; undefined where no plug-in offers its provider. Throws PLUGIN_FAILED with the plug-in's words when it does not accept the location. */
export async function openPluginStore(
  host: PluginHost,
  { metadata, spec }: BackupStorageLocation,
  secrets: LocationSecrets,
  temporaryFolder: string,
  signal?: AbortSignal,
): Promise<ObjectStore | undefined> {
  const store = host.objectStore(spec.provider);
  if (store === undefined) return undefined;
  const { bucket, prefix = "" } = spec.objectStorage;
  const folder = mkdtempSync(join(temporaryFolder, "location-"));
  const config: Record<string, string> = { ...spec.config, prefix };
  if (secrets.credentialsText !== undefined) {
    // A plug-in is given the path of a file, and reads it when it likes.
    config["credentialsFile"] = join(folder, "credentials");
    writeFileSync(config["credentialsFile"], secrets.credentialsText, { mode: 0o600 });
  }
  const { caCert } = spec.objectStorage;
  const pem = secrets.caCertPem ?? (caCert === undefined ? undefined : Buffer.from(caCert, "base64").toString("utf8"));
  if (pem !== undefined) config["caCert"] = pem;
  try {
    await store.init(bucket, config, signal);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return new PluginStore(store, `plug-in ${store.name}, bucket "${bucket}", location "${metadata.name}"`, prefix, folder);
}

class PluginStore implements ObjectStore {
  readonly description: string;
  readonly #store: PluginObjectStore;
  readonly #prefix: string;
  readonly #folder: string;

  constructor(store: PluginObjectStore, description: string, prefix: string, folder: string) {
    this.#store = store;
    this.description = description;
    const bare = prefix.replace(/^\/+|\/+$/g, "");
    this.#prefix = bare === "" ? "" : `${bare}/`;
    this.#folder = folder;
  }

  async check(signal?: AbortSignal): Promise<void> {
    await this.#store.listCommonPrefixes(this.#prefix, "/", signal);
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of this.#read(key, signal)) parts.push(part);
    return Buffer.concat(parts);
  }

  async getRange(key: string, { offset, length }: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = (await this.get(key, signal)).subarray(offset, offset + length);
    if (bytes.length === length) return bytes;
    throw new DrayError("BLOB_INVALID_RANGE", `Cannot read "${key}": it ends before byte ${offset + length}`);
  }

  async getStream(key: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const parts = this.#read(key, signal);
    // An object that is not there is known with its first part.
    const first = await parts.next();
    return (async function* () {
      if (first.done !== true) yield first.value;
      yield* parts;
    })();
  }

  async head(key: string, signal?: AbortSignal): Promise<StoredObject> {
    if (await this.#store.exists(this.#prefix + key, signal)) return { key, length: 0, timestampMs: 0 };
    throw new DrayError("BLOB_NOT_FOUND", `Cannot find "${key}" in ${this.description}: it is not there`);
  }

  put(key: string, data: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#store.put(
      this.#prefix + key,
      (async function* () {
        yield data;
      })(),
      signal,
    );
  }

  async putFile(key: string, path: string, signal?: AbortSignal): Promise<void> {
    const file = createReadStream(path);
    const pieces = (async function* () {
      try {
        yield* file as AsyncIterable<Uint8Array>;
      } catch (cause) {
        throw new DrayError(hasErrno(cause, "ENOENT") ? "PATH_NOT_FOUND" : "PATH_IO", `Cannot read "${path}": ${messageOf(cause)}`, { cause });
      }
    })();
    try {
      await this.#store.put(this.#prefix + key, pieces, signal);
    } finally {
      file.destroy();
    }
  }

  delete(key: string, signal?: AbortSignal): Promise<void> {
    return this.#store.delete(this.#prefix + key, signal);
  }

  async listLevel(prefix: string, signal?: AbortSignal): Promise<ObjectListing> {
    const from = this.#prefix + prefix;
    const prefixes = await this.#store.listCommonPrefixes(from, "/", signal);
    // What lies on this level is seen only among everything below it.
    const objects: StoredObject[] = [];
    for await (const object of this.listAll(prefix, signal)) if (!object.key.slice(prefix.length).includes("/")) objects.push(object);
    return { objects, prefixes: prefixes.map((found) => this.#relative(found)).sort() };
  }

  async *listAll(prefix: string, signal?: AbortSignal): AsyncGenerator<StoredObject> {
    const keys = await this.#store.listObjects(this.#prefix + prefix, signal);
    for (const key of keys.map((found) => this.#relative(found)).sort()) yield { key, length: 0, timestampMs: 0 };
  }

  signedUrl(key: string, validForMs: number): Promise<string> {
    return this.#store.signedUrl(this.#prefix + key, validForMs);
  }

  close(): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
    return Promise.resolve();
  }

  async *#read(key: string, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#store.get(this.#prefix + key, signal);
    } catch (error) {
      // Velero's interface has no name for this either.
      if (!hasCode(error, "PLUGIN_FAILED") || (await this.#store.exists(this.#prefix + key, signal))) throw error;
      throw new DrayError("BLOB_NOT_FOUND", `Cannot read "${key}" from ${this.description}: it is not there`, { cause: error });
    }
  }

  #relative(key: string): string {
    if (key.startsWith(this.#prefix)) return key.slice(this.#prefix.length);
    throw new DrayError("PLUGIN_FAILED", `Plug-in "${this.#store.name}" has listed "${key}", which is not below "${this.#prefix}"`);
  }
}

function hasErrno(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}
