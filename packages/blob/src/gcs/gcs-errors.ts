/**
 * What the errors of Google Cloud Storage and of its token endpoints mean, said once.
 * Names: "HTTP status and error codes for JSON" of the reference (`error.errors[0].reason`), and OAuth's `error` of token endpoints.
 */
import type { DrayError } from "@drayage/base";
import { connectionMeaning, type Meaning, translated } from "../connection-errors.ts";

const DENIED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "Check the credentials, and the roles of the account on the bucket (Storage Object Admin)." };
const NO_TOKEN: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "No token was given: check the credentials file, or that the pod or machine has an account." };
const SKEWED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The clock of this machine and that of the token endpoint differ too much; set the clock." };
const RETAINED: Meaning = { code: "BLOB_ACCESS_DENIED", hint: "The object is under a retention policy or a hold." };
const NO_BUCKET: Meaning = { code: "BLOB_BUCKET_NOT_FOUND", hint: "Create the bucket, or correct its name." };
const THROTTLED: Meaning = { code: "BLOB_THROTTLED" };
const UNAVAILABLE: Meaning = { code: "BLOB_UNAVAILABLE" };

const BY_REASON: Readonly<Record<string, Meaning>> = {
  forbidden: DENIED,
  authError: DENIED,
  required: DENIED,
  insufficientPermissions: DENIED,
  accountDisabled: DENIED,
  userProjectMissing: { code: "BLOB_BAD_CONFIG", hint: "The bucket's requester pays: say with which project." },
  objectUnderActiveHold: RETAINED,
  retentionPolicyNotMet: RETAINED,
  conditionNotMet: { code: "BLOB_ALREADY_EXISTS" },
  requestedRangeNotSatisfiable: { code: "BLOB_INVALID_RANGE" },
  rateLimitExceeded: THROTTLED,
  userRateLimitExceeded: THROTTLED,
  quotaExceeded: THROTTLED,
  backendError: UNAVAILABLE,
  internalError: UNAVAILABLE,
  notImplemented: { code: "NOT_SUPPORTED" },
  objectRetentionDisabled: { code: "NOT_SUPPORTED", hint: "The bucket has no object retention; it is switched on when the bucket is made." },
  invalid_grant: NO_TOKEN,
  invalid_client: NO_TOKEN,
  unauthorized_client: NO_TOKEN,
  invalid_target: NO_TOKEN,
};

function byStatus(status: number): Meaning {
  if (status === 401 || status === 403) return DENIED;
  if (status === 404) return { code: "BLOB_NOT_FOUND" };
  if (status === 412) return { code: "BLOB_ALREADY_EXISTS" };
  if (status === 416) return { code: "BLOB_INVALID_RANGE" };
  if (status === 429) return THROTTLED;
  if (status === 501) return { code: "NOT_SUPPORTED" };
  if (status === 507) return { code: "BLOB_NO_SPACE", hint: "The object store has no room left." };
  return status >= 500 || status === 408 || status < 300 ? UNAVAILABLE : { code: "BLOB_BAD_CONFIG" };
}

/** An answer that says no, as `GcsConnection` reads it. */
export class GcsRefusal extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Reads the body of an answer that says no: JSON as the reference has it, or whatever a proxy wrote. */
export function gcsRefusal(status: number, body: string): GcsRefusal {
  try {
    const { error } = JSON.parse(body) as { error?: { message?: unknown; errors?: readonly { reason?: unknown }[] } };
    const reason = error?.errors?.[0]?.reason;
    return new GcsRefusal(status, typeof reason === "string" ? reason : "", typeof error?.message === "string" ? error.message : `HTTP status ${status}`);
  } catch {
    const text = /^[\x20-\x7e\s]{1,200}$/.test(body) && !body.includes("<") ? body.trim() : "";
    return new GcsRefusal(status, "", text === "" ? `HTTP status ${status}` : text);
  }
}

/** Translates an error of the store, of a token endpoint or of the connection. `action` is the first half of the message. */
export function translateGcsError(error: unknown, action: string): DrayError {
  const connection = connectionMeaning(error);
  const { status, reason } = factsOf(error);
  const tokenFailed = !(error instanceof GcsRefusal) && isTokenError(error);
  const meaning =
    connection?.meaning ??
    timeMeaning(error) ??
    (Object.hasOwn(BY_REASON, reason) ? BY_REASON[reason] : undefined) ??
    (noBucket(error) ? NO_BUCKET : undefined) ??
    (tokenFailed && (status === undefined || (status >= 400 && status < 500)) ? NO_TOKEN : status === undefined ? UNAVAILABLE : byStatus(status));
  return translated(error, action, meaning, { gcsReason: connection?.name ?? (reason === "" ? undefined : reason), status });
}

/** Of requests on a bucket, where nothing else can be missing. */
export function bucketNotFound(refusal: GcsRefusal, action: string): DrayError {
  return translated(refusal, action, NO_BUCKET, { gcsReason: refusal.reason === "" ? undefined : refusal.reason, status: refusal.status });
}

function factsOf(error: unknown): { readonly status: number | undefined; readonly reason: string } {
  if (error instanceof GcsRefusal) return { status: error.status, reason: error.reason };
  const { status, response } = (error ?? {}) as { status?: unknown; response?: { status?: unknown; data?: { error?: unknown } } };
  const answered = [response?.status, status].find((value): value is number => typeof value === "number");
  const oauth = response?.data?.error;
  return { status: answered, reason: typeof oauth === "string" ? oauth : "" };
}

/** The auth library's errors: those of its HTTP client, and plain ones that say that there are no credentials. */
function isTokenError(error: unknown): boolean {
  const { name, config, message } = (error ?? {}) as { name?: unknown; config?: unknown; message?: unknown };
  return name === "GaxiosError" || config !== undefined || /credential|token|private key|PEM|DECODER/i.test(String(message ?? ""));
}

function timeMeaning(error: unknown): Meaning | undefined {
  const data = (error as { response?: { data?: { error_description?: unknown } } } | null)?.response?.data;
  return typeof data?.error_description === "string" && /reasonable timeframe|iat and exp|Token used too early/i.test(data.error_description)
    ? SKEWED
    : undefined;
}

function noBucket(error: unknown): boolean {
  return error instanceof GcsRefusal && error.status === 404 && /bucket does not exist|bucket.*not found/i.test(error.message);
}
