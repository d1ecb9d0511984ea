import { createHash } from "node:crypto";
import { toHex } from "@drayage/base";

export interface SignedUrlRequest {
  /** `https://storage.googleapis.com`. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly name: string;
  readonly signer: { readonly email: string; sign(text: string): Promise<Uint8Array> };
  readonly nowMs: number;
  readonly validForMs: number;
}

/** Google takes no signature for longer. */
const VALID_MAX_S = 604_800;

/**
 * An address under which anybody may GET one object: the V4 signing process of Google Cloud Storage with GOOG4-RSA-SHA256
 * (canonical request of method, path, query and host; its SHA-256 in the string to sign, beside time and credential scope).
 */
export async function signedGetUrl({ endpoint, bucket, name, signer, nowMs, validForMs }: SignedUrlRequest): Promise<string> {
  const stamp = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/auto/storage/goog4_request`;
  const { host, origin } = new URL(endpoint);
  const path = `/${encodePath(bucket)}/${encodePath(name)}`;
  const query = Object.entries({
    "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
    "X-Goog-Credential": `${signer.email}/${scope}`,
    "X-Goog-Date": stamp,
    "X-Goog-Expires": String(Math.min(VALID_MAX_S, Math.max(1, Math.floor(validForMs / 1000)))),
    "X-Goog-SignedHeaders": "host",
  })
    .map(([key, value]) => `${key}=${encodeStrictly(value)}`)
    .join("&");
  const request = ["GET", path, query, `host:${host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
  const text = ["GOOG4-RSA-SHA256", stamp, scope, createHash("sha256").update(request).digest("hex")].join("\n");
  return `${origin}${path}?${query}&X-Goog-Signature=${toHex(await signer.sign(text))}`;
}

function encodePath(text: string): string {
  return text.split("/").map(encodeStrictly).join("/");
}

/** RFC 3986: everything but letters, digits and `-._~`. */
function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}
