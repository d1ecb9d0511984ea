/** The API server's answers as errors of the house; the only place that knows its reasons and codes. */
import { type Code, DrayError } from "@drayage/base";

/** `meta/v1 Status`, which the API server answers with when it refuses. */
export interface Status {
  readonly kind?: string;
  readonly status?: string;
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly name?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string; readonly message?: string; readonly field?: string }[];
  };
}

const CODE_OF_REASON: Readonly<Record<string, Code>> = {
  NotFound: "KUBE_NOT_FOUND",
  AlreadyExists: "KUBE_ALREADY_EXISTS",
  Conflict: "KUBE_CONFLICT",
  Gone: "KUBE_GONE",
  Expired: "KUBE_GONE",
  Invalid: "KUBE_INVALID",
  BadRequest: "KUBE_BAD_REQUEST",
  MethodNotAllowed: "KUBE_BAD_REQUEST",
  NotAcceptable: "KUBE_BAD_REQUEST",
  UnsupportedMediaType: "KUBE_BAD_REQUEST",
  RequestEntityTooLarge: "KUBE_BAD_REQUEST",
  Forbidden: "KUBE_FORBIDDEN",
  Unauthorized: "KUBE_UNAUTHORIZED",
  TooManyRequests: "KUBE_THROTTLED",
  Timeout: "KUBE_UNAVAILABLE",
  ServerTimeout: "KUBE_UNAVAILABLE",
  InternalError: "KUBE_UNAVAILABLE",
  ServiceUnavailable: "KUBE_UNAVAILABLE",
};

const CODE_OF_HTTP: Readonly<Record<number, Code>> = {
  401: "KUBE_UNAUTHORIZED",
  403: "KUBE_FORBIDDEN",
  404: "KUBE_NOT_FOUND",
  409: "KUBE_CONFLICT",
  410: "KUBE_GONE",
  422: "KUBE_INVALID",
  429: "KUBE_THROTTLED",
};

const HINTS: Partial<Record<Code, string>> = {
  KUBE_UNAUTHORIZED: "Check the credentials of this kubeconfig context; a token may have expired.",
  KUBE_FORBIDDEN: "Grant the missing permission to this user or service account.",
  KUBE_UNAVAILABLE: "Check that the API server is running and can be reached from here.",
};

function codeFor(httpStatus: number, reason: string | undefined): Code {
  const byReason = reason === undefined ? undefined : CODE_OF_REASON[reason];
  if (byReason !== undefined) return byReason;
  return CODE_OF_HTTP[httpStatus] ?? (httpStatus >= 500 ? "KUBE_UNAVAILABLE" : "KUBE_BAD_REQUEST");
}

/** The error of a refused request. `action` continues the word "Cannot": `get pods "ns/name"`. */
export function errorFromStatus(action: string, httpStatus: number, status: Status | undefined, retryAfterMs?: number): DrayError {
  const code = codeFor(httpStatus, status?.reason);
  const hint = HINTS[code];
  const waitMs = retryAfterMs ?? (status?.details?.retryAfterSeconds === undefined ? undefined : status.details.retryAfterSeconds * 1000);
  return new DrayError(code, `Cannot ${action}: ${status?.message ?? `the API server answered ${httpStatus}`}`, {
    context: {
      status: httpStatus,
      reason: status?.reason,
      retryAfterMs: waitMs,
      // The server does not know the resource at all (no such CustomResourceDefinition), rather than one object of it.
      ...(code === "KUBE_NOT_FOUND" && (status?.details?.name ?? "") === "" ? { resourceMissing: true } : {}),
    },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The error of a request that got no answer. `sent` says whether the server may have seen it. */
export function errorFromTransport(action: string, cause: unknown, sent: boolean): DrayError {
  const detail = cause instanceof Error ? (cause.message === "" ? cause.name : cause.message) : String(cause);
  const hint = TLS_FAILURE.test(`${syscallCode(cause) ?? ""} ${detail}`)
    ? "The server's certificate is not signed by the CA of this kubeconfig: check certificate-authority, and that the address is the one that was meant."
    : HINTS["KUBE_UNAVAILABLE"];
  return new DrayError("KUBE_UNAVAILABLE", `Cannot ${action}: no answer from the API server: ${detail}`, {
    cause,
    context: { sent, syscall: syscallCode(cause) },
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What Node says of a certificate that it does not trust. */
const TLS_FAILURE = /CERT_|SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET)|self-signed certificate|ERR_TLS_CERT/;

function syscallCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT", "ECONNABORTED"]);

/** Whether this failure happened before a byte of the request left. */
export function neverSent(error: unknown): boolean {
  const code = syscallCode(error) ?? syscallCode((error as { cause?: unknown } | null)?.cause);
  return code !== undefined && NEVER_SENT.has(code);
}

/** The body of a refusal, or undefined when it is not a Status. */
export function parseStatus(text: string): Status | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && (value as Status).kind === "Status") return value as Status;
  } catch {
    // Not JSON: a proxy's page, or plain text from the server's own filters; told below.
  }
  const plain = text.trim();
  return plain === "" || plain.startsWith("<") ? undefined : { message: plain.slice(0, 500) };
}
