/**
 * Content ids (kopia-format.md 3.2).
 *
 *   text   [prefix letter g..z] hex of the hash
 *   key    prefix byte (0x00 where there is none) ‖ hash, as indexes hold it; everything is sorted by it
 */
import { asBuffer, DrayError } from "@drayage/base";
import type { ContentId } from "../content-port.ts";

const HASH_BYTES_MAX = 32;
const PATTERN = /^[g-z]?(?:[0-9a-f]{2})+$/;
const NO_PREFIX = 0;

/** Whether text is a content id. */
export function isContentId(text: string): text is ContentId {
  return text.length <= 2 * HASH_BYTES_MAX + 1 && PATTERN.test(text);
}

/** Checks text from outside. Throws REPO_CORRUPT. */
export function parseContentId(text: string): ContentId {
  if (isContentId(text)) return text;
  throw new DrayError(
    "REPO_CORRUPT",
    `Cannot read content id ${JSON.stringify(text.slice(0, 100))}: a letter g to z or none, and up to 64 hex digits are wanted`,
  );
}

/** Whether a prefix is none, or one letter g to z. */
export function isContentPrefix(prefix: string): boolean {
  return /^[g-z]?$/.test(prefix);
}

export function makeContentId(prefix: string, hash: Uint8Array): ContentId {
  return (prefix + asBuffer(hash).toString("hex")) as ContentId;
}

/** The prefix letter, or "". */
export function prefixOf(id: ContentId): string {
  return id.length % 2 === 1 ? id.slice(0, 1) : "";
}

/** The hash of an id. */
export function hashOf(id: ContentId): Uint8Array {
  return Buffer.from(id.length % 2 === 1 ? id.slice(1) : id, "hex");
}

export function keyOf(id: ContentId): Uint8Array {
  const prefixed = id.length % 2 === 1;
  const key = Buffer.alloc((id.length >>> 1) + 1);
  key[0] = prefixed ? id.charCodeAt(0) : NO_PREFIX;
  key.write(prefixed ? id.slice(1) : id, 1, "hex");
  return key;
}

export function idOfKey(key: Uint8Array): ContentId {
  const [prefix = NO_PREFIX] = key;
  const hex = asBuffer(key).toString("hex", 1);
  return (prefix === NO_PREFIX ? hex : String.fromCharCode(prefix) + hex) as ContentId;
}

/** The first byte of the keys of a prefix. */
export function prefixByte(prefix: string): number {
  return prefix === "" ? NO_PREFIX : prefix.charCodeAt(0);
}
