/**
 * Where a repository or bucket is, as one URL: `file:///abs/path`, `s3://bucket/prefix?endpoint=…`, `azure://container/prefix?storageAccount=…`, `gs://bucket/prefix`.
 * Credentials are never in it: they come from the provider's own environment. A parameter that is not known is refused by name.
 */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Clock, DrayError, type RandomSource } from "@drayage/base";
import type { AzureCredential, AzureOptions } from "../azure/azure-options.ts";
import { openDirectoryStore } from "../filesystem/directory-store.ts";
import { openFilesystemStorage } from "../filesystem/filesystem-storage.ts";
import type { GcsCredential, GcsOptions } from "../gcs/gcs-options.ts";
import type { ObjectStore } from "../object-store.ts";
import type { ChecksumAlgorithm, S3Options, ServerSideEncryption, Sha256Ranges, StorageClass } from "../s3/s3-options.ts";
import type { BlobStorage } from "../storage.ts";
import type { ConfigKey } from "./location-fields.ts";

export interface StorageUrlContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: RandomSource;
}

export interface StorageFromUrlOptions {
  /** Make the place where that is possible: a folder is created, a bucket never is. */
  readonly create?: boolean;
  /** The name of a folder below the place, which is opened in its stead. */
  readonly below?: string;
  /** Makes digests side by side, for stores whose requests carry one of each body. */
  readonly sha256Ranges?: Sha256Ranges | undefined;
  /** Have conditional puts tried where nothing says whether the store honours them, to find out. */
  readonly assumeConditionalPut?: boolean;
}

const SHARED: readonly ConfigKey[] = [
  { name: "caCertFile", meaning: "A file with PEM certificates that are trusted beside those of the system." },
  { name: "insecureSkipTLSVerify", meaning: "`true`: any certificate is taken." },
  { name: "objectLock", meaning: "`false` refuses object locks without asking the store." },
  { name: "connections", meaning: "Connections at once, 1 to 1024; 64 when left out." },
];

/** The parameters of each kind of URL. */
export const URL_PARAMETERS = {
  file: [],
  s3: [
    { name: "endpoint", meaning: "Address of the store where it is not AWS; `http://` means no TLS. Else `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`." },
    { name: "publicUrl", meaning: "Address of the store in signed addresses." },
    { name: "region", meaning: "The bucket's region; else `AWS_REGION`, `AWS_DEFAULT_REGION`, and at AWS found out." },
    { name: "pathStyle", meaning: "`true`: the bucket stands in the path and not in the host name; so by default where the host is an address." },
    { name: "profile", meaning: "Profile of the shared credentials and config files." },
    { name: "checksumAlgorithm", meaning: "`CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`; empty sends none." },
    { name: "serverSideEncryption", meaning: "`AES256`, `aws:kms` or `aws:kms:dsse`." },
    { name: "kmsKeyId", meaning: "The KMS key; alone it implies `aws:kms`." },
    { name: "customerKeyFile", meaning: "A file of 32 bytes, the SSE-C key. It is needed for every later reading, also by kopia, which has no such setting." },
    { name: "storageClass", meaning: "Of what is written: `STANDARD_IA`, `INTELLIGENT_TIERING`, …; classes that must be thawed are refused." },
    { name: "tagging", meaning: "Tags of what is written, `key=value&key=value`, encoded once more." },
    { name: "expectedBucketOwner", meaning: "Account that must own the bucket." },
    { name: "conditionalPut", meaning: "`true`: the store is known to honour `If-None-Match: *` (`dray repo validate-provider` finds out)." },
    { name: "pointInTime", meaning: "A time such as `2026-05-01T12:00:00Z`: the versioned bucket is read as it was then, and nothing is written." },
    ...SHARED,
  ],
  azure: [
    { name: "storageAccount", meaning: "The storage account; else `AZURE_STORAGE_ACCOUNT`, or that of `AZURE_STORAGE_CONNECTION_STRING`." },
    { name: "endpoint", meaning: "Address of the account's blob service." },
    { name: "cloud", meaning: "`AzurePublicCloud`, `AzureUSGovernmentCloud` or `AzureChinaCloud`; else `AZURE_CLOUD_NAME`." },
    { name: "authorityHost", meaning: "Where tokens come from; else `AZURE_AUTHORITY_HOST`, and of the cloud." },
    ...SHARED,
  ],
  gs: [
    { name: "endpoint", meaning: "Address of the service; `https://storage.googleapis.com` when left out." },
    {
      name: "credentialsFile",
      meaning: "A service account's key or an external account; else `GOOGLE_APPLICATION_CREDENTIALS`, the user's login, the metadata server.",
    },
    { name: "anonymous", meaning: "`true`: no credentials are sent." },
    { name: "project", meaning: "Billed for the requests, for buckets whose requester pays." },
    { name: "serviceAccount", meaning: "Signs addresses where the credentials are not a key." },
    { name: "kmsKeyName", meaning: "The Cloud KMS key that encrypts what is written." },
    { name: "storageClass", meaning: "`STANDARD`, `NEARLINE`, `COLDLINE` or `ARCHIVE`." },
    { name: "universeDomain", meaning: "The cloud's domain; `googleapis.com` when left out." },
    ...SHARED,
  ],
} as const satisfies Record<string, readonly ConfigKey[]>;

/** What lies at a URL as blob storage. Throws USAGE for a URL that cannot be read, naming what is wrong with it. */
export async function openStorageUrl(text: string, context: StorageUrlContext, options: StorageFromUrlOptions = {}): Promise<BlobStorage> {
  const url = new StorageUrl(text, options.below);
  switch (url.kind) {
    case "file":
      return await openFilesystemStorage({ path: url.folder(), create: options.create ?? false, random: context.random });
    case "s3": {
      const { openS3Storage } = await import("../s3/index.ts");
      const { assumeConditionalPut, sha256Ranges } = options;
      return await openS3Storage({
        ...(assumeConditionalPut === true ? { conditionalPut: true } : {}),
        ...(await s3Options(url, context)),
        ...(sha256Ranges === undefined ? {} : { sha256Ranges }),
      });
    }
    case "azure": {
      const { openAzureStorage } = await import("../azure/index.ts");
      return await openAzureStorage(await azureOptions(url, context));
    }
    case "gs": {
      const { openGcsStorage } = await import("../gcs/index.ts");
      return await openGcsStorage(await gcsOptions(url, context));
    }
  }
}

/** What lies at a URL as objects under slashed keys: how programs other than kopia keep what they store. Throws USAGE. */
export async function openObjectStoreUrl(text: string, context: StorageUrlContext, options: Pick<StorageFromUrlOptions, "below"> = {}): Promise<ObjectStore> {
  const url = new StorageUrl(text, options.below);
  switch (url.kind) {
    case "file":
      return await openDirectoryStore({ path: url.folder(), random: context.random });
    case "s3": {
      const { openS3ObjectStore } = await import("../s3/index.ts");
      return await openS3ObjectStore(await s3Options(url, context));
    }
    case "azure": {
      const { openAzureObjectStore } = await import("../azure/index.ts");
      return await openAzureObjectStore(await azureOptions(url, context));
    }
    case "gs": {
      const { openGcsObjectStore } = await import("../gcs/index.ts");
      return await openGcsObjectStore(await gcsOptions(url, context));
    }
  }
}

/** Takes away a folder that was opened with `below`; where there are no folders but names, nothing is left of one without blobs. */
export async function removeFolderBelow(text: string, below: string): Promise<void> {
  const url = new StorageUrl(text, below);
  if (url.kind === "file") await rm(url.folder(), { recursive: true, force: true });
}

/** The options of an `s3://` URL. */
export async function s3Options(url: StorageUrl, { env }: StorageUrlContext): Promise<S3Options> {
  const { CHECKSUM_ALGORITHMS, SERVER_SIDE_ENCRYPTIONS, STORAGE_CLASSES } = await import("../s3/s3-options.ts");
  const endpoint = url.text("endpoint") ?? env["AWS_ENDPOINT_URL_S3"] ?? env["AWS_ENDPOINT_URL"];
  const customerKeyFile = url.text("customerKeyFile");
  const pointInTime = url.text("pointInTime");
  return {
    bucket: url.bucket(),
    prefix: url.prefix(),
    ...defined({
      endpoint: endpoint === undefined || /^https?:\/\//.test(endpoint) ? endpoint : `https://${endpoint}`,
      publicUrl: url.text("publicUrl"),
      region: url.text("region") ?? env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"],
      pathStyle: url.flag("pathStyle"),
      profile: url.text("profile"),
      // Said here because the SDK looks at this process's own environment alone, and `env` may be a mounted Secret's.
      credentials: url.text("profile") === undefined ? accessKeyOf(env) : undefined,
      checksumAlgorithm: url.oneOf("checksumAlgorithm", ["", ...CHECKSUM_ALGORITHMS]) as ChecksumAlgorithm | "" | undefined,
      serverSideEncryption: url.oneOf("serverSideEncryption", SERVER_SIDE_ENCRYPTIONS) as ServerSideEncryption | undefined,
      kmsKeyId: url.text("kmsKeyId"),
      customerKey: customerKeyFile === undefined ? undefined : await url.read("customerKeyFile", customerKeyFile),
      storageClass: url.oneOf("storageClass", STORAGE_CLASSES) as StorageClass | undefined,
      tagging: url.text("tagging"),
      expectedBucketOwner: url.text("expectedBucketOwner"),
      conditionalPut: url.flag("conditionalPut"),
      pointInTimeMs: pointInTime === undefined ? undefined : url.time("pointInTime", pointInTime),
    }),
    ...(await sharedOptions(url)),
  };
}

function accessKeyOf(env: StorageUrlContext["env"]): S3Options["credentials"] | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId = "", AWS_SECRET_ACCESS_KEY: secretAccessKey = "", AWS_SESSION_TOKEN: sessionToken } = env;
  if (accessKeyId === "" || secretAccessKey === "") return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** The options of an `azure://` URL. */
export async function azureOptions(url: StorageUrl, { env, clock }: StorageUrlContext): Promise<AzureOptions> {
  const { azureCloud, azureIdentity, parseConnectionString } = await import("../azure/azure-credentials.ts");
  const connectionString = env["AZURE_STORAGE_CONNECTION_STRING"] ?? "";
  const connection = connectionString === "" ? undefined : parseConnectionString(connectionString);
  const storageAccount = url.text("storageAccount") ?? env["AZURE_STORAGE_ACCOUNT"] ?? connection?.storageAccount;
  if (storageAccount === undefined || storageAccount === "")
    throw url.unreadable('parameter "storageAccount" is missing, and AZURE_STORAGE_ACCOUNT is not set');
  const key = env["AZURE_STORAGE_KEY"] ?? "";
  const sas = env["AZURE_STORAGE_SAS_TOKEN"] ?? "";
  const credential = (): AzureCredential => {
    if (connection !== undefined) return connection.credential;
    if (key !== "") return { kind: "key", key };
    return sas === "" ? { kind: "identity", identity: azureIdentity(env, env) } : { kind: "sas", token: sas };
  };
  return {
    container: url.bucket(),
    prefix: url.prefix(),
    storageAccount,
    credential: credential(),
    cloud: azureCloud(url.text("cloud") ?? env["AZURE_CLOUD_NAME"]),
    clock,
    ...defined({ endpoint: url.text("endpoint") ?? connection?.endpoint, authorityHost: url.text("authorityHost") ?? env["AZURE_AUTHORITY_HOST"] }),
    ...(await sharedOptions(url)),
  };
}

/** The options of a `gs://` URL. */
export async function gcsOptions(url: StorageUrl, { env, clock }: StorageUrlContext): Promise<GcsOptions> {
  const file = url.text("credentialsFile") ?? env["GOOGLE_APPLICATION_CREDENTIALS"] ?? "";
  const credential = async (): Promise<GcsCredential> => {
    if (url.flag("anonymous") === true) return { kind: "anonymous" };
    return file === "" ? { kind: "default" } : { kind: "json", text: Buffer.from(await url.read("credentialsFile", file)).toString("utf8") };
  };
  const names = ["endpoint", "project", "serviceAccount", "kmsKeyName", "universeDomain"] as const;
  return {
    bucket: url.bucket(),
    prefix: url.prefix(),
    credential: await credential(),
    clock,
    ...(Object.fromEntries(names.flatMap((name) => (url.text(name) === undefined ? [] : [[name, url.text(name)]]))) as Partial<GcsOptions>),
    ...defined({ storageClass: url.oneOf("storageClass", ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"]) }),
    ...(await sharedOptions(url)),
  };
}

type Shared = Pick<S3Options, "caCert" | "insecureSkipTlsVerify" | "objectLock" | "connectionsMax">;

async function sharedOptions(url: StorageUrl): Promise<Shared> {
  const caCertFile = url.text("caCertFile");
  const connections = url.text("connections");
  if (connections !== undefined && !(/^\d{1,4}$/.test(connections) && Number(connections) >= 1 && Number(connections) <= 1024)) {
    throw url.unreadable(`"connections" is "${connections}", 1 to 1024 is wanted`);
  }
  return defined({
    caCert: caCertFile === undefined ? undefined : Buffer.from(await url.read("caCertFile", caCertFile)).toString("utf8"),
    insecureSkipTlsVerify: url.flag("insecureSkipTLSVerify"),
    objectLock: url.flag("objectLock"),
    connectionsMax: connections === undefined ? undefined : Number(connections),
  });
}

/** The properties that have a value. */
function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** A URL that is read: its kind is known, and so is every parameter's name. */
export class StorageUrl {
  readonly kind: keyof typeof URL_PARAMETERS;
  readonly #url: URL;
  readonly #text: string;
  readonly #below: string | undefined;

  /** `below` names a folder in the place that is meant in its stead. Throws USAGE. */
  constructor(text: string, below?: string) {
    this.#text = text;
    this.#below = below;
    // A bare path is what people type; it can mean nothing else.
    const url = text.startsWith("/") ? new URL(`file://${encodeURI(text).replace(/[?#]/g, encodeURIComponent)}`) : URL.parse(text);
    if (url === null) throw this.unreadable("it is no URL");
    if (url.username !== "" || url.password !== "") {
      throw new DrayError("USAGE", "Cannot use the repository URL: it holds credentials, which others on this machine could see", {
        hint: "Set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AZURE_STORAGE_KEY, GOOGLE_APPLICATION_CREDENTIALS), or use a profile, and leave them out of the URL.",
      });
    }
    const kind = url.protocol.slice(0, -1);
    if (!isKind(kind)) throw this.unreadable(`"${url.protocol}//" is not known, ${Object.keys(URL_PARAMETERS).join("://, ")}:// are`);
    const known: readonly string[] = URL_PARAMETERS[kind].map(({ name }) => name);
    for (const name of url.searchParams.keys()) {
      if (known.includes(name)) continue;
      throw this.unreadable(`parameter "${name}" is not known, ${known.length === 0 ? `a ${kind}:// URL takes none` : `${known.join(", ")} are`}`);
    }
    this.kind = kind;
    this.#url = url;
  }

  text(name: string): string | undefined {
    const value = this.#url.searchParams.get(name);
    return value === null || value === "" ? undefined : value;
  }

  flag(name: string): boolean | undefined {
    const value = this.text(name);
    if (value !== undefined && value !== "true" && value !== "false") throw this.unreadable(`"${name}" is "${value}", true or false is wanted`);
    return value === undefined ? undefined : value === "true";
  }

  /** Undefined when the parameter is not there; an empty one is a value of its own. */
  oneOf(name: string, values: readonly string[]): string | undefined {
    const value = this.#url.searchParams.get(name);
    if (value !== null && !values.includes(value))
      throw this.unreadable(`"${name}" is "${value}", one of ${values.filter((one) => one !== "").join(", ")} is wanted`);
    return value ?? undefined;
  }

  time(name: string, value: string): number {
    const timeMs = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(value) ? Date.parse(value) : Number.NaN;
    if (Number.isNaN(timeMs)) throw this.unreadable(`"${name}" is "${value}", a time such as 2026-05-01T12:00:00Z is wanted`);
    return timeMs;
  }

  async read(name: string, path: string): Promise<Uint8Array> {
    try {
      return await readFile(path);
    } catch (cause) {
      throw new DrayError("USAGE", `Cannot read "${path}", which ${name} of the repository URL names`, { cause });
    }
  }

  bucket(): string {
    const bucket = decodeURIComponent(this.#url.host);
    return bucket === "" ? this.#refuse(this.kind === "azure" ? "the container is missing" : "the bucket is missing") : bucket;
  }

  /** Empty, or ending in a slash. */
  prefix(): string {
    const path = decodeURIComponent(this.#url.pathname.slice(1));
    const base = path === "" || path.endsWith("/") ? path : `${path}/`;
    return this.#below === undefined ? base : `${base}${this.#below}/`;
  }

  folder(): string {
    if (this.#url.host !== "") this.#refuse(`"${this.#url.host}" stands where no host can be; file:///path has three slashes`);
    return join(fileURLToPath(this.#url), this.#below ?? "");
  }

  unreadable(why: string): DrayError {
    return new DrayError("USAGE", `Cannot read repository URL "${this.#text}": ${why}`, {
      hint: "Write file:///absolute/path, s3://bucket/prefix?endpoint=https://host&region=name, azure://container/prefix?storageAccount=name or gs://bucket/prefix.",
    });
  }

  #refuse(why: string): never {
    throw this.unreadable(why);
  }
}

function isKind(text: string): text is keyof typeof URL_PARAMETERS {
  return Object.hasOwn(URL_PARAMETERS, text);
}
