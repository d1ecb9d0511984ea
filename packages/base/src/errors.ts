/**
 * The one error class of the house, and the table that says of each code what its caller should do.
 *
 * Match on `code`, never on text or `instanceof`. Foreign errors are translated once, at the edge that knows them; above that edge
 * context is added, and nothing is re-wrapped or downgraded. Cancellation is not an error: an AbortSignal's reason travels as it is.
 */

/**
 * What the caller should do.
 * - `retry`: passing trouble; back off and try again within a budget.
 * - `wait`: a human or another system must act first; try again slowly and say so.
 * - `terminal`: trying again cannot help.
 * - `bug`: a broken promise of our own; stop this object and ask for a report.
 */
export type Disposition = "retry" | "wait" | "terminal" | "bug";

/** Every code, with its disposition. The list in docs/errors.md is made from this table. */
export const CODES = {
  // base
  INVARIANT: "bug",
  USAGE: "terminal",
  TIMED_OUT: "retry",
  NOT_SUPPORTED: "terminal",
  NOT_PERMITTED: "wait",
  // blob storage and object stores
  BLOB_NOT_FOUND: "terminal",
  BLOB_ALREADY_EXISTS: "terminal",
  BLOB_INVALID_RANGE: "terminal",
  BLOB_ACCESS_DENIED: "wait",
  BLOB_BUCKET_NOT_FOUND: "wait",
  BLOB_THROTTLED: "retry",
  BLOB_UNAVAILABLE: "retry",
  BLOB_NO_SPACE: "wait",
  BLOB_BAD_CONFIG: "wait",
  // repository
  REPO_NOT_FOUND: "wait",
  REPO_ALREADY_EXISTS: "terminal",
  REPO_WRONG_PASSWORD: "wait",
  REPO_CORRUPT: "terminal",
  REPO_UNSUPPORTED: "terminal",
  REPO_LOCKED: "wait",
  REPO_READ_ONLY: "terminal",
  REPO_CONTENT_NOT_FOUND: "terminal",
  REPO_MANIFEST_NOT_FOUND: "terminal",
  REPO_CLOCK_SKEW: "wait",
  // data path
  PATH_NOT_FOUND: "terminal",
  PATH_NOT_EMPTY: "terminal",
  PATH_ESCAPES_TARGET: "terminal",
  PATH_NO_SPACE: "wait",
  PATH_IO: "terminal",
  // Kubernetes
  KUBE_NOT_FOUND: "terminal",
  KUBE_ALREADY_EXISTS: "terminal",
  KUBE_CONFLICT: "retry",
  KUBE_GONE: "retry",
  KUBE_INVALID: "terminal",
  KUBE_BAD_REQUEST: "terminal",
  KUBE_FORBIDDEN: "wait",
  KUBE_UNAUTHORIZED: "wait",
  KUBE_THROTTLED: "retry",
  KUBE_UNAVAILABLE: "retry",
  KUBE_CONFIG: "wait",
  // CSI drivers
  CSI_INVALID: "terminal",
  CSI_NOT_FOUND: "terminal",
  CSI_ALREADY_EXISTS: "terminal",
  CSI_OUT_OF_RANGE: "terminal",
  CSI_PRECONDITION: "wait",
  CSI_NO_SPACE: "wait",
  CSI_BUSY: "retry",
  CSI_UNAVAILABLE: "retry",
  CSI_FAILED: "retry",
  // plug-ins of Velero's
  PLUGIN_BROKEN: "wait",
  PLUGIN_LOST: "retry",
  PLUGIN_FAILED: "terminal",
  // archive
  ARCHIVE_CORRUPT: "terminal",
  ARCHIVE_UNSUPPORTED: "terminal",
  // backups, restores, data movement
  BACKUP_NOT_FOUND: "terminal",
  VALIDATION_FAILED: "terminal",
  HOOK_FAILED: "terminal",
  SNAPSHOT_FAILED: "terminal",
  DATA_MOVEMENT_FAILED: "terminal",
} as const satisfies Record<string, Disposition>;

export type Code = keyof typeof CODES;

/** Facts for logs and messages: short scalars, never a secret, a key or a payload. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | undefined>>;

export interface DrayErrorOptions {
  readonly cause?: unknown;
  readonly context?: ErrorContext;
  /** What the reader should do next, as a sentence. */
  readonly hint?: string;
}

const BRAND: unique symbol = Symbol.for("drayage.error") as never;

/**
 * An error with a stable code. The message names the action that failed, quotes its subject, and says what is and what was wanted,
 * without a full stop: `Cannot open repository "s3://b/p": password does not match`.
 */
export class DrayError extends Error {
  readonly [BRAND] = true;
  readonly code: Code;
  readonly context: ErrorContext;
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: DrayErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "DrayError";
    this.code = code;
    this.context = options.context ?? {};
    this.hint = options.hint;
  }

  get disposition(): Disposition {
    return CODES[this.code];
  }
}

/** Whether a thrown value is ours, also when two copies of this package are loaded. */
export function isDrayError(error: unknown): error is DrayError {
  return typeof error === "object" && error !== null && (error as Record<symbol, unknown>)[BRAND] === true;
}

/** Whether a thrown value is ours and carries one of these codes. */
export function hasCode(error: unknown, ...codes: readonly Code[]): error is DrayError {
  return isDrayError(error) && codes.includes(error.code);
}

/** The disposition of any thrown value: what is not ours is a bug, since it was not translated at its edge. */
export function dispositionOf(error: unknown): Disposition {
  return isDrayError(error) ? error.disposition : "bug";
}

/** The text of any thrown value, for a message or a status field. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws INVARIANT when `condition` does not hold: a promise between two parts of this program was broken. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new DrayError("INVARIANT", message, { hint: "This is a defect of Drayage; please report it with the logs." });
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new DrayError("INVARIANT", `Unexpected value ${JSON.stringify(value)}`);
}

/** Whether a thrown value is the reason of an aborted signal (or the platform's own AbortError). */
export function isAbort(error: unknown, signal?: AbortSignal): boolean {
  if (signal?.aborted === true && error === signal.reason) return true;
  return error instanceof Error && error.name === "AbortError";
}
