/**
 * Where a repository is, as one URL: `file:///abs/path`, `s3://bucket/prefix?endpoint=…&region=…&pathStyle=true`. Credentials are never in it: they come from the provider's own
 * environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role).
 */
import { fileURLToPath } from "node:url";
import { DrayError } from "@drayage/base";
import { type BlobStorage, type ObjectStore, openDirectoryStore, openFilesystemStorage, RetryingObjectStore, RetryingStorage } from "@drayage/blob";
import type { S3Options } from "@drayage/blob/s3";
import type { Terminal } from "./terminal.ts";

const S3_PARAMETERS = ["endpoint", "region", "pathStyle", "profile", "caCertFile", "insecureSkipTLSVerify", "objectLock"];

export interface StorageFromUrlOptions {
  /** Make the place where that is possible: a folder is created, a bucket never is. */
  readonly create?: boolean;
}

/** The storage at a URL, with retries. Throws USAGE for a URL that cannot be read, naming what is wrong with it. */
export async function storageFromUrl(
  text: string,
  terminal: Pick<Terminal, "env" | "clock" | "random">,
  options: StorageFromUrlOptions = {},
): Promise<BlobStorage> {
  const { clock, random } = terminal;
  return new RetryingStorage(await openStorage(parseUrl(text), text, terminal, options), { clock, random });
}

function parseUrl(text: string): URL {
  // A bare path is what people type; it can mean nothing else.
  if (text.startsWith("/")) return new URL(`file://${encodeURI(text)}`);
  const url = URL.parse(text);
  if (url === null) throw unreadable(text, "it is no URL");
  if (url.username !== "" || url.password !== "") {
    throw new DrayError("USAGE", "Cannot use the repository URL: it holds credentials, which others on this machine could see", {
      hint: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, and leave them out of the URL.",
    });
  }
  return url;
}

async function openStorage(url: URL, text: string, { env }: Pick<Terminal, "env">, { create = false }: StorageFromUrlOptions): Promise<BlobStorage> {
  switch (url.protocol) {
    case "file:":
      if (url.host !== "") throw unreadable(text, `"${url.host}" stands where no host can be; file:///path has three slashes`);
      return await openFilesystemStorage({ path: fileURLToPath(url), create });
    case "s3:":
      return await openS3(url, text, env);
    case "restic+file:":
    case "restic+s3:":
      throw new DrayError("NOT_SUPPORTED", `Cannot use the restic repository "${text}" for this: what restic wrote is only read here`, {
        hint: "It can be listed, shown, restored, searched and verified: dray snapshot list|show|restore, dray fs ls|cat|cp|find, dray repo status|verify.",
      });
    default:
      throw unreadable(text, `"${url.protocol}//" is not known, file:// and s3:// are`);
  }
}

/** What lies at a URL as objects under slashed keys, with retries: how other programs than kopia keep their repositories. Throws USAGE. */
export async function objectStoreFromUrl(text: string, terminal: Pick<Terminal, "env" | "clock" | "random">): Promise<ObjectStore> {
  const { clock, random, env } = terminal;
  const url = parseUrl(text);
  const open = async (): Promise<ObjectStore> => {
    if (url.protocol === "file:" && url.host === "") return await openDirectoryStore({ path: fileURLToPath(url) });
    if (url.protocol !== "s3:") throw unreadable(text, `"${url.protocol}//" is not known, file:/// and s3:// are`);
    const { openS3ObjectStore } = await import("@drayage/blob/s3");
    return await openS3ObjectStore(await s3Options(url, text, env));
  };
  return new RetryingObjectStore(await open(), { clock, random });
}

async function openS3(url: URL, text: string, env: Terminal["env"]): Promise<BlobStorage> {
  // The SDK loads in a third of a second; commands on folders do without.
  const { openS3Storage } = await import("@drayage/blob/s3");
  return await openS3Storage(await s3Options(url, text, env));
}

async function s3Options(url: URL, text: string, env: Terminal["env"]): Promise<S3Options> {
  for (const name of url.searchParams.keys()) {
    if (!S3_PARAMETERS.includes(name)) throw unreadable(text, `parameter "${name}" is not known, ${S3_PARAMETERS.join(", ")} are`);
  }
  const bucket = decodeURIComponent(url.host);
  if (bucket === "") throw unreadable(text, "the bucket is missing");
  const parameter = (name: string): string | undefined => url.searchParams.get(name) ?? undefined;
  const endpoint = parameter("endpoint") ?? env["AWS_ENDPOINT_URL_S3"] ?? env["AWS_ENDPOINT_URL"];
  const region = parameter("region") ?? env["AWS_REGION"] ?? env["AWS_DEFAULT_REGION"];
  const profile = parameter("profile");
  const caCertFile = parameter("caCertFile");
  const path = decodeURIComponent(url.pathname.slice(1));
  return {
    bucket,
    prefix: path === "" || path.endsWith("/") ? path : `${path}/`,
    ...(endpoint === undefined ? {} : { endpoint: /^https?:\/\//.test(endpoint) ? endpoint : `https://${endpoint}` }),
    ...(region === undefined ? {} : { region }),
    ...(profile === undefined ? {} : { profile }),
    ...(caCertFile === undefined ? {} : { caCert: await readCertificate(caCertFile) }),
    ...booleanParameter(text, "pathStyle", parameter("pathStyle")),
    ...booleanParameter(text, "insecureSkipTlsVerify", parameter("insecureSkipTLSVerify")),
    ...booleanParameter(text, "objectLock", parameter("objectLock")),
  };
}

async function readCertificate(path: string): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new DrayError("USAGE", `Cannot read the certificate "${path}"`, { cause });
  }
}

function booleanParameter<K extends string>(text: string, key: K, value: string | undefined): { [P in K]?: boolean } {
  if (value === undefined) return {};
  if (value !== "true" && value !== "false") throw unreadable(text, `"${key}" is "${value}", true or false is wanted`);
  return { [key]: value === "true" } as { [P in K]?: boolean };
}

function unreadable(text: string, why: string): DrayError {
  return new DrayError("USAGE", `Cannot read repository URL "${text}": ${why}`, {
    hint: "Write file:///absolute/path or s3://bucket/prefix?endpoint=https://host&region=name.",
  });
}
