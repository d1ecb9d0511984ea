/** Where the bucket of a CloudStorage is, and how it is reached. Pure. */
import type { BackupStorageLocation, CloudStorage, DataProtectionApplication } from "@drayage/api";

/** What a location's `config` says of the store and not of the objects in it. */
const OF_THE_STORE = ["region", "s3Url", "s3ForcePathStyle", "insecureSkipTLSVerify", "profile"];

/** On the object: the store in which its bucket was found or made, once an application has said which it is. Without it, nobody would know when that application is gone. */
export const BUCKET_STORE_ANNOTATION = "drayage.io/bucket-store";

interface Store {
  readonly config: Readonly<Record<string, string>>;
  readonly caCert?: string;
}

/** What a location of an application says of the object's store; undefined where none refers to it. */
export function storeOf(storage: CloudStorage, applications: readonly DataProtectionApplication[]): string | undefined {
  const locations = [...applications]
    .sort((a, b) => ((a.metadata.name ?? "") < (b.metadata.name ?? "") ? -1 : 1))
    .flatMap(({ spec }) => spec.backupLocations ?? []);
  const bucket = locations.find((location) => location.bucket?.cloudStorageRef?.name === storage.metadata.name)?.bucket;
  if (bucket === undefined) return undefined;
  const { config = {}, caCert } = bucket;
  const store: Store = {
    config: Object.fromEntries(Object.entries(config).filter(([key]) => OF_THE_STORE.includes(key))),
    ...(caCert === undefined ? {} : { caCert }),
  };
  return JSON.stringify(store);
}

/**
 * The location of the bucket. The object names none but AWS' own store; where a location of an application refers to it, or did, that says which store it is.
 * OADP, which does not look there, can make buckets in AWS alone.
 */
export function bucketLocation(storage: CloudStorage, applications: readonly DataProtectionApplication[]): BackupStorageLocation {
  const { name, creationSecret, region } = storage.spec;
  const { config: reached, caCert } = parse(storeOf(storage, applications) ?? storage.metadata.annotations?.[BUCKET_STORE_ANNOTATION]);
  return {
    metadata: { namespace: storage.metadata.namespace ?? "", name: storage.metadata.name ?? "" },
    spec: {
      provider: "aws",
      objectStorage: { bucket: name, ...(caCert === undefined ? {} : { caCert }) },
      credential: { name: creationSecret.name ?? "", key: creationSecret.key },
      config: { ...reached, ...(region === undefined || region === "" ? {} : { region }) },
    },
  };
}

/** Whoever may write the object may write what is on it: only what a location may say counts. */
function parse(text = "{}"): Store {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const { config, caCert } = (typeof value === "object" && value !== null ? value : {}) as { readonly config?: unknown; readonly caCert?: unknown };
  const entries = Object.entries(typeof config === "object" && config !== null ? config : {});
  return {
    config: Object.fromEntries(entries.filter(([key, of]) => OF_THE_STORE.includes(key) && typeof of === "string")) as Record<string, string>,
    ...(typeof caCert === "string" ? { caCert } : {}),
  };
}
