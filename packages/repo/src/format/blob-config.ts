/**
 * `kopia.blobcfg`: object lock for what is written from now on (kopia-format.md 2.4). Encrypted like the block format; compact JSON:
 *   retentionMode     GOVERNANCE | COMPLIANCE, left out when there is none
 *   retentionPeriod   nanoseconds, left out when 0; a year of them does not fit a double
 */
import { DrayError, utf8 } from "@drayage/base";
import type { BlobRetention } from "@drayage/blob";
import { JsonReader, parseJsonObject } from "./go-json.ts";

export const BLOB_CONFIG_ID = "kopia.blobcfg";
const DOCUMENT = `"${BLOB_CONFIG_ID}"`;

export interface BlobConfig {
  readonly retention: { readonly mode: BlobRetention["mode"]; readonly periodMs: number } | undefined;
}

/** What is written for good while object lock is on. */
export const LOCKED_PREFIXES: readonly string[] = ["n", "x", "kopia.repository", BLOB_CONFIG_ID, "p", "q"];

/** Throws REPO_CORRUPT. */
export function decodeBlobConfig(plaintext: Uint8Array): BlobConfig {
  const json = new JsonReader(parseJsonObject(plaintext, DOCUMENT), DOCUMENT);
  const mode = json.text("retentionMode");
  const periodMs = json.durationMs("retentionPeriod");
  if (mode === "" && periodMs === 0) return { retention: undefined };
  if ((mode !== "GOVERNANCE" && mode !== "COMPLIANCE") || periodMs === 0) {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${DOCUMENT}: retention mode "${mode}" with a period of ${periodMs} ms means nothing`);
  }
  return { retention: { mode, periodMs } };
}

export function encodeBlobConfig(config: BlobConfig): Uint8Array {
  if (config.retention === undefined) return utf8("{}");
  // Written by hand: the period does not fit a number.
  const period = BigInt(Math.round(config.retention.periodMs)) * 1_000_000n;
  return utf8(`{"retentionMode":"${config.retention.mode}","retentionPeriod":${period}}`);
}

/** The lock that a blob of this name gets when it is written now. */
export function retentionOf(config: BlobConfig, blobId: string, nowMs: number): BlobRetention | undefined {
  if (config.retention === undefined || !LOCKED_PREFIXES.some((prefix) => blobId.startsWith(prefix))) return undefined;
  return { mode: config.retention.mode, untilMs: nowMs + config.retention.periodMs };
}
