/** The one Secret that a mover pod has mounted: everything it needs to open its repository, and nothing of any other (DESIGN 8.4). */
import { type BackupRepository, type BackupStorageLocation, backupStorageLocations, type LABELS, MOVER_SECRET_KEYS, validLabelValue } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { type KubeClient, type OwnerReference, type Secret, secrets } from "@drayage/kube";

/** Velero's own names. */
const CLOUD_CREDENTIALS = { name: "cloud-credentials", key: "cloud" } as const;
const REPOSITORY_CREDENTIALS = { name: "velero-repo-credentials", key: "repository-password" } as const;

/** What a location needs beside its spec. */
export interface LocationSecrets {
  /** The text of a credentials file; absent where the environment brings its own. */
  readonly credentialsText?: string;
  /** PEM. */
  readonly caCertPem?: string;
}

/**
 * Reads the Secrets that a location refers to: its own credential, else the installation's `cloud-credentials` where there is one.
 * Throws KUBE_NOT_FOUND naming the Secret or key that the location asks for and that is not there.
 */
export async function readLocationSecrets(
  client: KubeClient,
  namespace: string,
  location: BackupStorageLocation,
  signal?: AbortSignal,
): Promise<LocationSecrets> {
  const { credential, objectStorage } = location.spec;
  const credentialsText =
    credential?.name === undefined || credential.name === ""
      ? await readKey(client, namespace, CLOUD_CREDENTIALS.name, CLOUD_CREDENTIALS.key, true, signal)
      : await readKey(client, namespace, credential.name, credential.key, credential.optional === true, signal);
  const reference = objectStorage.caCertRef;
  const caCertPem =
    reference?.name === undefined || reference.name === ""
      ? undefined
      : await readKey(client, namespace, reference.name, reference.key, reference.optional === true, signal);
  return { ...(credentialsText === undefined ? {} : { credentialsText }), ...(caCertPem === undefined ? {} : { caCertPem }) };
}

/** The password of every repository of this installation, without white space around it. Throws KUBE_NOT_FOUND when it is not there. */
export async function readRepositoryPassword(client: KubeClient, namespace: string, signal?: AbortSignal): Promise<string> {
  return ((await readKey(client, namespace, REPOSITORY_CREDENTIALS.name, REPOSITORY_CREDENTIALS.key, false, signal)) ?? "").trim();
}

async function readKey(
  client: KubeClient,
  namespace: string,
  name: string,
  key: string,
  optional: boolean,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const secret = await client.find(secrets, { namespace, name }, signal);
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

export interface MoverSecretOptions {
  readonly name: string;
  readonly namespace: string;
  readonly owner: OwnerReference;
  readonly label: typeof LABELS.dataUpload | typeof LABELS.dataDownload;
  readonly locationName: string;
  readonly repository: BackupRepository;
}

/** Builds the Secret. Throws KUBE_NOT_FOUND when the location or a Secret it needs is not there. */
export async function buildMoverSecret(client: KubeClient, options: MoverSecretOptions): Promise<Secret> {
  const { namespace, name, label, owner } = options;
  const location = await client.find(backupStorageLocations, { namespace, name: options.locationName });
  if (location === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot find backup storage location "${options.locationName}"`);
  const { credentialsText, caCertPem } = await readLocationSecrets(client, namespace, location);
  const password = await readRepositoryPassword(client, namespace);
  const { metadata, spec } = options.repository;
  const encode = (text: string): string => Buffer.from(text, "utf8").toString("base64");
  return {
    metadata: { name, namespace, labels: { [label]: validLabelValue(name) }, ownerReferences: [owner] },
    type: "Opaque",
    data: {
      [MOVER_SECRET_KEYS.locationJson]: encode(JSON.stringify({ metadata: { name: location.metadata.name, namespace }, spec: location.spec })),
      [MOVER_SECRET_KEYS.repositoryJson]: encode(JSON.stringify({ metadata: { name: metadata.name, namespace, uid: metadata.uid }, spec })),
      [MOVER_SECRET_KEYS.repositoryPassword]: encode(password),
      ...(credentialsText === undefined ? {} : { [MOVER_SECRET_KEYS.credentials]: encode(credentialsText) }),
      ...(caCertPem === undefined ? {} : { [MOVER_SECRET_KEYS.caCert]: encode(caCertPem) }),
    },
  };
}
