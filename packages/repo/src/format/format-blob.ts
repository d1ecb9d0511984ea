/**
 * `kopia.repository`: who may open a repository, and how it is laid out (kopia-format.md 2.1).
 *
 * UTF-8 JSON, indented by two spaces, newline at the end:
 *   tool, buildVersion, buildInfo   text, for people
 *   uniqueID                        base64, 32 random bytes: the salt of every derivation
 *   keyAlgo                         password KDF
 *   encryption                      AES256_GCM
 *   encryptedBlockFormat            base64 of nonce ‖ ciphertext ‖ tag: the block format
 *
 * Where the password cannot be changed a framed copy stands at the start of every pack, for recovery (2.7):
 *   length u16 LE · body · HMAC-SHA256(key "kopia-repository", body) · length u16 LE,   length = that of body + 32
 */
import { createHmac, createSecretKey } from "node:crypto";
import { concat, DrayError, toBase64, utf8 } from "@drayage/base";
import { JsonReader, parseJsonObject, stringifyGo } from "./go-json.ts";

export const FORMAT_BLOB_ID = "kopia.repository";
const FORMAT_ENCRYPTION = "AES256_GCM";
/** Kopia's are 1–2 KiB; a megabyte is no format blob. */
const FORMAT_BLOB_BYTES_MAX = 1 << 20;
const EMBEDDED_BYTES_MAX = 65_000;
const HMAC_BYTES = 32;

export interface FormatBlob {
  readonly tool: string;
  readonly buildVersion: string;
  readonly buildInfo: string;
  readonly uniqueId: Uint8Array;
  readonly keyAlgorithm: string;
  readonly encryptedBlockFormat: Uint8Array;
}

/** Throws REPO_CORRUPT, and REPO_UNSUPPORTED for another encryption than Kopia's one. Members that are not known are ignored. */
export function decodeFormatBlob(bytes: Uint8Array): FormatBlob {
  const document = `"${FORMAT_BLOB_ID}"`;
  if (bytes.length > FORMAT_BLOB_BYTES_MAX)
    throw new DrayError("REPO_CORRUPT", `Cannot read ${document}: it has ${bytes.length} bytes, a format blob has a few thousand`);
  const json = new JsonReader(parseJsonObject(bytes, document), document);
  const encryption = json.text("encryption");
  if (encryption !== FORMAT_ENCRYPTION) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot read ${document}: its encryption is "${encryption}", "${FORMAT_ENCRYPTION}" is supported`);
  }
  return {
    tool: json.text("tool"),
    buildVersion: json.text("buildVersion"),
    buildInfo: json.text("buildInfo"),
    uniqueId: json.bytes("uniqueID"),
    keyAlgorithm: json.text("keyAlgo"),
    encryptedBlockFormat: json.bytes("encryptedBlockFormat"),
  };
}

export function encodeFormatBlob(blob: FormatBlob): Uint8Array {
  const json = {
    tool: blob.tool,
    buildVersion: blob.buildVersion,
    buildInfo: blob.buildInfo,
    uniqueID: toBase64(blob.uniqueId),
    keyAlgo: blob.keyAlgorithm,
    encryption: FORMAT_ENCRYPTION,
    encryptedBlockFormat: toBase64(blob.encryptedBlockFormat),
  };
  return utf8(`${stringifyGo(json, "  ")}\n`);
}

/** The framed copy for the start of a pack. */
export function frameFormatBlob(formatBlobBytes: Uint8Array): Uint8Array {
  const length = formatBlobBytes.length + HMAC_BYTES;
  if (length > EMBEDDED_BYTES_MAX) {
    throw new DrayError("INVARIANT", `Cannot embed "${FORMAT_BLOB_ID}": it has ${formatBlobBytes.length} bytes, ${EMBEDDED_BYTES_MAX - HMAC_BYTES} fit`);
  }
  const frame = Uint8Array.of(length & 0xff, length >>> 8);
  return concat([frame, formatBlobBytes, embeddedChecksum(formatBlobBytes), frame]);
}

/** The format blob framed at the start of a pack, or undefined when there is none. */
export function unframeFormatBlob(pack: Uint8Array): Uint8Array | undefined {
  const [low, high] = pack;
  if (low === undefined || high === undefined) return undefined;
  const length = low | (high << 8);
  if (length < HMAC_BYTES || length > EMBEDDED_BYTES_MAX || pack.length < length + 4) return undefined;
  if (pack[length + 2] !== low || pack[length + 3] !== high) return undefined;
  const body = pack.subarray(2, 2 + length - HMAC_BYTES);
  return embeddedChecksum(body).equals(pack.subarray(2 + length - HMAC_BYTES, 2 + length)) ? body : undefined;
}

function embeddedChecksum(body: Uint8Array): Buffer {
  return createHmac("sha256", createSecretKey(utf8("kopia-repository")))
    .update(body)
    .digest();
}
