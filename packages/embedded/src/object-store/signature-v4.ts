/**
 * Verification of AWS Signature Version 4, in the header form and the presigned form.
 * Source of the algorithm: "Authenticating Requests (AWS Signature Version 4)" in the API reference of Amazon S3.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { asBuffer, type Clock, utf8 } from "@drayage/base";
import { S3Error } from "./s3-error.ts";

export interface StoreCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** When given, requests must carry it. */
  readonly sessionToken?: string;
}

/** A request as far as its signature covers it. */
export interface SignedRequest {
  readonly method: string;
  /** Decoded: `/bucket/a key`. */
  readonly path: string;
  /** Decoded, in the order of the request. */
  readonly query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What a verified request's body must be: its hash, or the signed frames it comes in. */
export type PayloadRule =
  | { readonly kind: "unsigned" }
  | { readonly kind: "hashed"; readonly sha256: string }
  | { readonly kind: "chunked"; readonly signed: ChunkSigner | undefined; readonly trailer: boolean };

/** Signs the frames of an `aws-chunked` body, each over the one before. */
export interface ChunkSigner {
  /** The signature of the next chunk with this data's SHA-256. */
  next(sha256: string): string;
  /** The signature of the trailing headers, given as the text that is signed. */
  trailer(text: string): string;
}

const ALGORITHM = "AWS4-HMAC-SHA256";
const SKEW_MAX_MS = 15 * 60_000;
const PRESIGN_MAX_S = 7 * 24 * 3600;
const EMPTY_SHA256 = createHash("sha256").digest("hex");

/** Verifies who sent a request. Throws the S3 errors a client expects; says what its body must be. */
export function verifyRequest(request: SignedRequest, credentials: StoreCredentials, clock: Clock): PayloadRule {
  const query = new Map(request.query);
  const signed = query.has("X-Amz-Signature") ? presigned(query) : inHeader(request.headers);
  const { scope } = signed;
  if (scope.accessKeyId !== credentials.accessKeyId)
    throw new S3Error("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
  checkTime(signed, clock.nowMs());
  if (credentials.sessionToken !== signed.sessionToken) throw new S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.");
  if (!signed.headerNames.includes("host")) throw new S3Error("AccessDenied", "There were headers present in the request which were not signed: host");

  const key = [scope.date, scope.region, scope.service, "aws4_request"].reduce(hmac, Buffer.from(`AWS4${credentials.secretAccessKey}`, "utf8"));
  const canonical = [
    request.method,
    uriEncode(request.path, false),
    canonicalQuery(request.query),
    ...signed.headerNames.map((name) => `${name}:${(request.headers[name] ?? "").trim().replace(/\s+/g, " ")}`),
    "",
    signed.headerNames.join(";"),
    signed.payload,
  ].join("\n");
  const scopeText = `${scope.date}/${scope.region}/${scope.service}/aws4_request`;
  const wanted = hmac(key, [ALGORITHM, signed.time, scopeText, sha256Hex(utf8(canonical))].join("\n")).toString("hex");
  if (!equalText(wanted, signed.signature)) {
    throw new S3Error(
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  }
  return payloadRule(signed.payload, chunkSigner(key, wanted, signed.time, scopeText));
}

interface Signed {
  readonly scope: { readonly accessKeyId: string; readonly date: string; readonly region: string; readonly service: string };
  readonly headerNames: readonly string[];
  readonly signature: string;
  /** `20260101T000000Z`. */
  readonly time: string;
  readonly expiresSeconds: number | undefined;
  readonly payload: string;
  readonly sessionToken: string | undefined;
}

function inHeader(headers: SignedRequest["headers"]): Signed {
  const header = headers["authorization"];
  if (header === undefined) throw new S3Error("AccessDenied", "Access Denied.");
  const match = /^AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]+)$/.exec(header);
  if (match === null) throw new S3Error("AuthorizationHeaderMalformed", "The authorization header you provided is invalid.");
  const payload = headers["x-amz-content-sha256"];
  if (payload === undefined) throw new S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
  return {
    scope: parseScope(match[1] ?? "", "AuthorizationHeaderMalformed"),
    headerNames: (match[2] ?? "").split(";"),
    signature: match[3] ?? "",
    time: headers["x-amz-date"] ?? "",
    expiresSeconds: undefined,
    payload,
    sessionToken: headers["x-amz-security-token"],
  };
}

function presigned(query: ReadonlyMap<string, string>): Signed {
  const expiresSeconds = Number(query.get("X-Amz-Expires"));
  if (query.get("X-Amz-Algorithm") !== ALGORITHM || !Number.isInteger(expiresSeconds) || expiresSeconds < 0 || expiresSeconds > PRESIGN_MAX_S) {
    throw new S3Error("AuthorizationQueryParametersError", "The query string authentication parameters are invalid.");
  }
  return {
    scope: parseScope(query.get("X-Amz-Credential") ?? "", "AuthorizationQueryParametersError"),
    headerNames: (query.get("X-Amz-SignedHeaders") ?? "").split(";"),
    signature: query.get("X-Amz-Signature") ?? "",
    time: query.get("X-Amz-Date") ?? "",
    expiresSeconds,
    payload: query.get("X-Amz-Content-Sha256") ?? "UNSIGNED-PAYLOAD",
    sessionToken: query.get("X-Amz-Security-Token"),
  };
}

function parseScope(text: string, code: "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError"): Signed["scope"] {
  const parts = text.split("/");
  const [service, terminator] = parts.slice(-2);
  const [date, region] = parts.slice(-4, -2);
  // The key itself may hold slashes.
  const accessKeyId = parts.slice(0, -4).join("/");
  if (accessKeyId === "" || date === undefined || region === undefined || service !== "s3" || terminator !== "aws4_request") {
    throw new S3Error(code, "The credential scope is malformed; expecting <key>/<date>/<region>/s3/aws4_request.");
  }
  return { accessKeyId, date, region, service };
}

function checkTime(signed: Signed, nowMs: number): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(signed.time);
  if (match === null || !signed.time.startsWith(signed.scope.date))
    throw new S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header.");
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const signedMs = Date.UTC(year, month - 1, day, hour, minute, second);
  if (signed.expiresSeconds !== undefined) {
    if (nowMs > signedMs + signed.expiresSeconds * 1000) throw new S3Error("AccessDenied", "Request has expired");
    if (signedMs > nowMs + SKEW_MAX_MS) throw new S3Error("AccessDenied", "Request is not valid yet");
  } else if (Math.abs(nowMs - signedMs) > SKEW_MAX_MS) {
    throw new S3Error("RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.");
  }
}

function payloadRule(payload: string, signer: ChunkSigner): PayloadRule {
  switch (payload) {
    case "UNSIGNED-PAYLOAD":
      return { kind: "unsigned" };
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { kind: "chunked", signed: undefined, trailer: true };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return { kind: "chunked", signed: signer, trailer: false };
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return { kind: "chunked", signed: signer, trailer: true };
    default:
      if (!/^[0-9a-f]{64}$/.test(payload))
        throw new S3Error("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a streaming algorithm, or a valid sha256 value.");
      return { kind: "hashed", sha256: payload };
  }
}

function chunkSigner(key: Buffer, seed: string, time: string, scope: string): ChunkSigner {
  let previous = seed;
  const sign = (lines: readonly string[]): string => {
    previous = hmac(key, lines.join("\n")).toString("hex");
    return previous;
  };
  return {
    next: (sha256) => sign([`${ALGORITHM}-PAYLOAD`, time, scope, previous, EMPTY_SHA256, sha256]),
    trailer: (text) => sign([`${ALGORITHM}-TRAILER`, time, scope, previous, sha256Hex(utf8(text))]),
  };
}

function canonicalQuery(query: SignedRequest["query"]): string {
  return query
    .filter(([name]) => name !== "X-Amz-Signature")
    .map(([name, value]) => `${uriEncode(name, true)}=${uriEncode(value, true)}`)
    .sort(compareEncoded)
    .join("&");
}

/** Encoded names and values are ASCII, and `=` must sort below every character of a name. */
function compareEncoded(a: string, b: string): number {
  const left = a.replace("=", "\0");
  const right = b.replace("=", "\0");
  return left < right ? -1 : left > right ? 1 : 0;
}

/** RFC 3986 as AWS wants it: unreserved characters stay, a slash only in a path. */
export function uriEncode(text: string, slash: boolean): string {
  const encoded = encodeURIComponent(text.toWellFormed()).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return slash ? encoded : encoded.replaceAll("%2F", "/");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text, "utf8").digest();
}

function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function equalText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(asBuffer(utf8(a)), asBuffer(utf8(b)));
}
