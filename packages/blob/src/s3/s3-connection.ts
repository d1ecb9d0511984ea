/**
 * One bucket behind the AWS SDK: what the blob storage and the object store over S3 share. The SDK is loaded here, when the first bucket is opened, so that commands that need no bucket
 * do not pay for it. It never retries (our wrapper does, by disposition), never waits without limit, and never gets a stream to send: for streams it would switch to
 * `aws-chunked` bodies, which some servers store framing and all.
 */

import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import type * as Sdk from "@aws-sdk/client-s3";
import { DrayError, isDrayError } from "@drayage/base";
import { readBody, streamBody } from "../http-body.ts";
import { RangeConnections } from "../range-connections.ts";
import { DEFAULT_TIMEOUTS, type StoreTimeouts } from "../store-timeouts.ts";
import { translateS3Error } from "./s3-errors.ts";
import type { S3Options } from "./s3-options.ts";
import { ownerSetting } from "./write-settings.ts";

export class S3Connection {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.S3Client;
  readonly options: S3Options;
  /** `s3://bucket/prefix`. */
  readonly place: string;

  /** For ranges into memory that is there. */
  readonly ranges: RangeConnections;
  readonly #credentials: ClientCredentials;

  private constructor(sdk: typeof Sdk, options: S3Options, credentials: ClientCredentials) {
    this.sdk = sdk;
    this.options = options;
    this.place = `s3://${options.bucket}/${options.prefix ?? ""}`;
    this.#credentials = credentials;
    this.client = new sdk.S3Client(clientConfig(options, credentials));
    this.ranges = new RangeConnections({ connectionsMax: connectionsMaxOf(options), timeouts: timeoutsOf(options), tls: tlsOf(options) });
  }

  /** Throws BLOB_BAD_CONFIG for options that cannot work; does not call the store. */
  static async open(options: S3Options): Promise<S3Connection> {
    checkOptions(options);
    return new S3Connection(await import("@aws-sdk/client-s3"), options, await clientCredentials(options));
  }

  /** A client that signs addresses: by the public name of the store, and with the region that the bucket is in. */
  async signingClient(action: string): Promise<Sdk.S3Client> {
    const { endpoint, publicUrl, region, bucket } = this.options;
    if (publicUrl === undefined && (endpoint !== undefined || region !== undefined)) return this.client;
    // A signature counts in one region only, and nobody follows a redirect with it.
    const found =
      region ??
      (endpoint === undefined
        ? (await this.call(action, undefined, (client) => client.send(new this.sdk.HeadBucketCommand({ Bucket: bucket, ...ownerSetting(this.options) }))))
            .BucketRegion
        : undefined);
    const options = { ...this.options, ...(publicUrl === undefined ? {} : { endpoint: publicUrl }), ...(found === undefined ? {} : { region: found }) };
    return new this.sdk.S3Client(clientConfig(options, this.#credentials));
  }

  get bucket(): string {
    return this.options.bucket;
  }

  key(name: string): string {
    return (this.options.prefix ?? "") + name;
  }

  /** Runs one call of the SDK; its errors come out translated, an abort as the signal's reason. */
  async call<T>(
    action: string,
    signal: AbortSignal | undefined,
    work: (client: Sdk.S3Client, options: { abortSignal?: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await work(this.client, signal === undefined ? {} : { abortSignal: signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (isDrayError(error)) throw error;
      throw translateS3Error(error, action);
    }
  }

  /** The body of an answer as it comes in. Exactly the announced number of bytes, or BLOB_UNAVAILABLE. */
  stream(response: Sdk.GetObjectCommandOutput, action: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    return streamBody(response.Body as Readable | undefined, { action, length: response.ContentLength, signal, translate: translateS3Error });
  }

  /** The whole body of an answer, read into one array of its announced length: `into`, where that has it. */
  body(response: Sdk.GetObjectCommandOutput, action: string, signal: AbortSignal | undefined, into?: Uint8Array): Promise<Uint8Array> {
    return readBody(response.Body as Readable | undefined, { action, length: response.ContentLength, signal, into, translate: translateS3Error });
  }

  close(): Promise<void> {
    this.client.destroy();
    this.ranges.close();
    return Promise.resolve();
  }
}

function checkOptions(options: S3Options): void {
  const refuse = (what: string, hint?: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open bucket "${options.bucket}": ${what}`, hint === undefined ? {} : { hint });
  };
  if (options.bucket === "" || options.bucket.includes("/"))
    refuse("it is not a bucket's name", "Give the bucket's name alone; what follows a slash is the prefix.");
  if (options.customerKey !== undefined && options.customerKey.length !== 32) refuse(`its customer key has ${options.customerKey.length} bytes, 32 are wanted`);
  for (const [name, address] of [
    ["endpoint", options.endpoint],
    ["publicUrl", options.publicUrl],
  ] as const) {
    if (address === undefined) continue;
    if (!URL.canParse(address)) refuse(`${name} "${address}" is not a URL, https://host[:port] or http://host[:port] is wanted`);
    const url = new URL(address);
    if (url.username !== "" || url.password !== "") refuse(`its ${name} holds a password`, "Give the keys as credentials, never in the address.");
    if (url.protocol !== "http:" && url.protocol !== "https:") refuse(`${name} "${address}" is not http:// or https://`);
    if (url.pathname !== "/" || url.search !== "") refuse(`${name} "${address}" has a path, only host and port are wanted`);
  }
}

/** The SDK warns on the console otherwise, among other things that a body which is a stream is not sent again. What matters of its errors is in ours. */
const ignore = (): void => undefined;
const SILENT = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

type ClientCredentials = Sdk.S3ClientConfig["credentials"] | undefined;

/** Keys as they are; a role as its token file gives it, read again whenever the credentials run out. */
async function clientCredentials({ credentials, region, stsEndpoint }: S3Options): Promise<ClientCredentials> {
  if (credentials === undefined || "accessKeyId" in credentials) return credentials;
  const { fromTokenFile } = await import("@aws-sdk/credential-provider-web-identity");
  const clientConfig = { region: region ?? "us-east-1", maxAttempts: 1, ...(stsEndpoint === undefined ? {} : { endpoint: stsEndpoint }) };
  return fromTokenFile({ ...credentials, clientConfig });
}

function timeoutsOf({ timeouts }: S3Options): StoreTimeouts {
  return { ...DEFAULT_TIMEOUTS, ...timeouts };
}

function connectionsMaxOf({ connectionsMax = 64 }: S3Options): number {
  return connectionsMax;
}

function tlsOf({ caCert, insecureSkipTlsVerify }: S3Options): { ca?: string[]; rejectUnauthorized?: boolean } {
  return { ...(caCert === undefined ? {} : { ca: [...rootCertificates, caCert] }), ...(insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}) };
}

function clientConfig(options: S3Options, credentials: ClientCredentials): Sdk.S3ClientConfig {
  const elsewhere = options.endpoint !== undefined;
  const timeouts = timeoutsOf(options);
  const agent = { keepAlive: true, maxSockets: connectionsMaxOf(options) };
  const checksums = elsewhere || options.checksumAlgorithm === "" ? "WHEN_REQUIRED" : "WHEN_SUPPORTED";
  return {
    region: options.region ?? "us-east-1",
    followRegionRedirects: !elsewhere && options.region === undefined,
    forcePathStyle: options.pathStyle ?? (elsewhere && needsPathStyle(options.endpoint ?? "")),
    maxAttempts: 1,
    logger: SILENT,
    // Before a body of some length the SDK would ask whether it may come, and for that makes a connection of its own each time, to which nothing holds that is said of connections below:
    // not the authority to be trusted, and none is used twice.
    expectContinueHeader: false,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    requestHandler: {
      connectionTimeout: timeouts.connectMs,
      socketTimeout: timeouts.idleMs,
      requestTimeout: timeouts.requestMs,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: { ...agent, ...tlsOf(options) },
    },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
  };
}

/** Names below an address or `localhost` do not resolve. */
function needsPathStyle(endpoint: string): boolean {
  const host = new URL(endpoint).hostname.replace(/^\[|\]$/g, "");
  return isIP(host) !== 0 || host === "localhost";
}
