/**
 * What the errors of Azure Blob Storage and of Entra ID mean, said once.
 * Names: "Common REST API error codes" and "Blob Storage error codes" of Azure's reference, and the errors of the identity library.
 */
import type { DrayError } from "@drayage/base";
import { connectionMeaning, type Meaning, translated } from "../connection-errors.ts";

const DENIED: Meaning = {
  code: "BLOB_ACCESS_DENIED",
  hint: "Check the key or SAS, or the roles of the identity (Storage Blob Data Contributor on the container).",
};
const NO_IDENTITY: Meaning = {
  code: "BLOB_ACCESS_DENIED",
  hint: "No token was given: check tenant, client and secret, or that the pod or machine has the identity.",
};
const SKEWED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The clock of this machine and that of the object store differ too much; set the clock." };
const EXPIRED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The SAS is not valid now (expired, or not yet); put a fresh one in place." };
const LOCKED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The blob is under an immutability policy or a legal hold." };
const NO_CONTAINER: Meaning = { code: "BLOB_BUCKET_NOT_FOUND", hint: "Create the container, or correct its name." };
const THROTTLED: Meaning = { code: "BLOB_THROTTLED" };
const UNAVAILABLE: Meaning = { code: "BLOB_UNAVAILABLE" };
const BAD_CONFIG: Meaning = { code: "BLOB_BAD_CONFIG" };

const BY_NAME: Readonly<Record<string, Meaning>> = {
  BlobNotFound: { code: "BLOB_NOT_FOUND" },
  ResourceNotFound: { code: "BLOB_NOT_FOUND" },
  ContainerNotFound: NO_CONTAINER,
  ContainerBeingDeleted: NO_CONTAINER,
  ContainerDisabled: NO_CONTAINER,
  InvalidResourceName: { code: "BLOB_BAD_CONFIG", hint: "Correct the name of the container." },
  InvalidRange: { code: "BLOB_INVALID_RANGE" },
  BlobAlreadyExists: { code: "BLOB_ALREADY_EXISTS" },
  ConditionNotMet: { code: "BLOB_ALREADY_EXISTS" },
  AuthenticationFailed: DENIED,
  AuthorizationFailure: DENIED,
  AuthorizationPermissionMismatch: DENIED,
  AuthorizationProtocolMismatch: DENIED,
  AuthorizationSourceIPMismatch: DENIED,
  InsufficientAccountPermissions: DENIED,
  InvalidAuthenticationInfo: DENIED,
  NoAuthenticationInformation: DENIED,
  PublicAccessNotPermitted: DENIED,
  KeyBasedAuthenticationNotPermitted: { code: "BLOB_ACCESS_DENIED", hint: "The account does not take keys; use an identity (useAAD)." },
  AccountIsDisabled: DENIED,
  BlobImmutableDueToPolicy: LOCKED,
  BlobImmutableDueToLegalHold: LOCKED,
  ServerBusy: THROTTLED,
  OperationTimedOut: THROTTLED,
  InternalError: UNAVAILABLE,
  Md5Mismatch: UNAVAILABLE,
  Crc64Mismatch: UNAVAILABLE,
  AccountBeingCreated: UNAVAILABLE,
  FeatureNotEnabled: { code: "NOT_SUPPORTED" },
  ContainerImmutableStorageWithVersioningNotEnabled: {
    code: "NOT_SUPPORTED",
    hint: "The container has no version-level immutability; it is switched on when the container is made.",
  },
  // The identity library.
  CredentialUnavailableError: NO_IDENTITY,
  AuthenticationError: NO_IDENTITY,
  AuthenticationRequiredError: NO_IDENTITY,
  AggregateAuthenticationError: NO_IDENTITY,
  // The pipeline: a body that broke off, an answer that is no XML.
  REQUEST_SEND_ERROR: UNAVAILABLE,
  PARSE_ERROR: UNAVAILABLE,
};

function byStatus(status: number): Meaning {
  if (status === 401 || status === 403) return DENIED;
  if (status === 404) return { code: "BLOB_NOT_FOUND" };
  if (status === 409) return UNAVAILABLE;
  if (status === 412) return { code: "BLOB_ALREADY_EXISTS" };
  if (status === 416) return { code: "BLOB_INVALID_RANGE" };
  if (status === 429 || status === 503) return THROTTLED;
  if (status === 501) return { code: "NOT_SUPPORTED" };
  if (status === 507) return { code: "BLOB_NO_SPACE", hint: "The object store has no room left." };
  return status >= 500 || status === 408 || status < 300 ? UNAVAILABLE : BAD_CONFIG;
}

/** Translates an error of the SDK or of the connection. `action` is the first half of the message. */
export function translateAzureError(error: unknown, action: string): DrayError {
  const connection = connectionMeaning(error);
  const { code, name, statusCode } = (error ?? {}) as { code?: unknown; name?: unknown; statusCode?: unknown };
  const status = typeof statusCode === "number" ? statusCode : undefined;
  const known = connection?.name ?? [code, name].find((candidate) => typeof candidate === "string" && Object.hasOwn(BY_NAME, candidate));
  const said = typeof code === "string" ? code : typeof name === "string" && name !== "Error" && name !== "RestError" ? name : "";
  const named = typeof known === "string" ? known : said;
  const meaning = connection?.meaning ?? timeMeaning(error) ?? BY_NAME[named] ?? (status === undefined ? UNAVAILABLE : byStatus(status));
  return translated(error, action, meaning, { azureError: named === "" ? undefined : named, status });
}

/** Azure says of a wrong clock and of an expired SAS only that authentication failed; the detail tells them apart. */
function timeMeaning(error: unknown): Meaning | undefined {
  const { details, message } = (error ?? {}) as { details?: { authenticationErrorDetail?: unknown; AuthenticationErrorDetail?: unknown }; message?: unknown };
  const detail = `${String(message ?? "")} ${String(details?.authenticationErrorDetail ?? details?.AuthenticationErrorDetail ?? "")}`;
  if (/date header too old|Request date header/i.test(detail)) return SKEWED;
  if (/Signature not valid in the specified time frame|Signed expiry time/i.test(detail)) return EXPIRED;
  return undefined;
}
