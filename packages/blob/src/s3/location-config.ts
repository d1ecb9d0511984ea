import { DrayError, fromBase64, fromUtf8 } from "@drayage/base";
import { parseAwsCredentials } from "./aws-credentials.ts";
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm, type S3Options } from "./s3-options.ts";

/** The part of a BackupStorageLocation's spec that says where its bucket is. */
export interface LocationFields {
  readonly objectStorage: {
    readonly bucket: string;
    readonly prefix?: string;
    /** Base64 of PEM, as the resource holds it. */
    readonly caCert?: string;
  };
  readonly config?: Readonly<Record<string, string>>;
}

/** What a location may hold besides: the text of its credentials file, and a certificate read from `caCertRef`. */
export interface LocationSecrets {
  readonly credentialsText?: string;
  /** PEM; wins over the location's own. */
  readonly caCertPem?: string;
}

/**
 * The options of a location's bucket from the keys of Velero's AWS plug-in: `region`, `s3Url`, `s3ForcePathStyle`, `insecureSkipTLSVerify`, `profile`, `checksumAlgorithm`.
 * The prefix ends in a slash. Keys that say nothing about the connection (`publicUrl`, `kmsKeyId`, `serverSideEncryption`, …) are left alone.
 * Throws BLOB_BAD_CONFIG naming the key that cannot be read.
 */
export function s3ConfigFromLocation(location: LocationFields, secrets: LocationSecrets = {}): S3Options {
  const { objectStorage, config = {} } = location;
  const refuse = (what: string): never => {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot use the location of bucket "${objectStorage.bucket}": ${what}`);
  };
  const flag = (key: string): boolean | undefined => {
    const value = config[key];
    if (value === undefined || value === "") return undefined;
    if (/^(true|t|1)$/i.test(value)) return true;
    if (/^(false|f|0)$/i.test(value)) return false;
    return refuse(`config key "${key}" is ${JSON.stringify(value)}, true or false is wanted`);
  };
  const checksum = config["checksumAlgorithm"];
  if (checksum !== undefined && checksum !== "" && !isChecksumAlgorithm(checksum)) {
    refuse(`config key "checksumAlgorithm" is ${JSON.stringify(checksum)}, one of ${CHECKSUM_ALGORITHMS.join(", ")} or nothing is wanted`);
  }
  const endpoint = config["s3Url"] === undefined || config["s3Url"] === "" ? undefined : config["s3Url"].replace(/\/+$/, "");
  const prefix = (objectStorage.prefix ?? "").replace(/^\/+|\/+$/g, "");
  const profile = config["profile"] === undefined || config["profile"] === "" ? undefined : config["profile"];
  const caCert = secrets.caCertPem ?? decodeCaCert(objectStorage.caCert, refuse);
  const pathStyle = flag("s3ForcePathStyle");
  const insecure = flag("insecureSkipTLSVerify");
  return {
    bucket: objectStorage.bucket,
    prefix: prefix === "" ? "" : `${prefix}/`,
    ...(config["region"] === undefined || config["region"] === "" ? {} : { region: config["region"] }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
    ...(insecure === undefined ? {} : { insecureSkipTlsVerify: insecure }),
    ...(caCert === undefined ? {} : { caCert }),
    ...(checksum !== undefined && (checksum === "" || isChecksumAlgorithm(checksum)) ? { checksumAlgorithm: checksum } : {}),
    ...(secrets.credentialsText === undefined
      ? profile === undefined
        ? {}
        : { profile }
      : { credentials: parseAwsCredentials(secrets.credentialsText, profile) }),
  };
}

function isChecksumAlgorithm(text: string): text is ChecksumAlgorithm {
  return (CHECKSUM_ALGORITHMS as readonly string[]).includes(text);
}

function decodeCaCert(base64: string | undefined, refuse: (what: string) => never): string | undefined {
  if (base64 === undefined || base64 === "") return undefined;
  const bytes = fromBase64(base64);
  const pem = bytes === undefined ? "" : fromUtf8(bytes);
  return pem.includes("-----BEGIN CERTIFICATE-----") ? pem : refuse("objectStorage.caCert is not the base64 of a PEM certificate");
}
