/** The Secret that VolSync's users write for a repository, mounted as files: address, password, and the store's credentials under restic's names. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { RESTIC_KEYS } from "@drayage/api";
import { DrayError } from "@drayage/base";

export interface RepositorySecret {
  /** As restic reads it. May hold a password of the store, so it never goes into an argument or a log. */
  readonly address: string;
  readonly password: string;
  /** Variables for restic and for our own stores. */
  readonly environment: Readonly<Record<string, string>>;
  /** A file. */
  readonly customCa?: string;
}

/** What VolSync passes on of a Secret. A Secret may hold anything; a variable such as NODE_OPTIONS is none of ours to set. */
const PASSED_ON =
  /^(?:RESTIC_(?:REPOSITORY|PASSWORD|COMPRESSION|PACK_SIZE|READ_CONCURRENCY|REST_USERNAME|REST_PASSWORD)|(?:AWS|AZURE|B2|ST|OS|RCLONE)_[A-Z0-9_]+|GOOGLE_PROJECT_ID)$/;
/** Its content is a file to restic. */
const GOOGLE_CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS";

/** Throws VALIDATION_FAILED naming the key that is missing. */
export function readRepositorySecret(folder: string, caFolder: string): RepositorySecret {
  const environment: Record<string, string> = {};
  for (const name of readdirSync(folder)) {
    if (PASSED_ON.test(name)) environment[name] = variableOf(name, readFileSync(join(folder, name), "utf8"));
    else if (name === GOOGLE_CREDENTIALS) environment[name] = join(folder, name);
  }
  const { [RESTIC_KEYS.repository]: address = "", [RESTIC_KEYS.password]: password = "" } = environment;
  for (const [key, value] of [
    [RESTIC_KEYS.repository, address],
    [RESTIC_KEYS.password, password],
  ] as const) {
    if (value === "") throw new DrayError("VALIDATION_FAILED", `Cannot open the repository: its Secret has no key "${key}"`, { hint: "Add it to the Secret." });
  }
  const customCa = customCaIn(caFolder);
  return { address, password, environment, ...(customCa === undefined ? {} : { customCa }) };
}

/** restic takes a password from its environment to the last byte: one that was made with a line's end has it, and VolSync handed it on so. Elsewhere it is a slip. */
function variableOf(name: string, text: string): string {
  return name === RESTIC_KEYS.password ? text : text.replace(/\r?\n$/, "");
}

function customCaIn(folder: string): string | undefined {
  try {
    return readdirSync(folder).includes("ca.crt") ? join(folder, "ca.crt") : undefined;
  } catch {
    // Nothing is mounted there.
    return undefined;
  }
}

/**
 * Our own address of what restic calls so: `s3:`, `gs:`, `azure:` and a path. Throws NOT_SUPPORTED for what only restic reaches (`rest:`, `sftp:`, `b2:`, `swift:`, `rclone:`).
 */
export function storageUrlOf({
  address,
  customCa,
  environment = {},
}: Pick<RepositorySecret, "address" | "customCa"> & Partial<Pick<RepositorySecret, "environment">>): string {
  const parameters = new URLSearchParams();
  if (customCa !== undefined) parameters.set("caCertFile", customCa);
  const url = (scheme: string, bucket: string, path: string): string => {
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    const query = parameters.toString();
    return `${scheme}://${bucket}${names.map((name) => `/${encodeURIComponent(name)}`).join("")}${query === "" ? "" : `?${query}`}`;
  };
  if (/^(?:local:)?\//.test(address))
    return `file://${address
      .replace(/^local:/, "")
      .split("/")
      .map(encodeURIComponent)
      .join("/")}`;
  const s3 = /^s3:(https?:\/\/|\/\/)?([^/]+)\/([^/]+)(?:\/(.*))?$/s.exec(address);
  if (s3 !== null) {
    const [, protocol = "", host = "", bucket = "", path = ""] = s3;
    const isAws = /^s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com$/.test(host);
    if (!isAws) {
      parameters.set("endpoint", `${protocol === "http://" ? "http" : "https"}://${host}`);
      parameters.set("pathStyle", "true");
    }
    return url("s3", bucket, path);
  }
  const named = /^(gs|azure):([^:/]+):(.*)$/s.exec(address);
  const { AZURE_ENDPOINT_SUFFIX: suffix = "", AZURE_ACCOUNT_NAME: account = "" } = environment;
  // Another cloud than the public one, as restic is told of it.
  if (named?.[1] === "azure" && suffix !== "" && account !== "") parameters.set("endpoint", `https://${account}.blob.${suffix}`);
  if (named !== null) return url(named[1] ?? "", named[2] ?? "", named[3] ?? "");
  const scheme = /^[a-z0-9]+(?=:)/.exec(address)?.[0] ?? "";
  throw new DrayError("NOT_SUPPORTED", `Cannot read a repository at "${scheme}:…": s3, gs, azure and a path are read here`, {
    hint: "VolSync's own controller reaches every store that restic does.",
  });
}

/** The variables of our own stores beside restic's names of them. */
export function storeEnvironment({ environment }: RepositorySecret): Readonly<Record<string, string>> {
  const { AZURE_ACCOUNT_NAME: account, AZURE_ACCOUNT_KEY: key, AZURE_ACCOUNT_SAS: sas } = environment;
  return {
    ...environment,
    ...(account === undefined ? {} : { AZURE_STORAGE_ACCOUNT: account }),
    ...(key === undefined ? {} : { AZURE_STORAGE_KEY: key }),
    ...(sas === undefined ? {} : { AZURE_STORAGE_SAS_TOKEN: sas }),
  };
}
