/** The object store of a plug-in: keys of one bucket. Velero's interface knows neither ranges nor lengths nor times of objects; what can be said without them is here. */
import type { PluginBinary } from "./plugin-host.ts";

/** Bytes of one message of an upload. */
const CHUNK_BYTES = 64 * 1024;
const QUICK_MS = 60_000;
/** Nanoseconds are what Go counts durations in. */
const NANOSECONDS_PER_MS = 1_000_000n;

type Signal = AbortSignal | undefined;

export class PluginObjectStore {
  readonly name: string;
  readonly #binary: PluginBinary;
  #bucket = "";
  #config: Readonly<Record<string, string>> = {};
  /** The process that knows the configuration; another one has to be told. */
  #told: unknown;

  constructor(name: string, binary: PluginBinary) {
    this.name = name;
    this.#binary = binary;
  }

  /** Chooses the bucket and hands the location's settings to the plug-in, which checks them. Throws PLUGIN_FAILED with its words. */
  async init(bucket: string, config: Readonly<Record<string, string>>, signal?: Signal): Promise<void> {
    this.#bucket = bucket;
    this.#config = config;
    this.#told = undefined;
    await this.#process(signal);
  }

  async put(key: string, data: AsyncIterable<Uint8Array>, signal?: Signal): Promise<void> {
    const plugin = await this.#process(signal);
    const { name } = this;
    const bucket = this.#bucket;
    await plugin.send("ObjectStore", "PutObject", messages(), { signal });
    async function* messages(): AsyncGenerator<object> {
      // The first names the object; an empty one has it alone.
      yield { plugin: name, bucket, key, body: new Uint8Array(0) };
      for await (const piece of data)
        for (let at = 0; at < piece.length; at += CHUNK_BYTES) yield { plugin: name, bucket, key, body: piece.subarray(at, at + CHUNK_BYTES) };
    }
  }

  async *get(key: string, signal?: Signal): AsyncGenerator<Uint8Array> {
    const plugin = await this.#process(signal);
    const request = { plugin: this.name, bucket: this.#bucket, key };
    for await (const { data } of plugin.receive<{ data: Uint8Array }>("ObjectStore", "GetObject", request, { signal })) yield data;
  }

  async exists(key: string, signal?: Signal): Promise<boolean> {
    return (await this.#ask<{ exists: boolean }>("ObjectExists", { key }, signal)).exists;
  }

  /** What is between the prefix and the next delimiter, with both. */
  async listCommonPrefixes(prefix: string, delimiter: string, signal?: Signal): Promise<readonly string[]> {
    return (await this.#ask<{ prefixes: string[] }>("ListCommonPrefixes", { prefix, delimiter }, signal)).prefixes;
  }

  async listObjects(prefix: string, signal?: Signal): Promise<readonly string[]> {
    return (await this.#ask<{ keys: string[] }>("ListObjects", { prefix }, signal)).keys;
  }

  async delete(key: string, signal?: Signal): Promise<void> {
    await this.#ask("DeleteObject", { key }, signal);
  }

  async signedUrl(key: string, validForMs: number, signal?: Signal): Promise<string> {
    const ttl = String(BigInt(Math.trunc(validForMs)) * NANOSECONDS_PER_MS);
    return (await this.#ask<{ url: string }>("CreateSignedURL", { key, ttl }, signal)).url;
  }

  async #ask<Response>(method: string, request: object, signal: Signal): Promise<Response> {
    const plugin = await this.#process(signal);
    return plugin.call<Response>("ObjectStore", method, { plugin: this.name, bucket: this.#bucket, ...request }, { timeoutMs: QUICK_MS, signal });
  }

  async #process(signal: Signal) {
    const plugin = await this.#binary.process();
    if (this.#told !== plugin) {
      const config = { bucket: this.#bucket, ...this.#config };
      await plugin.call("ObjectStore", "Init", { plugin: this.name, config }, { timeoutMs: QUICK_MS, signal });
      this.#told = plugin;
    }
    return plugin;
  }
}
