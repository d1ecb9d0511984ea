/** Errors of CSI drivers: gRPC status codes on the wire, `DrayError` on both sides of it. */
import { type Code, DrayError, isDrayError, messageOf } from "@drayage/base";
import { status as grpcStatus, type ServiceError, type StatusObject } from "@grpc/grpc-js";

export type StatusName = keyof typeof grpcStatus;

/** What each status means here. A status that is not listed is CSI_FAILED. Source of the meanings: the error schemes of the CSI specification. */
const CODE_OF_STATUS: Partial<Record<StatusName, Code>> = {
  INVALID_ARGUMENT: "CSI_INVALID",
  NOT_FOUND: "CSI_NOT_FOUND",
  ALREADY_EXISTS: "CSI_ALREADY_EXISTS",
  OUT_OF_RANGE: "CSI_OUT_OF_RANGE",
  FAILED_PRECONDITION: "CSI_PRECONDITION",
  RESOURCE_EXHAUSTED: "CSI_NO_SPACE",
  ABORTED: "CSI_BUSY",
  UNAVAILABLE: "CSI_UNAVAILABLE",
  DEADLINE_EXCEEDED: "CSI_UNAVAILABLE",
  CANCELLED: "CSI_UNAVAILABLE",
  UNIMPLEMENTED: "NOT_SUPPORTED",
  PERMISSION_DENIED: "NOT_PERMITTED",
  UNAUTHENTICATED: "NOT_PERMITTED",
};

/** Statuses after which the operation may still be under way in the driver: the caller must ask again rather than give up on it. */
const UNFINISHED: ReadonlySet<string> = new Set<StatusName>(["CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"]);

/** The error a driver throws to answer with this status. */
export function csiError(name: StatusName, message: string, options: { readonly cause?: unknown; readonly hint?: string } = {}): DrayError {
  return new DrayError(CODE_OF_STATUS[name] ?? "CSI_FAILED", message, { ...options, context: { status: name } });
}

/** What goes over the wire for a thrown value; what is not an error of ours is INTERNAL. */
export function statusOf(error: unknown): Pick<StatusObject, "code" | "details"> {
  const name = isDrayError(error) ? error.context["status"] : undefined;
  const code = typeof name === "string" && Object.hasOwn(grpcStatus, name) ? grpcStatus[name as StatusName] : grpcStatus.INTERNAL;
  const hint = isDrayError(error) && error.hint !== undefined ? `. ${error.hint}` : "";
  return { code, details: `${messageOf(error)}${hint}` };
}

/** The error of a failed call; the driver's own text is kept as it is. */
export function errorFromStatus(method: string, error: ServiceError): DrayError {
  const name = (grpcStatus[error.code] ?? "UNKNOWN") as StatusName;
  return new DrayError(CODE_OF_STATUS[name] ?? "CSI_FAILED", error.details === "" ? `Cannot call "${method}": ${name}` : error.details, {
    context: { status: name, method },
  });
}

/** Whether the driver has answered for good: the operation is not under way any more. False for a lost connection, a timeout, and "operation pending". */
export function isFinal(error: unknown): boolean {
  const name = isDrayError(error) ? error.context["status"] : undefined;
  return typeof name === "string" && !UNFINISHED.has(name);
}
