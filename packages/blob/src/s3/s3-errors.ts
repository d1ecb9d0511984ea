/**
 * What the errors of S3 and of the way to it mean, said once. Above this file nobody looks at an SDK error.
 * Names: the API reference of Amazon S3 ("Error responses"), and what MinIO, Ceph and versitygw answer beside them.
 */
import { type Code, DrayError, messageOf } from "@drayage/base";

interface Meaning {
  readonly code: Code;
  readonly hint?: string;
}

const DENIED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "Check the access key, the secret, and what the bucket's policy lets this key do." };
const EXPIRED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The credentials have expired; put fresh ones in place." };
const SKEWED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The clock of this machine and that of the object store differ too much; set the clock." };
const NO_BUCKET: Meaning = { code: "BLOB_BUCKET_NOT_FOUND", hint: "Create the bucket, or correct its name." };
const WRONG_REGION: Meaning = { code: "BLOB_BAD_CONFIG", hint: "Set the region the bucket is in." };
const CERTIFICATE: Meaning = { code: "BLOB_BAD_CONFIG", hint: "Give the certificate of the store's authority (caCert), or correct the endpoint." };
const THROTTLED: Meaning = { code: "BLOB_THROTTLED" };
const UNAVAILABLE: Meaning = { code: "BLOB_UNAVAILABLE" };
const NO_SPACE: Meaning = { code: "BLOB_NO_SPACE", hint: "The object store has no room left; free space there or raise its quota." };

/** By the name of the error in the answer's XML, or by the code of a failed connection. */
const BY_NAME: Readonly<Record<string, Meaning>> = {
  NoSuchKey: { code: "BLOB_NOT_FOUND" },
  NoSuchBucket: NO_BUCKET,
  InvalidRange: { code: "BLOB_INVALID_RANGE" },
  PreconditionFailed: { code: "BLOB_ALREADY_EXISTS" },
  // Another conditional put of the same key is under way; a moment later one of the two exists.
  ConditionalRequestConflict: UNAVAILABLE,
  OperationAborted: UNAVAILABLE,
  AccessDenied: DENIED,
  AllAccessDisabled: DENIED,
  AccountProblem: DENIED,
  InvalidAccessKeyId: DENIED,
  SignatureDoesNotMatch: DENIED,
  // versitygw, of an access key it does not know.
  XAdminUserNotFound: DENIED,
  InvalidSecurity: DENIED,
  NotSignedUp: DENIED,
  CredentialsProviderError: { code: "BLOB_ACCESS_DENIED", hint: "No credentials were found; give an access key, a credentials file, or a role." },
  ExpiredToken: EXPIRED,
  InvalidToken: EXPIRED,
  TokenRefreshRequired: EXPIRED,
  RequestTimeTooSkewed: SKEWED,
  RequestExpired: SKEWED,
  PermanentRedirect: WRONG_REGION,
  AuthorizationHeaderMalformed: WRONG_REGION,
  IllegalLocationConstraintException: WRONG_REGION,
  InvalidBucketName: { code: "BLOB_BAD_CONFIG", hint: "Correct the name of the bucket." },
  SlowDown: THROTTLED,
  ServiceUnavailable: THROTTLED,
  Throttling: THROTTLED,
  ThrottlingException: THROTTLED,
  RequestLimitExceeded: THROTTLED,
  BandwidthLimitExceeded: THROTTLED,
  TooManyRequests: THROTTLED,
  TooManyRequestsException: THROTTLED,
  // Damage on the way: the next try sends it whole.
  BadDigest: UNAVAILABLE,
  XAmzContentSHA256Mismatch: UNAVAILABLE,
  XAmzContentChecksumMismatch: UNAVAILABLE,
  IncompleteBody: UNAVAILABLE,
  InternalError: UNAVAILABLE,
  RequestTimeout: UNAVAILABLE,
  TimeoutError: UNAVAILABLE,
  NotImplemented: { code: "NOT_SUPPORTED" },
  QuotaExceeded: NO_SPACE,
  EntityTooLarge: NO_SPACE,
  XMinioStorageFull: NO_SPACE,
  InsufficientStorage: NO_SPACE,
  ECONNREFUSED: { code: "BLOB_UNAVAILABLE", hint: "Nothing answers there: check the endpoint, and that the object store runs." },
  ENOTFOUND: { code: "BLOB_UNAVAILABLE", hint: "The name of the endpoint is not known here: check it, and the DNS." },
  SELF_SIGNED_CERT_IN_CHAIN: CERTIFICATE,
  DEPTH_ZERO_SELF_SIGNED_CERT: CERTIFICATE,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: CERTIFICATE,
  UNABLE_TO_GET_ISSUER_CERT: CERTIFICATE,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: CERTIFICATE,
  CERT_HAS_EXPIRED: CERTIFICATE,
  ERR_TLS_CERT_ALTNAME_INVALID: CERTIFICATE,
  EPROTO: { code: "BLOB_BAD_CONFIG", hint: "The endpoint does not speak TLS as was asked; check http:// against https://." },
  ERR_SSL_WRONG_VERSION_NUMBER: { code: "BLOB_BAD_CONFIG", hint: "The endpoint does not speak TLS; use http:// if that is meant." },
};

/** By HTTP status, for answers without a body (HEAD) and names that are not known here. */
function byStatus(status: number): Meaning {
  if (status === 401 || status === 403) return DENIED;
  if (status === 404) return { code: "BLOB_NOT_FOUND" };
  if (status === 412) return { code: "BLOB_ALREADY_EXISTS" };
  if (status === 416) return { code: "BLOB_INVALID_RANGE" };
  if (status === 429 || status === 503) return THROTTLED;
  if (status === 301 || status === 307) return WRONG_REGION;
  if (status === 501) return { code: "NOT_SUPPORTED" };
  if (status === 507) return NO_SPACE;
  // A 2xx here is an answer that broke off or could not be read.
  if (status >= 500 || status === 408 || status < 300) return UNAVAILABLE;
  return { code: "BLOB_BAD_CONFIG" };
}

/** Translates an error of the SDK or of the connection. `action` is the first half of the message: `Cannot read blob "x" of s3://b/p`. */
export function translateS3Error(error: unknown, action: string): DrayError {
  const name = nameOf(error);
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
  // Without a status nothing came back: whatever the reason, the way to the store is at fault.
  const meaning = BY_NAME[name] ?? (status === undefined ? UNAVAILABLE : byStatus(status));
  const said = messageOf(error);
  const known = name === "" || said.includes(name) || name === "UnknownError" || name === "Error";
  return new DrayError(meaning.code, `${action}: ${known ? said : `${name}: ${said}`}`, {
    cause: error,
    context: { s3Error: name === "" ? undefined : name, status },
    ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
  });
}

/** The name under which the table knows an error: the S3 error code, else the code of the failed connection. An aggregate (several addresses tried) counts as its first. */
function nameOf(error: unknown): string {
  const { name, Code: code, code: errno, errors } = (error ?? {}) as { name?: unknown; Code?: unknown; code?: unknown; errors?: unknown };
  for (const candidate of [code, name, errno]) if (typeof candidate === "string" && BY_NAME[candidate] !== undefined) return candidate;
  if (Array.isArray(errors) && errors.length > 0) return nameOf(errors[0]);
  return typeof code === "string" ? code : typeof name === "string" && name !== "Error" ? name : typeof errno === "string" ? errno : "";
}
