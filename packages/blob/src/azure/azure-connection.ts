/**
 * One container behind Azure's SDK: what the blob storage and the object store share. The SDK is loaded when the first container is opened; it never retries (our wrapper does).
 */
import type { Readable } from "node:stream";
import type * as Sdk from "@azure/storage-blob";
import { DrayError, isDrayError } from "@drayage/base";
import { readBody, streamBody } from "../http-body.ts";
import { DEFAULT_TIMEOUTS } from "../store-timeouts.ts";
import { translateAzureError } from "./azure-errors.ts";
import type { AzureHttp } from "./azure-http.ts";
import type { AzureSigner } from "./azure-identity.ts";
import { AZURE_CLOUDS, type AzureOptions } from "./azure-options.ts";

export interface OpenContainer {
  readonly client: Sdk.ContainerClient;
  readonly service: Sdk.BlobServiceClient;
  readonly signer: AzureSigner;
}

export class AzureConnection {
  readonly sdk: typeof Sdk;
  readonly options: AzureOptions;
  /** `azure://container/prefix`. */
  readonly place: string;
  readonly #http: AzureHttp;
  #container: Promise<OpenContainer> | undefined;

  private constructor(sdk: typeof Sdk, http: AzureHttp, options: AzureOptions) {
    this.sdk = sdk;
    this.options = options;
    this.place = `azure://${options.container}/${options.prefix ?? ""}`;
    this.#http = http;
  }

  /** Throws BLOB_BAD_CONFIG for options that cannot work; does not call the store. */
  static async open(options: AzureOptions): Promise<AzureConnection> {
    checkOptions(options);
    const [sdk, { azureHttp }] = await Promise.all([import("@azure/storage-blob"), import("./azure-http.ts")]);
    return new AzureConnection(sdk, azureHttp(options), options);
  }

  name(id: string): string {
    return (this.options.prefix ?? "") + id;
  }

  /** Runs one call of the SDK; its errors come out translated, an abort as the signal's reason. */
  async call<T>(
    action: string,
    signal: AbortSignal | undefined,
    work: (container: OpenContainer, options: { abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    try {
      const container = await this.#open(signal);
      return await work(container, signal === undefined ? {} : { abortSignal: signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (isDrayError(error)) throw error;
      throw translateAzureError(error, action);
    }
  }

  stream(response: Sdk.BlobDownloadResponseParsed, action: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    return streamBody(response.readableStreamBody as Readable | undefined, this.#bodyOptions(response, action, signal));
  }

  body(response: Sdk.BlobDownloadResponseParsed, action: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return readBody(response.readableStreamBody as Readable | undefined, this.#bodyOptions(response, action, signal));
  }

  /** Pages of a listing, in byte order of names. */
  async *pages(
    prefix: string,
    delimiter: "/" | "",
    action: string,
    signal: AbortSignal | undefined,
  ): AsyncIterable<{ readonly blobs: readonly Sdk.BlobItem[]; readonly prefixes: readonly string[] }> {
    const { client } = await this.call(action, signal, (container) => Promise.resolve(container));
    const options = { prefix, includeMetadata: true, ...(signal === undefined ? {} : { abortSignal: signal }) };
    const pages = (delimiter === "" ? client.listBlobsFlat(options).byPage() : client.listBlobsByHierarchy(delimiter, options).byPage())[
      Symbol.asyncIterator
    ]();
    for (;;) {
      const page = await this.call(action, signal, () => pages.next());
      if (page.done === true) return;
      const { segment } = page.value;
      const { blobPrefixes = [] } = segment as { readonly blobPrefixes?: readonly Sdk.BlobPrefix[] };
      yield { blobs: segment.blobItems, prefixes: blobPrefixes.map(({ name }) => name) };
    }
  }

  close(): Promise<void> {
    this.#http.close();
    return Promise.resolve();
  }

  #bodyOptions(response: Sdk.BlobDownloadResponseParsed, action: string, signal: AbortSignal | undefined) {
    const idleMs = this.options.timeouts?.idleMs ?? DEFAULT_TIMEOUTS.idleMs;
    return { action, length: response.contentLength, signal, idleMs, translate: translateAzureError };
  }

  /** The container's client is made once; what failed on the way is tried again by the next call. */
  #open(signal: AbortSignal | undefined): Promise<OpenContainer> {
    this.#container ??= this.#connect(signal).catch((error: unknown) => {
      this.#container = undefined;
      throw error;
    });
    return this.#container;
  }

  async #connect(signal: AbortSignal | undefined): Promise<OpenContainer> {
    const { azureSigner } = await import("./azure-identity.ts");
    const { options, sdk } = this;
    const signer = await azureSigner(options, this.#http, signal);
    const endpoint = endpointOf(options);
    const sas = options.credential.kind === "sas" ? `?${options.credential.token.replace(/^\?/, "")}` : "";
    const pipeline = sdk.newPipeline(signer, { retryOptions: { maxTries: 1 } });
    pipeline.factories.push({
      create: (next) => ({
        sendRequest: (request) => {
          this.#http.prepare(request);
          return next.sendRequest(request);
        },
      }),
    });
    const service = new sdk.BlobServiceClient(endpoint + sas, pipeline);
    return { client: service.getContainerClient(options.container), service, signer };
  }
}

export function endpointOf(options: AzureOptions): string {
  const { blobSuffix } = AZURE_CLOUDS[options.cloud ?? "AzurePublicCloud"];
  return (options.endpoint ?? `https://${options.storageAccount}.${blobSuffix}`).replace(/\/+$/, "");
}

/** Blocks of a blob are limited to this by Velero's plug-in, and so are its settings. */
export const BLOCK_BYTES_MAX = 100 << 20;

function checkOptions(options: AzureOptions): void {
  const refuse = (what: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open container "${options.container}": ${what}`);
  };
  if (!/^(\$root|\$web|[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9])$/.test(options.container)) refuse("it is not a container's name, 3 to 63 of a-z 0-9 - are wanted");
  if (options.storageAccount === "") refuse("the storage account is missing");
  for (const [what, address] of [
    ["storageAccountURI", options.endpoint],
    ["activeDirectoryAuthorityURI", options.authorityHost],
  ] as const) {
    if (address === undefined) continue;
    const url = URL.parse(address);
    if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) refuse(`${what} is not an https:// address`);
    if (url?.username !== "" || url.password !== "" || url.search !== "") refuse(`${what} holds a secret; it is the address alone`);
  }
  const block = options.blockSizeBytes;
  if (block !== undefined && !(Number.isInteger(block) && block >= 1 && block <= BLOCK_BYTES_MAX))
    refuse(`a block of ${block} bytes, 1 to ${BLOCK_BYTES_MAX} are wanted`);
}
