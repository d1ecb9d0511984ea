/**
 * One bucket behind the AWS SDK: what the blob storage and the object store over S3 share. The SDK is loaded here, when the first bucket is opened, so that commands that need no bucket
 * do not pay for it. It never retries (our wrapper does, by disposition), never waits without limit, and never gets a stream to send: for streams it would switch to
 * `aws-chunked` bodies, which some servers store framing and all.
 */

import { addAbortListener } from "node:events";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import type * as Sdk from "@aws-sdk/client-s3";
import { DrayError, isDrayError } from "@drayage/base";
import { translateS3Error } from "./s3-errors.ts";
import { DEFAULT_TIMEOUTS, type S3Options } from "./s3-options.ts";

export class S3Connection {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.S3Client;
  readonly options: S3Options;
  /** `s3://bucket/prefix`. */
  readonly place: string;

  private constructor(sdk: typeof Sdk, options: S3Options) {
    this.sdk = sdk;
    this.options = options;
    this.place = `s3://${options.bucket}/${options.prefix ?? ""}`;
    this.client = new sdk.S3Client(clientConfig(options));
  }

  /** Throws BLOB_BAD_CONFIG for options that cannot work; does not call the store. */
  static async open(options: S3Options): Promise<S3Connection> {
    checkOptions(options);
    return new S3Connection(await import("@aws-sdk/client-s3"), options);
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
  async *stream(response: Sdk.GetObjectCommandOutput, action: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    const body = response.Body as Readable | undefined;
    const wanted = response.ContentLength;
    let seen = 0;
    if (body !== undefined) {
      const listener = signal === undefined ? undefined : addAbortListener(signal, () => body.destroy());
      try {
        for await (const chunk of body as AsyncIterable<Uint8Array>) {
          seen += chunk.length;
          yield chunk;
        }
      } catch (error) {
        signal?.throwIfAborted();
        throw translateS3Error(error, action);
      } finally {
        listener?.[Symbol.dispose]();
        body.destroy();
      }
    }
    signal?.throwIfAborted();
    if (wanted !== undefined && seen !== wanted) {
      throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer ended after ${seen} of ${wanted} bytes`);
    }
  }

  /** The whole body of an answer, read into one array of its announced length. */
  async body(response: Sdk.GetObjectCommandOutput, action: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const length = response.ContentLength;
    if (length === undefined) throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer does not say its length`);
    const bytes = new Uint8Array(length);
    let at = 0;
    for await (const chunk of this.stream(response, action, signal)) {
      if (at + chunk.length > length) throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer is longer than its announced ${length} bytes`);
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  close(): Promise<void> {
    this.client.destroy();
    return Promise.resolve();
  }
}

function checkOptions(options: S3Options): void {
  const refuse = (what: string, hint?: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open bucket "${options.bucket}": ${what}`, hint === undefined ? {} : { hint });
  };
  if (options.bucket === "" || options.bucket.includes("/"))
    refuse("it is not a bucket's name", "Give the bucket's name alone; what follows a slash is the prefix.");
  if (options.endpoint === undefined) return;
  if (!URL.canParse(options.endpoint)) refuse(`endpoint "${options.endpoint}" is not a URL, https://host[:port] or http://host[:port] is wanted`);
  const url = new URL(options.endpoint);
  if (url.protocol !== "http:" && url.protocol !== "https:") refuse(`endpoint "${options.endpoint}" is not http:// or https://`);
  if (url.pathname !== "/" || url.search !== "") refuse(`endpoint "${options.endpoint}" has a path, only host and port are wanted`);
  if (url.username !== "" || url.password !== "") refuse("its endpoint holds a password", "Give the keys as credentials, never in the address.");
}

/** The SDK warns on the console otherwise, among other things that a body which is a stream is not sent again. What matters of its errors is in ours. */
const ignore = (): void => undefined;
const SILENT = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

function clientConfig(options: S3Options): Sdk.S3ClientConfig {
  const elsewhere = options.endpoint !== undefined;
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const agent = { keepAlive: true, maxSockets: options.connectionsMax ?? 64 };
  const checksums = elsewhere || options.checksumAlgorithm === "" ? "WHEN_REQUIRED" : "WHEN_SUPPORTED";
  return {
    region: options.region ?? "us-east-1",
    followRegionRedirects: !elsewhere && options.region === undefined,
    forcePathStyle: options.pathStyle ?? (elsewhere && needsPathStyle(options.endpoint ?? "")),
    maxAttempts: 1,
    logger: SILENT,
    requestChecksumCalculation: checksums,
    responseChecksumValidation: checksums,
    requestHandler: {
      connectionTimeout: timeouts.connectMs,
      socketTimeout: timeouts.idleMs,
      requestTimeout: timeouts.requestMs,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: {
        ...agent,
        ...(options.caCert === undefined ? {} : { ca: [...rootCertificates, options.caCert] }),
        ...(options.insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}),
      },
    },
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    ...(options.profile === undefined ? {} : { profile: options.profile }),
  };
}

/** Names below an address or `localhost` do not resolve. */
function needsPathStyle(endpoint: string): boolean {
  const host = new URL(endpoint).hostname.replace(/^\[|\]$/g, "");
  return isIP(host) !== 0 || host === "localhost";
}
