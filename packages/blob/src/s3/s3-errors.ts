/**
 * What the errors of S3 and of the way to it mean, said once. Above this file nobody looks at an SDK error.
 * Names: the API reference of Amazon S3 ("Error responses"), and what MinIO, Ceph and versitygw answer beside them.
 */
import { DrayError, messageOf } from "@drayage/base";
import { connectionMeaning, type Meaning } from "../connection-errors.ts";

const DENIED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "Check the access key, the secret, and what the bucket's policy lets this key do." };
const EXPIRED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The credentials have expired; put fresh ones in place." };
const SKEWED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The clock of this machine and that of the object store differ too much; set the clock." };
const NO_BUCKET: Meaning = { code: "BLOB_BUCKET_NOT_FOUND", hint: "Create the bucket, or correct its name." };
const WRONG_REGION: Meaning = { code: "BLOB_BAD_CONFIG", hint: "Set the region the bucket is in." };
const NO_LOCK: Meaning = { code: "NOT_SUPPORTED", hint: "The bucket has no object lock; it is switched on when the bucket is made." };
const THROTTLED: Meaning = { code: "BLOB_THROTTLED" };
const UNAVAILABLE: Meaning = { code: "BLOB_UNAVAILABLE" };
const NO_SPACE: Meaning = { code: "BLOB_NO_SPACE", hint: "The object store has no room left; free space there or raise its quota." };

/** By the name of the error in the answer's XML. */
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
  ObjectLockConfigurationNotFoundError: NO_LOCK,
  InvalidBucketObjectLockConfiguration: NO_LOCK,
  QuotaExceeded: NO_SPACE,
  EntityTooLarge: NO_SPACE,
  XMinioStorageFull: NO_SPACE,
  InsufficientStorage: NO_SPACE,
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
  const connection = connectionMeaning(error);
  const name = connection?.name ?? nameOf(error);
  const status = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;
  // Without a status nothing came back: whatever the reason, the way to the store is at fault.
  const meaning =
    connection?.meaning ?? (isMissingLock(name, error) ? NO_LOCK : undefined) ?? BY_NAME[name] ?? (status === undefined ? UNAVAILABLE : byStatus(status));
  const said = messageOf(error);
  const known = name === "" || said.includes(name) || name === "UnknownError" || name === "Error";
  return new DrayError(meaning.code, `${action}: ${known ? said : `${name}: ${said}`}`, {
    cause: error,
    context: { s3Error: name === "" ? undefined : name, status },
    ...(meaning.hint === undefined ? {} : { hint: meaning.hint }),
  });
}

/** AWS and MinIO say of a lock in a bucket without object lock only that the request is not valid; the message names the reason. */
function isMissingLock(name: string, error: unknown): boolean {
  return name === "InvalidRequest" && /object ?lock/i.test(messageOf(error));
}

/** The name under which the table knows an error: the S3 error code, else the name of the SDK's. */
function nameOf(error: unknown): string {
  const { name, Code: code, code: errno } = (error ?? {}) as { name?: unknown; Code?: unknown; code?: unknown };
  for (const candidate of [code, name, errno]) if (typeof candidate === "string" && BY_NAME[candidate] !== undefined) return candidate;
  return typeof code === "string" ? code : typeof name === "string" && name !== "Error" ? name : typeof errno === "string" ? errno : "";
}
