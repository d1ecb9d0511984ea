/** The one Secret that a mover pod has mounted: everything it needs to open its repository, and nothing of any other (DESIGN 8.4). */
import {
  type BackupRepository,
  type BackupStorageLocation,
  backupStorageLocations,
  type LocationSecrets,
  MOVER_SECRET_KEYS,
  RESULT_KEY_BYTES,
  readRepositoryPassword,
  readLocationSecrets as readSecretsOfLocation,
  validLabelValue,
} from "@drayage/api";
import { DrayError, type RandomSource } from "@drayage/base";
import { isOwnedBy, type KubeClient, type KubeObject, keyOf, type OwnerReference, type Secret, secrets } from "@drayage/kube";

/** Reads the Secrets that a location refers to (see the api package). */
export function readLocationSecrets(client: KubeClient, namespace: string, location: BackupStorageLocation, signal?: AbortSignal): Promise<LocationSecrets> {
  return readSecretsOfLocation((key) => client.find(secrets, key, signal), namespace, location, signal);
}

export interface MoverSecretOptions {
  readonly name: string;
  readonly namespace: string;
  readonly owner: OwnerReference;
  /** The mark of its movement's epoch. */
  readonly annotations?: Readonly<Record<string, string>>;
  /** Under which the object that it is for is named. */
  readonly label: string;
  readonly locationName: string;
  readonly repository: Pick<BackupRepository, "metadata" | "spec">;
  /** Opens the repository; that of the installation's own repositories when left out. */
  readonly password?: string;
  /** Where the key comes from by which the mover proves what it tells of its end; it has none when left out. */
  readonly random?: RandomSource;
}

/** Builds the Secret. Throws KUBE_NOT_FOUND when the location or a Secret it needs is not there. */
export async function buildMoverSecret(client: KubeClient, options: MoverSecretOptions): Promise<Secret> {
  const { namespace, name, label, owner, annotations = {}, random } = options;
  const location = await client.find(backupStorageLocations, { namespace, name: options.locationName });
  if (location === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot find backup storage location "${options.locationName}"`);
  const { credentialsText, caCertPem } = await readLocationSecrets(client, namespace, location);
  const password = options.password ?? (await readRepositoryPassword((key) => client.find(secrets, key), namespace, location));
  const { metadata, spec } = options.repository;
  const encode = (text: string): string => Buffer.from(text, "utf8").toString("base64");
  return {
    metadata: {
      name,
      namespace,
      labels: { [label]: validLabelValue(name) },
      ownerReferences: [owner],
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    type: "Opaque",
    data: {
      [MOVER_SECRET_KEYS.locationJson]: encode(JSON.stringify({ metadata: { name: location.metadata.name, namespace }, spec: location.spec })),
      [MOVER_SECRET_KEYS.repositoryJson]: encode(JSON.stringify({ metadata: { name: metadata.name, namespace, uid: metadata.uid }, spec })),
      [MOVER_SECRET_KEYS.repositoryPassword]: encode(password),
      ...(credentialsText === undefined ? {} : { [MOVER_SECRET_KEYS.credentials]: encode(credentialsText) }),
      ...(caCertPem === undefined ? {} : { [MOVER_SECRET_KEYS.caCert]: encode(caCertPem) }),
      ...(random === undefined ? {} : { [MOVER_SECRET_KEYS.resultKey]: Buffer.from(random.bytes(RESULT_KEY_BYTES)).toString("base64") }),
    },
  };
}

/** The key by which the mover of a movement proves its result; undefined where it was given none. */
export async function readResultKey(client: Pick<KubeClient, "find">, namespace: string, movement: KubeObject): Promise<Uint8Array | undefined> {
  const secret = await client.find(secrets, { namespace, name: keyOf(movement).name });
  const key = secret?.data?.[MOVER_SECRET_KEYS.resultKey];
  return secret === undefined || key === undefined || !isOwnedBy(secret, movement) ? undefined : Buffer.from(key, "base64");
}
