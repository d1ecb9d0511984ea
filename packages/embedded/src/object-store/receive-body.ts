import { createHash, type Hash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { decodeAwsChunked } from "./aws-chunked.ts";
import { S3Error } from "./s3-error.ts";
import type { PayloadRule } from "./signature-v4.ts";

/** A body that has been received whole and found to be what its headers say. */
export interface ReceivedBody {
  readonly path: string;
  readonly size: number;
  /** Hex. */
  readonly md5: string;
  /** `x-amz-checksum-…` to its value in base64; those that the request gave. */
  readonly checksums: Readonly<Record<string, string>>;
}

/** S3's own limit of one request. */
const BODY_BYTES_MAX = 5 * 2 ** 30;
const CHECKSUM = /^x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)$/;

/**
 * Receives a body into a file and checks it: announced length, SHA-256 of the signature, Content-MD5, checksums of headers and trailers.
 * Throws the S3 error that says what does not fit; nothing is left behind then.
 */
export async function receiveBody(
  body: AsyncIterable<Uint8Array>,
  headers: Readonly<Record<string, string>>,
  rule: PayloadRule,
  path: string,
): Promise<ReceivedBody> {
  const wanted = wantedChecksums(headers);
  let trailer: ReadonlyMap<string, string> = new Map();
  const onTrailer = (found: ReadonlyMap<string, string>): void => {
    trailer = found;
  };
  const data = rule.kind === "chunked" ? decodeAwsChunked(body, { signer: rule.signed, trailer: rule.trailer, onTrailer }) : body;
  const digests = new Map<string, Digest>([["md5", hashDigest("md5")]]);
  if (rule.kind === "hashed") digests.set("sha256", hashDigest("sha256"));
  for (const name of wanted.names) if (!digests.has(name)) digests.set(name, newDigest(name));

  let size = 0;
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of data) {
      size += chunk.length;
      if (size > BODY_BYTES_MAX) throw new S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size");
      for (const digest of digests.values()) digest.update(chunk);
      for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten;
    }
    const announced = headers["x-amz-decoded-content-length"] ?? (rule.kind === "chunked" ? undefined : headers["content-length"]);
    if (announced !== undefined && Number(announced) !== size) {
      throw new S3Error("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.");
    }
    const results = new Map([...digests].map(([name, digest]) => [name, digest.result()]));
    const md5 = results.get("md5") ?? Buffer.alloc(0);
    if (rule.kind === "hashed" && results.get("sha256")?.toString("hex") !== rule.sha256) {
      throw new S3Error("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.");
    }
    if (headers["content-md5"] !== undefined && headers["content-md5"] !== md5.toString("base64")) {
      throw new S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.");
    }
    const checksums: Record<string, string> = {};
    for (const name of wanted.names) {
      const header = `x-amz-checksum-${name}`;
      const computed = results.get(name)?.toString("base64") ?? "";
      const given = headers[header] ?? trailer.get(header);
      if (given !== undefined && given !== computed)
        throw new S3Error("BadDigest", `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
      if (given === undefined && wanted.fromTrailer) throw new S3Error("InvalidRequest", `The trailing checksum ${header} is missing.`);
      checksums[header] = computed;
    }
    return { path, size, md5: md5.toString("hex"), checksums };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Which checksums a request gives or announces for its trailer. */
function wantedChecksums(headers: Readonly<Record<string, string>>): { readonly names: readonly string[]; readonly fromTrailer: boolean } {
  const given = Object.keys(headers).flatMap((name) => CHECKSUM.exec(name)?.[1] ?? []);
  const announced = (headers["x-amz-trailer"] ?? "").split(",").flatMap((name) => CHECKSUM.exec(name.trim().toLowerCase())?.[1] ?? []);
  const names = [...new Set([...given, ...announced])];
  if (names.includes("crc64nvme")) throw new S3Error("NotImplemented", "The checksum algorithm CRC64NVME is not implemented here.");
  if (headers["content-md5"] !== undefined && Buffer.from(headers["content-md5"], "base64").length !== 16) {
    throw new S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.");
  }
  return { names, fromTrailer: announced.length > 0 };
}

interface Digest {
  update(chunk: Uint8Array): void;
  result(): Buffer;
}

function newDigest(name: string): Digest {
  if (name === "crc32") return crcDigest((chunk, value) => crc32(chunk, value));
  if (name === "crc32c") return crcDigest(crc32c);
  return hashDigest(name);
}

function hashDigest(name: string): Digest {
  const hash: Hash = createHash(name);
  return { update: (chunk) => void hash.update(chunk), result: () => hash.digest() };
}

function crcDigest(step: (chunk: Uint8Array, value: number) => number): Digest {
  let value = 0;
  return {
    update: (chunk) => {
      value = step(chunk, value);
    },
    result: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value >>> 0);
      return bytes;
    },
  };
}

/** CRC-32 with Castagnoli's polynomial, reflected. */
const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

export function crc32c(chunk: Uint8Array, previous = 0): number {
  let value = ~previous;
  for (const byte of chunk) value = (CRC32C_TABLE[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8);
  return ~value >>> 0;
}
