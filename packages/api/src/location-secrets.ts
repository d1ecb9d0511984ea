/** The Secrets that Velero's installations keep, by their names: what a location and its repositories are opened with. */
import { DrayError } from "@drayage/base";
import type { BackupStorageLocation } from "./generated/backupstoragelocations.ts";
import { DRAYAGE_ANNOTATIONS } from "./labels.ts";

/** Reads one Secret; undefined when there is none. `client.find(secrets, key, signal)` of the Kubernetes client. */
export type SecretReader = (
  key: { readonly namespace: string; readonly name: string },
  signal?: AbortSignal,
) => Promise<{ readonly data?: Readonly<Record<string, string>> } | undefined>;

/** What a location needs beside its spec. */
export interface LocationSecrets {
  /** The text of a credentials file; absent where the environment brings its own. */
  readonly credentialsText?: string;
  /** PEM. */
  readonly caCertPem?: string;
  /** Bytes of the SSE-C key that config's `customerKeyEncryptionSecret` names. */
  readonly customerKey?: Uint8Array;
}

const CLOUD_CREDENTIALS = { name: "cloud-credentials", key: "cloud" } as const;
/** OADP keeps a Secret for each of the other providers, by these endings. */
const OADP_ENDINGS: Readonly<Record<string, string>> = { azure: "-azure", "velero.io/azure": "-azure", gcp: "-gcp", "velero.io/gcp": "-gcp" };
const REPOSITORY_CREDENTIALS = { name: "velero-repo-credentials", key: "repository-password" } as const;

/**
 * Reads the Secrets that a location refers to: its own credential, else the installation's: OADP's for its provider, or `cloud-credentials`, where there is one.
 * Throws KUBE_NOT_FOUND naming the Secret or key that the location asks for and that is not there.
 */
export async function readLocationSecrets(
  read: SecretReader,
  namespace: string,
  location: BackupStorageLocation,
  signal?: AbortSignal,
): Promise<LocationSecrets> {
  const { credential, objectStorage } = location.spec;
  const own = credential?.name === undefined || credential.name === "" ? undefined : { name: credential.name, key: credential.key };
  const ending = OADP_ENDINGS[location.spec.provider];
  const ofProvider = own !== undefined || ending === undefined ? undefined : { ...CLOUD_CREDENTIALS, name: `${CLOUD_CREDENTIALS.name}${ending}` };
  const credentialsText =
    (ofProvider === undefined ? undefined : await readKey(read, namespace, ofProvider, true, signal)) ??
    (await readKey(read, namespace, own ?? CLOUD_CREDENTIALS, own === undefined || credential?.optional === true, signal));
  const { name, key = "", optional } = objectStorage.caCertRef ?? {};
  const caCertPem = name === undefined || name === "" ? undefined : await readKey(read, namespace, { name, key }, optional === true, signal);
  const customerKey = await readCustomerKey(read, namespace, location, signal);
  return {
    ...(credentialsText === undefined ? {} : { credentialsText }),
    ...(caCertPem === undefined ? {} : { caCertPem }),
    ...(customerKey === undefined ? {} : { customerKey }),
  };
}

/** The key that `config.customerKeyEncryptionSecret` names as `secret/key`. */
async function readCustomerKey(
  read: SecretReader,
  namespace: string,
  location: BackupStorageLocation,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  const reference = location.spec.config?.["customerKeyEncryptionSecret"];
  if (reference === undefined || reference === "") return undefined;
  const { name, key } = secretKeyOf(reference, "customerKeyEncryptionSecret", location);
  const data = (await read({ namespace, name }, signal))?.data?.[key];
  if (data !== undefined) return Buffer.from(data, "base64");
  throw new DrayError("KUBE_NOT_FOUND", `Cannot read key "${key}" of secret "${namespace}/${name}": it is not there`, {
    hint: "It holds the customer key of the backup storage location.",
  });
}

/**
 * The password of the repositories of a location, without white space around it: the one that the location's annotation `drayage.io/repository-password` names as `secret/key`,
 * else the one of the installation. Throws KUBE_NOT_FOUND when it is not there: another password in its place would found a repository that nobody can open later.
 */
export async function readRepositoryPassword(
  read: SecretReader,
  namespace: string,
  location: Pick<BackupStorageLocation, "metadata">,
  signal?: AbortSignal,
): Promise<string> {
  const reference = location.metadata.annotations?.[DRAYAGE_ANNOTATIONS.repositoryPassword];
  const place = reference === undefined ? REPOSITORY_CREDENTIALS : secretKeyOf(reference, `annotation ${DRAYAGE_ANNOTATIONS.repositoryPassword}`, location);
  const password = ((await readKey(read, namespace, place, false, signal)) ?? "").trim();
  if (password !== "") return password;
  throw new DrayError("BLOB_BAD_CONFIG", `Cannot read the repository password in secret "${namespace}/${place.name}": key "${place.key}" is empty`);
}

/** A Secret and its key, as `secret/key`. Throws BLOB_BAD_CONFIG, naming the location. */
function secretKeyOf(reference: string, what: string, { metadata }: Pick<BackupStorageLocation, "metadata">): { readonly name: string; readonly key: string } {
  const [name = "", key = "", ...more] = reference.split("/");
  if (name !== "" && key !== "" && more.length === 0) return { name, key };
  throw new DrayError("BLOB_BAD_CONFIG", `Cannot use backup storage location "${metadata.name}": ${what} is "${reference}", secret/key is wanted`);
}

async function readKey(
  read: SecretReader,
  namespace: string,
  { name, key }: { readonly name: string; readonly key: string },
  optional: boolean,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const secret = await read({ namespace, name }, signal);
  const value = secret?.data?.[key];
  if (value !== undefined) return Buffer.from(value, "base64").toString("utf8");
  if (optional) return undefined;
  throw new DrayError("KUBE_NOT_FOUND", `Cannot read secret "${namespace}/${name}": ${secret === undefined ? "it is not there" : `it has no key "${key}"`}`, {
    hint:
      name === REPOSITORY_CREDENTIALS.name
        ? "Bring the repository password back with `dray install --recovery-file FILE`."
        : "Create it, or change the backup storage location.",
  });
}
