/**
 * Failures as the Kubernetes API tells them: a `Status` object with a reason, details and, for invalid objects, one cause a field. These are answers to a client, not faults
 * of this program; they never leave the server, which is why they are not DrayErrors.
 */

export interface StatusCause {
  readonly reason?: string;
  readonly message: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Record<string, never>;
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code?: number;
}

export class StatusError extends Error {
  readonly status: Status;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = "StatusError";
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      ...(reason === "" ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }

  get code(): number {
    return this.status.code ?? 500;
  }
}

export function isStatusError(error: unknown): error is StatusError {
  return error instanceof StatusError;
}

/** A resource or a kind with its group, as messages name it. */
export interface GroupName {
  readonly group: string;
  readonly name: string;
}

const qualified = (it: GroupName): string => (it.group === "" ? it.name : `${it.name}.${it.group}`);
const about = (it: GroupName, name: string): StatusDetails => ({
  ...(name === "" ? {} : { name }),
  ...(it.group === "" ? {} : { group: it.group }),
  ...(it.name === "" ? {} : { kind: it.name }),
});

export const notFound = (resource: GroupName, name: string): StatusError =>
  new StatusError(404, "NotFound", `${qualified(resource)} "${name}" not found`, about(resource, name));
export const alreadyExists = (resource: GroupName, name: string): StatusError =>
  new StatusError(409, "AlreadyExists", `${qualified(resource)} "${name}" already exists`, about(resource, name));
export const conflict = (resource: GroupName, name: string, why: string): StatusError =>
  new StatusError(409, "Conflict", `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`, about(resource, name));
export const modified = (resource: GroupName, name: string): StatusError =>
  conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again");
export const forbidden = (resource: GroupName, name: string, why: string): StatusError =>
  new StatusError(
    403,
    "Forbidden",
    name === "" ? `${qualified(resource)} is forbidden: ${why}` : `${qualified(resource)} "${name}" is forbidden: ${why}`,
    about(resource, name),
  );
export const unauthorized = (): StatusError => new StatusError(401, "Unauthorized", "Unauthorized");
export const badRequest = (message: string): StatusError => new StatusError(400, "BadRequest", message);
export const expired = (message: string): StatusError => new StatusError(410, "Expired", message);
export const internalError = (message: string): StatusError =>
  new StatusError(500, "InternalError", `Internal error occurred: ${message}`, { causes: [{ message }] });
export const serviceUnavailable = (message: string): StatusError => new StatusError(503, "ServiceUnavailable", message);
export const methodNotSupported = (resource: GroupName, action: string): StatusError =>
  new StatusError(405, "MethodNotAllowed", `${action} is not supported on resources of kind "${qualified(resource)}"`, about(resource, ""));
export const methodNotAllowed = (): StatusError =>
  new StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
export const resourceUnknown = (): StatusError => new StatusError(404, "NotFound", "the server could not find the requested resource", {});
export const unsupportedMediaType = (accepted: readonly string[]): StatusError =>
  new StatusError(415, "UnsupportedMediaType", `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`);
export const notAcceptable = (accepted: readonly string[]): StatusError =>
  new StatusError(406, "NotAcceptable", `406: Not Acceptable\n\nAvailable representations: ${accepted.join(", ")}`, {});
export const entityTooLarge = (limitBytes: number): StatusError =>
  new StatusError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${limitBytes}`);
export const tooManyRequests = (message: string, retryAfterSeconds: number): StatusError =>
  new StatusError(429, "TooManyRequests", message, { retryAfterSeconds });
/** The version asked for lies in the future: the real server waits a while for it and then gives up. */
export const resourceVersionTooLarge = (wanted: number, current: number): StatusError =>
  new StatusError(504, "Timeout", `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });

/** One thing that is wrong with a field, in the words and with the reason codes of the real server. */
export interface FieldError {
  readonly type: "Required" | "Invalid" | "NotSupported" | "Duplicate" | "Forbidden" | "TooLong" | "TooMany" | "NotFound" | "TypeInvalid" | "Internal";
  readonly field: string;
  readonly message: string;
}

const REASONS: Readonly<Record<FieldError["type"], string>> = {
  Required: "FieldValueRequired",
  Invalid: "FieldValueInvalid",
  NotSupported: "FieldValueNotSupported",
  Duplicate: "FieldValueDuplicate",
  Forbidden: "FieldValueForbidden",
  TooLong: "FieldValueTooLong",
  TooMany: "FieldValueTooMany",
  NotFound: "FieldValueNotFound",
  TypeInvalid: "FieldValueTypeInvalid",
  Internal: "InternalError",
};

/** A value as messages show it: strings quoted, scalars plain, anything else as JSON. */
function shown(value: unknown): string {
  return value === undefined ? "null" : JSON.stringify(value);
}

const withDetail = (head: string, detail: string): string => (detail === "" ? head : `${head}: ${detail}`);

export const required = (field: string, detail = ""): FieldError => ({ type: "Required", field, message: withDetail("Required value", detail) });
export const invalid = (field: string, value: unknown, detail: string): FieldError => ({
  type: "Invalid",
  field,
  message: withDetail(`Invalid value: ${shown(value)}`, detail),
});
export const typeInvalid = (field: string, value: unknown, detail: string): FieldError => ({
  type: "TypeInvalid",
  field,
  message: withDetail(`Invalid value: ${shown(value)}`, detail),
});
export const notSupported = (field: string, value: unknown, supported: readonly unknown[]): FieldError => ({
  type: "NotSupported",
  field,
  message: withDetail(`Unsupported value: ${shown(value)}`, supported.length === 0 ? "" : `supported values: ${supported.map(shown).join(", ")}`),
});
export const duplicate = (field: string, value: unknown): FieldError => ({ type: "Duplicate", field, message: `Duplicate value: ${shown(value)}` });
export const fieldForbidden = (field: string, detail: string): FieldError => ({ type: "Forbidden", field, message: withDetail("Forbidden", detail) });
export const tooLong = (field: string, limit: number): FieldError => ({ type: "TooLong", field, message: `Too long: may not be more than ${limit} bytes` });
export const tooMany = (field: string, count: number, limit: number): FieldError => ({
  type: "TooMany",
  field,
  message: `Too many: ${count}: must have at most ${limit} items`,
});
export const fieldNotFound = (field: string, value: unknown): FieldError => ({ type: "NotFound", field, message: `Not found: ${shown(value)}` });

/** An object that was understood and refused. */
export function invalidObject(kind: GroupName, name: string, errors: readonly FieldError[]): StatusError {
  const lines = errors.map((it) => `${it.field}: ${it.message}`);
  const unique = [...new Set(lines)];
  const text = unique.length === 1 ? unique[0] : `[${unique.join(", ")}]`;
  return new StatusError(422, "Invalid", `${qualified(kind)} "${name}" is invalid: ${text}`, {
    ...about(kind, name),
    causes: errors.map((it) => ({ reason: REASONS[it.type], message: it.message, field: it.field })),
  });
}
