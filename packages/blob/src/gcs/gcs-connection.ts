/**
 * One bucket of Google Cloud Storage through its JSON interface: requests by undici, so that every one can be aborted, limited and given certificates; tokens and signatures by Google's
 * auth library, which knows each kind of identity. Both are loaded when the first bucket is opened. Nothing here retries (our wrapper does).
 */
import { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import { DrayError, isDrayError } from "@drayage/base";
import type { AnyAuthClient, GoogleAuth } from "google-auth-library";
import type * as Undici from "undici";
import { readBody, streamBody } from "../http-body.ts";
import { DEFAULT_TIMEOUTS } from "../store-timeouts.ts";
import { bucketNotFound, gcsRefusal, translateGcsError } from "./gcs-errors.ts";
import { googleAuth } from "./gcs-identity.ts";
import type { GcsOptions } from "./gcs-options.ts";

export interface GcsRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From the root of the endpoint, encoded; or a whole address. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Iterable<Uint8Array> | Uint8Array | string;
  /** Statuses that are an answer besides 2xx. */
  readonly accepted?: readonly number[];
  /** What is not there when the answer is 404; an object when left out. */
  readonly missing?: "bucket";
}

export interface GcsAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
}

const ERROR_BYTES_MAX = 64 << 10;

export class GcsConnection {
  readonly options: GcsOptions;
  /** `gs://bucket/prefix`. */
  readonly place: string;
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly #undici: typeof Undici;
  readonly #agent: Undici.Agent;
  readonly #auth: GoogleAuth | undefined;
  #client: Promise<AnyAuthClient> | undefined;

  private constructor(undici: typeof Undici, auth: GoogleAuth | undefined, options: GcsOptions) {
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    this.#undici = undici;
    this.#auth = auth;
    this.options = options;
    this.place = `gs://${options.bucket}/${options.prefix ?? ""}`;
    this.endpoint = (options.endpoint ?? `https://storage.${options.universeDomain ?? "googleapis.com"}`).replace(/\/+$/, "");
    this.#agent = new undici.Agent({
      connections: options.connectionsMax ?? 64,
      headersTimeout: timeouts.requestMs,
      bodyTimeout: timeouts.idleMs,
      connect: {
        timeout: timeouts.connectMs,
        ...(options.caCert === undefined ? {} : { ca: [...rootCertificates, options.caCert] }),
        ...(options.insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}),
      },
    });
  }

  /** Throws BLOB_BAD_CONFIG for options that cannot work; does not call the store. */
  static async open(options: GcsOptions): Promise<GcsConnection> {
    checkOptions(options);
    const undici = await import("undici");
    return new GcsConnection(undici, await googleAuth(options), options);
  }

  name(id: string): string {
    return (this.options.prefix ?? "") + id;
  }

  /** `/storage/v1/b/bucket/o/name`, the name encoded; without a name the bucket's objects. */
  objectPath(name?: string): string {
    const objects = `/storage/v1/b/${encodeURIComponent(this.options.bucket)}/o`;
    return name === undefined ? objects : `${objects}/${encodeURIComponent(name)}`;
  }

  /** One request; the answer's body is still to be read. Errors come out translated, an abort as the signal's reason. */
  async send(request: GcsRequest, action: string, signal: AbortSignal | undefined): Promise<GcsAnswer> {
    return await this.guard(action, signal, async () => {
      const url = new URL(request.path.startsWith("http") ? request.path : this.endpoint + request.path);
      for (const [name, value] of Object.entries({ ...request.query, userProject: this.options.project }))
        if (value !== undefined) url.searchParams.set(name, value);
      const { statusCode, headers, body } = await this.#undici.request(url, {
        method: request.method,
        headers: { ...(await this.#authorization(url)), ...request.headers },
        dispatcher: this.#agent,
        ...(request.body === undefined ? {} : { body: bodyOf(request.body) }),
        ...(signal === undefined ? {} : { signal }),
      });
      if ((statusCode >= 200 && statusCode < 300) || request.accepted?.includes(statusCode) === true) return { status: statusCode, headers, body };
      const refusal = gcsRefusal(statusCode, await shortText(body));
      throw request.missing === "bucket" && statusCode === 404 ? bucketNotFound(refusal, action) : refusal;
    });
  }

  /** One request whose answer is JSON. */
  async json<T>(request: GcsRequest, action: string, signal: AbortSignal | undefined): Promise<T> {
    const answer = await this.send(request, action, signal);
    return await this.guard(action, signal, async () => JSON.parse(await textOf(answer.body)) as T);
  }

  stream(answer: GcsAnswer, action: string, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    return streamBody(answer.body, { action, length: lengthOf(answer), signal, translate: translateGcsError });
  }

  async body(answer: GcsAnswer, action: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
    return await readBody(answer.body, { action, length: lengthOf(answer), signal, translate: translateGcsError });
  }

  /** Who signs addresses, and a signature of theirs: by the credential's own key, else by the IAM credentials service for the location's service account. */
  async signer(action: string): Promise<{ readonly email: string; sign(text: string): Promise<Uint8Array> }> {
    return await this.guard(action, undefined, async () => {
      const { serviceAccount } = this.options;
      const client = await this.#authClient();
      const email =
        serviceAccount ?? emailOf(client) ?? (this.options.credential.kind === "default" ? (await this.#auth?.getCredentials())?.client_email : undefined);
      if (client === undefined || email === undefined || email === "") {
        throw new DrayError("NOT_SUPPORTED", `${action}: the credentials name no service account`, {
          hint: "Name the one that signs, with the location's config key serviceAccount.",
        });
      }
      const key = (client as { key?: unknown }).key;
      const own = typeof key === "string" && (client as { email?: unknown }).email === email ? key : undefined;
      return { email, sign: (text) => (own === undefined ? this.#signAtIam(email, text, action) : signWithKey(own, text)) };
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** Runs work on the store; foreign errors come out translated, an abort as the signal's reason. */
  async guard<T>(action: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (isDrayError(error)) throw error;
      throw translateGcsError(error, action);
    }
  }

  async #authorization(url: URL): Promise<Record<string, string>> {
    const client = await this.#authClient();
    return client === undefined ? {} : Object.fromEntries((await client.getRequestHeaders(url)).entries());
  }

  /** Made once; what failed on the way is tried again by the next call. */
  async #authClient(): Promise<AnyAuthClient | undefined> {
    if (this.#auth === undefined) return undefined;
    this.#client ??= this.#auth.getClient().catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return await this.#client;
  }

  async #signAtIam(email: string, text: string, action: string): Promise<Uint8Array> {
    const iam = (this.options.iamEndpoint ?? `https://iamcredentials.${this.options.universeDomain ?? "googleapis.com"}`).replace(/\/+$/, "");
    const { signedBlob } = await this.json<{ signedBlob?: string }>(
      {
        method: "POST",
        path: `${iam}/v1/projects/-/serviceAccounts/${encodeURIComponent(email)}:signBlob`,
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ payload: Buffer.from(text).toString("base64") }),
      },
      action,
      undefined,
    );
    return Buffer.from(signedBlob ?? "", "base64");
  }
}

/** The account of a service account's key, or that an external account takes the place of. */
function emailOf(client: AnyAuthClient | undefined): string | undefined {
  const { email, getServiceAccountEmail } = (client ?? {}) as { email?: unknown; getServiceAccountEmail?: () => string | null };
  return typeof email === "string" ? email : (getServiceAccountEmail?.call(client) ?? undefined);
}

async function signWithKey(key: string, text: string): Promise<Uint8Array> {
  const { sign } = await import("node:crypto");
  return sign("sha256", Buffer.from(text), key);
}

/** Parts go out as they lie in memory, of the length that the headers say: joined, every pack would be held twice. */
function bodyOf(body: Iterable<Uint8Array> | Uint8Array | string): Uint8Array | string | Readable {
  return typeof body === "string" || body instanceof Uint8Array ? body : Readable.from(body);
}

function lengthOf({ headers }: GcsAnswer): number | undefined {
  const value = headers["content-length"];
  return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body as AsyncIterable<Uint8Array>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

async function shortText(body: Readable): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > ERROR_BYTES_MAX) break;
  }
  body.destroy();
  return Buffer.concat(chunks).toString("utf8");
}

function checkOptions(options: GcsOptions): void {
  const refuse = (what: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot open bucket "${options.bucket}": ${what}`);
  };
  if (options.bucket === "" || options.bucket.includes("/")) refuse("it is not a bucket's name");
  if (options.endpoint === undefined) return;
  const url = URL.parse(options.endpoint);
  if (url?.protocol !== "http:" && url?.protocol !== "https:") refuse(`endpoint "${options.endpoint}" is not an https:// address`);
  if ((url?.username ?? "") !== "" || (url?.password ?? "") !== "") refuse("its endpoint holds a password");
}
