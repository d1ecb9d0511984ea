/** What errors of the way to a store mean (DNS, TCP, TLS): the same for every provider, by the codes that Node and undici give them. */
import { type Code, DrayError, messageOf } from "@drayage/base";

export interface Meaning {
  readonly code: Code;
  readonly hint?: string;
}

const UNAVAILABLE: Meaning = { code: "BLOB_UNAVAILABLE" };
const CERTIFICATE: Meaning = { code: "BLOB_BAD_CONFIG", hint: "Give the certificate of the store's authority (caCert), or correct the endpoint." };
const UNKNOWN_NAME: Meaning = { code: "BLOB_UNAVAILABLE", hint: "The name of the endpoint is not known here: check it, and the DNS." };
const SILENT: Meaning = {
  code: "BLOB_UNAVAILABLE",
  hint: "Nothing answered in time: check the endpoint, and what stands between (firewall, proxy, network policy).",
};
const NOT_TLS: Meaning = { code: "BLOB_BAD_CONFIG", hint: "The endpoint does not speak TLS as was asked; check http:// against https://." };

const BY_CODE: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: { code: "BLOB_UNAVAILABLE", hint: "Nothing answers there: check the endpoint, and that the object store runs." },
  ECONNRESET: UNAVAILABLE,
  EPIPE: UNAVAILABLE,
  EHOSTUNREACH: SILENT,
  ENETUNREACH: SILENT,
  ETIMEDOUT: SILENT,
  ENOTFOUND: UNKNOWN_NAME,
  EAI_AGAIN: UNKNOWN_NAME,
  UND_ERR_CONNECT_TIMEOUT: SILENT,
  UND_ERR_HEADERS_TIMEOUT: SILENT,
  UND_ERR_BODY_TIMEOUT: SILENT,
  UND_ERR_SOCKET: UNAVAILABLE,
  SELF_SIGNED_CERT_IN_CHAIN: CERTIFICATE,
  DEPTH_ZERO_SELF_SIGNED_CERT: CERTIFICATE,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: CERTIFICATE,
  UNABLE_TO_GET_ISSUER_CERT: CERTIFICATE,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: CERTIFICATE,
  CERT_HAS_EXPIRED: CERTIFICATE,
  CERT_NOT_YET_VALID: CERTIFICATE,
  ERR_TLS_CERT_ALTNAME_INVALID: CERTIFICATE,
  EPROTO: NOT_TLS,
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_TLS,
};

/** The meaning of a failed connection, looked for in the error, the errors it sums up (several addresses tried) and its causes. */
export function connectionMeaning(error: unknown, depth = 0): { readonly name: string; readonly meaning: Meaning } | undefined {
  if (typeof error !== "object" || error === null || depth > 5) return undefined;
  const { code, errors, cause } = error as { code?: unknown; errors?: unknown; cause?: unknown };
  const meaning = typeof code === "string" && Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  if (meaning !== undefined) return { name: code as string, meaning };
  return connectionMeaning(Array.isArray(errors) ? errors[0] : undefined, depth + 1) ?? connectionMeaning(cause, depth + 1);
}

/** `action` is the first half of the message: `Cannot read blob "x" of s3://b/p`. */
export function translated(error: unknown, action: string, { code, hint }: Meaning, context: Readonly<Record<string, string | number | undefined>>): DrayError {
  const name = Object.values(context).find((value): value is string => typeof value === "string") ?? "";
  // Some libraries' messages run over several lines, of which those after the first repeat ids or advertise pages.
  const said = deepestMessage(error).split("\n")[0]?.trim() ?? "";
  return new DrayError(code, `${action}: ${name === "" || said.includes(name) ? said : `${name}: ${said}`}`, {
    cause: error,
    context,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** `fetch failed` and the like say nothing; what they wrap does. */
function deepestMessage(error: unknown): string {
  const said = messageOf(error);
  const { cause, errors } = (error ?? {}) as { cause?: unknown; errors?: unknown };
  if (said === "" && Array.isArray(errors) && errors.length > 0) return messageOf(errors[0]);
  return /^fetch failed$/i.test(said) && cause instanceof Error ? deepestMessage(cause) : said;
}
