import { type ConfigKey, caCertOf, LocationConfig, type LocationFields, type LocationSecrets, prefixOf } from "../location/location-fields.ts";
import { parseAwsCredentials } from "./aws-credentials.ts";
import {
  CHECKSUM_ALGORITHMS,
  type ChecksumAlgorithm,
  type S3Options,
  SERVER_SIDE_ENCRYPTIONS,
  type ServerSideEncryption,
  STORAGE_CLASSES,
  type StorageClass,
} from "./s3-options.ts";

/** The keys of a location of provider `aws`, as Velero's plug-in for AWS names them, and three of ours at the end. */
export const S3_LOCATION_KEYS: readonly ConfigKey[] = [
  { name: "region", meaning: "The bucket's region; found out at AWS when left out, `us-east-1` elsewhere." },
  { name: "s3Url", meaning: "Address of the store, `https://host:port`, where it is not AWS. A location with it counts as `aws` whatever its provider." },
  { name: "publicUrl", meaning: "Address of the store in download addresses, where users reach it by another name." },
  { name: "s3ForcePathStyle", meaning: "`true`: the bucket stands in the path and not in the host name." },
  { name: "insecureSkipTLSVerify", meaning: "`true`: any certificate is taken." },
  { name: "profile", meaning: "Which profile of the credentials; `default` when left out." },
  { name: "checksumAlgorithm", meaning: "`CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`; empty sends none." },
  { name: "serverSideEncryption", meaning: "`AES256`, `aws:kms` or `aws:kms:dsse`." },
  { name: "kmsKeyId", meaning: "The KMS key; alone it implies `aws:kms`." },
  {
    name: "customerKeyEncryptionFile",
    meaning: "A file with the 32 bytes of an SSE-C key. Velero's repositories are written without it, and so are ours: it covers what lies beside `kopia/`.",
  },
  { name: "customerKeyEncryptionSecret", meaning: "The same key in a Secret of the installation's namespace, `name/key`." },
  { name: "tagging", meaning: "Tags of what is written, `key=value&key=value`." },
  { name: "enableSharedConfig", meaning: "Taken and not needed: a profile with a role is understood in any case." },
  { name: "signatureVersion", meaning: "Only `4` is supported, which is also the default." },
  { name: "credentialsFile", meaning: "Taken and not used: the credentials come from the location's Secret." },
  {
    name: "storageClass",
    meaning: "Of what is written: `STANDARD_IA`, `INTELLIGENT_TIERING`, …; classes that must be thawed are refused. Ours, not of Velero's plug-in.",
  },
  { name: "expectedBucketOwner", meaning: "Account that must own the bucket. Ours, not of Velero's plug-in." },
];

/** The options of a location's bucket. The prefix ends in a slash. Throws BLOB_BAD_CONFIG naming the key that is not known or cannot be read, NOT_SUPPORTED for signature version 1. */
export function s3ConfigFromLocation(location: LocationFields, secrets: LocationSecrets = {}): S3Options {
  const config = new LocationConfig(location, S3_LOCATION_KEYS);
  const checksum = config.has("checksumAlgorithm") ? (config.text("checksumAlgorithm") ?? "") : undefined;
  if (checksum !== undefined && checksum !== "" && !isChecksumAlgorithm(checksum)) {
    config.refuse(`config key "checksumAlgorithm" is ${JSON.stringify(checksum)}, one of ${CHECKSUM_ALGORITHMS.join(", ")} or nothing is wanted`);
  }
  if (config.text("signatureVersion") !== undefined && config.text("signatureVersion") !== "4") {
    config.refuse(`config key "signatureVersion" is "${config.text("signatureVersion")}", only 4 is supported`);
  }
  const profile = config.text("profile");
  const optional = {
    region: config.text("region"),
    endpoint: config.text("s3Url")?.replace(/\/+$/, ""),
    publicUrl: config.text("publicUrl")?.replace(/\/+$/, ""),
    pathStyle: config.flag("s3ForcePathStyle"),
    insecureSkipTlsVerify: config.flag("insecureSkipTLSVerify"),
    caCert: caCertOf(location, secrets, config),
    checksumAlgorithm: checksum as ChecksumAlgorithm | "" | undefined,
    serverSideEncryption: oneOf(config, "serverSideEncryption", SERVER_SIDE_ENCRYPTIONS) as ServerSideEncryption | undefined,
    kmsKeyId: config.text("kmsKeyId"),
    customerKey: customerKeyOf(config, secrets),
    storageClass: oneOf(config, "storageClass", STORAGE_CLASSES) as StorageClass | undefined,
    tagging: config.text("tagging"),
    expectedBucketOwner: config.text("expectedBucketOwner"),
    credentials: secrets.credentialsText === undefined ? undefined : parseAwsCredentials(secrets.credentialsText, profile),
    profile: secrets.credentialsText === undefined ? profile : undefined,
  };
  if (optional.customerKey !== undefined && (optional.kmsKeyId !== undefined || optional.serverSideEncryption !== undefined)) {
    config.refuse("a customer key excludes kmsKeyId and serverSideEncryption");
  }
  const said = Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<S3Options>;
  return { bucket: location.objectStorage.bucket, prefix: prefixOf(location), ...said };
}

function oneOf(config: LocationConfig, name: string, values: readonly string[]): string | undefined {
  const value = config.text(name);
  if (value !== undefined && !values.includes(value)) config.refuse(`config key "${name}" is ${JSON.stringify(value)}, one of ${values.join(", ")} is wanted`);
  return value;
}

function customerKeyOf(config: LocationConfig, secrets: LocationSecrets): Uint8Array | undefined {
  const wanted = config.text("customerKeyEncryptionFile") !== undefined || config.text("customerKeyEncryptionSecret") !== undefined;
  if (!wanted) return undefined;
  const key = secrets.customerKey ?? config.refuse("the customer key that its config names was not read");
  // Velero's plug-in takes the first 32 bytes, whatever follows them.
  return key.length >= 32 ? key.subarray(0, 32) : config.refuse(`the customer key has ${key.length} bytes, 32 are wanted`);
}

function isChecksumAlgorithm(text: string): text is ChecksumAlgorithm {
  return (CHECKSUM_ALGORITHMS as readonly string[]).includes(text);
}
