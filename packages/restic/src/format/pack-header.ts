/**
 * The header at the end of a pack: what is in it, in the order of offsets.
 *
 *   contents, one after the other │ header, sealed │ u32 LE: bytes of the sealed header
 *
 *   entry           layout                                                   size
 *   0 data, 1 tree  type u8, stored length u32 LE, id 32                       37
 *   2, 3            the same compressed: type, stored, plain u32 LE, id        41    version 2 only
 *
 * A content's offset is the sum of the stored lengths before it. restic: internal/repository/pack.
 */
import { asBuffer } from "@drayage/base";
import { corrupt, ID_BYTES } from "./json.ts";
import { SEALED_OVERHEAD_BYTES } from "./sealed.ts";

/** Bytes behind the sealed header. */
export const PACK_TRAILER_BYTES = 4;
/** As restic limits it. */
const HEADER_BYTES_MAX = 16 << 20;
const PLAIN_ENTRY_BYTES = 37;
const COMPRESSED_ENTRY_BYTES = 41;
const TREE_BIT = 1;
const COMPRESSED_BIT = 2;

export type ContentKind = "data" | "tree";

/** One content of a pack. */
export interface PackedContent {
  readonly kind: ContentKind;
  readonly id: Uint8Array;
  readonly offset: number;
  /** Bytes as stored, sealed. */
  readonly length: number;
  /** Bytes before compression; 0 when it is not compressed. */
  readonly plainLength: number;
}

/** Where the sealed header of a pack of `packBytes` bytes lies, by its last four bytes. Throws REPO_CORRUPT. */
export function packHeaderRange(trailer: Uint8Array, packBytes: number, what: string): { readonly offset: number; readonly length: number } {
  const length = trailer.length === PACK_TRAILER_BYTES ? asBuffer(trailer).readUInt32LE() : 0;
  const offset = packBytes - PACK_TRAILER_BYTES - length;
  if (length < SEALED_OVERHEAD_BYTES + PLAIN_ENTRY_BYTES || length > HEADER_BYTES_MAX || offset < 0)
    throw corrupt(what, `its header is said to have ${length} bytes, the pack has ${packBytes}`);
  return { offset, length };
}

/** The contents that a decrypted header names. Throws REPO_CORRUPT when they do not fill the pack up to the header. */
export function decodePackHeader(header: Uint8Array, headerAt: number, what: string): PackedContent[] {
  const contents: PackedContent[] = [];
  const bytes = asBuffer(header);
  let offset = 0;
  for (let at = 0; at < bytes.length; ) {
    const type = bytes[at] ?? 0;
    const isCompressed = (type & COMPRESSED_BIT) !== 0;
    const size = isCompressed ? COMPRESSED_ENTRY_BYTES : PLAIN_ENTRY_BYTES;
    if (type > (TREE_BIT | COMPRESSED_BIT) || bytes.length - at < size) throw corrupt(what, `the entry at byte ${at} of its header is none`);
    const length = bytes.readUInt32LE(at + 1);
    contents.push({
      kind: (type & TREE_BIT) === 0 ? "data" : "tree",
      id: header.slice(at + size - ID_BYTES, at + size),
      ...{ offset, length, plainLength: isCompressed ? bytes.readUInt32LE(at + 5) : 0 },
    });
    if (length < SEALED_OVERHEAD_BYTES) throw corrupt(what, `a content of ${length} bytes is in its header`);
    offset += length;
    at += size;
  }
  if (offset !== headerAt) throw corrupt(what, `its contents end at byte ${offset}, its header begins at ${headerAt}`);
  return contents;
}
