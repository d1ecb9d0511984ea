import { createHash } from "node:crypto";

const LENGTH_MAX = 63;
const DIGEST_CHARACTERS = 6;

/**
 * Text as a label value: unchanged up to 63 characters, otherwise its first 57 followed by the first 6 hex digits of its SHA-256.
 * Velero shortens names and operation ids in this way, so what is looked up by label must be shortened exactly so.
 */
export function validLabelValue(text: string): string {
  if (text.length <= LENGTH_MAX) return text;
  return `${text.slice(0, LENGTH_MAX - DIGEST_CHARACTERS)}${createHash("sha256").update(text).digest("hex").slice(0, DIGEST_CHARACTERS)}`;
}
