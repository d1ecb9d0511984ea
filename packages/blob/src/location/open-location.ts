/** Opens what a BackupStorageLocation names, whatever its provider. The one place that knows which provider a location means; each provider is loaded when a location asks for it. */
import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { type Clock, DrayError, type RandomSource } from "@drayage/base";
import { openDirectoryStore } from "../filesystem/directory-store.ts";
import { openFilesystemStorage } from "../filesystem/filesystem-storage.ts";
import type { ObjectStore } from "../object-store.ts";
import type { Sha256Ranges } from "../s3/s3-options.ts";
import type { BlobStorage } from "../storage.ts";
import { type ConfigKey, LocationConfig, type LocationFields, type LocationSecrets, prefixOf } from "./location-fields.ts";

export interface NamedLocation {
  /** For messages. */
  readonly name: string;
  /** `aws`, `azure`, `gcp` or `fs`, with or without `velero.io/` before it. */
  readonly provider: string;
  readonly fields: LocationFields;
}

export interface OpenLocationOptions {
  readonly secrets?: LocationSecrets;
  /** Of this process: where identities of the cloud find what the cluster gives them. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly random: RandomSource;
}

export type LocationKind = "aws" | "azure" | "gcp" | "fs";

/** The keys of a location of provider `fs`. */
export const FS_LOCATION_KEYS: readonly ConfigKey[] = [{ name: "fspath", meaning: "The folder that holds the buckets as folders; absolute. Needed." }];

/** What a location's provider means here. A store that speaks S3 is `aws` whatever its plug-in is called, as in Velero. Throws NOT_SUPPORTED for one that is not known. */
export function locationKind({ name, provider, fields }: NamedLocation): LocationKind {
  const kind = provider.replace(/^velero\.io\//, "");
  if (kind === "azure" || kind === "gcp" || kind === "fs") return kind;
  if (kind === "aws" || (fields.config?.["s3Url"] ?? "") !== "") return "aws";
  throw new DrayError("NOT_SUPPORTED", `Cannot use backup storage location "${name}": provider "${provider}" is not known`, {
    hint: "Known are aws, azure, gcp and fs, and every store that speaks S3 (config.s3Url).",
  });
}

/** The location's bucket, rooted at its prefix. Throws BLOB_BAD_CONFIG naming the location's field, NOT_SUPPORTED for a provider that is not known. */
export async function openLocationStore(location: NamedLocation, options: OpenLocationOptions): Promise<ObjectStore> {
  const { fields } = location;
  const secrets = options.secrets ?? {};
  switch (locationKind(location)) {
    case "aws": {
      const { openS3ObjectStore, s3ConfigFromLocation } = await import("../s3/index.ts");
      const customerKey = secrets.customerKey ?? (await customerKeyFile(fields));
      return await openS3ObjectStore(s3ConfigFromLocation(fields, { ...secrets, ...(customerKey === undefined ? {} : { customerKey }) }));
    }
    case "azure": {
      const { azureConfigFromLocation, openAzureObjectStore } = await import("../azure/index.ts");
      return await openAzureObjectStore({ ...azureConfigFromLocation(fields, secrets, options.environment), clock: options.clock });
    }
    case "gcp": {
      const { gcsConfigFromLocation, openGcsObjectStore } = await import("../gcs/index.ts");
      return await openGcsObjectStore({ ...gcsConfigFromLocation(fields, secrets), clock: options.clock });
    }
    case "fs":
      return await openDirectoryStore({ path: join(folderOf(fields), prefixOf(fields)), random: options.random });
  }
}

/** A folder below the location's prefix as blob storage; `folder` has no slash at its ends. `create` makes it where the provider has folders. Throws as `openLocationStore` does. */
export async function openLocationStorage(
  location: NamedLocation,
  folder: string,
  options: OpenLocationOptions & { readonly create?: boolean; readonly sha256Ranges?: Sha256Ranges | undefined },
): Promise<BlobStorage> {
  const { fields } = location;
  const secrets = options.secrets ?? {};
  const prefix = `${prefixOf(fields)}${folder}/`;
  switch (locationKind(location)) {
    case "aws": {
      const { openS3Storage, s3ConfigFromLocation } = await import("../s3/index.ts");
      // Velero's uploader knows no customer keys: it could not read a repository that is written under one.
      const { customerKeyEncryptionFile: _file, customerKeyEncryptionSecret: _secret, ...config } = fields.config ?? {};
      const { sha256Ranges } = options;
      return await openS3Storage({ ...s3ConfigFromLocation({ ...fields, config }, secrets), prefix, ...(sha256Ranges === undefined ? {} : { sha256Ranges }) });
    }
    case "azure": {
      const { azureConfigFromLocation, openAzureStorage } = await import("../azure/index.ts");
      return await openAzureStorage({ ...azureConfigFromLocation(fields, secrets, options.environment), prefix });
    }
    case "gcp": {
      const { gcsConfigFromLocation, openGcsStorage } = await import("../gcs/index.ts");
      return await openGcsStorage({ ...gcsConfigFromLocation(fields, secrets), prefix });
    }
    case "fs":
      return await openFilesystemStorage({ path: join(folderOf(fields), prefix), create: options.create ?? false, random: options.random });
  }
}

async function customerKeyFile(fields: LocationFields): Promise<Uint8Array | undefined> {
  const path = fields.config?.["customerKeyEncryptionFile"] ?? "";
  if (path === "") return undefined;
  try {
    return await readFile(path);
  } catch (cause) {
    throw new DrayError(
      "BLOB_BAD_CONFIG",
      `Cannot use the location of bucket "${fields.objectStorage.bucket}": customerKeyEncryptionFile "${path}" cannot be read`,
      { cause },
    );
  }
}

function folderOf(fields: LocationFields): string {
  const config = new LocationConfig(fields, FS_LOCATION_KEYS);
  const path = config.text("fspath") ?? config.refuse('config key "fspath" is missing');
  return isAbsolute(path)
    ? join(path, fields.objectStorage.bucket)
    : config.refuse(`config key "fspath" is ${JSON.stringify(path)}, an absolute path is wanted`);
}
