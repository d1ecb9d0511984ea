/**
 * Index files: which contents are in which packs.
 *
 *   {"supersedes":["<id>",…],"packs":[{"id":"<id>","blobs":[{"id","type":"data"|"tree","offset","length","uncompressed_length"},…]},…]}
 *
 * The oldest repositories have the bare list of packs. What restic calls a blob is a content here.
 */
import { utf8 } from "@drayage/base";
import { corrupt, isMembers, listObjects, type Members, parseCount, parseId } from "./json.ts";
import type { PackedContent } from "./pack-header.ts";
import { SEALED_OVERHEAD_BYTES } from "./sealed.ts";

export interface IndexedPack {
  readonly id: string;
  readonly contents: readonly PackedContent[];
}

/** Offsets and lengths are kept in 32 bits; restic's packs have at most 128 MiB. */
const U32_MAX = 0xffff_ffff;
const BRACKET = 0x5b;

/** The packs one by one; returns the ids of the index files that this one replaces. Throws REPO_CORRUPT. */
export function* decodeIndexFile(json: Uint8Array, what: string): Generator<IndexedPack, string[]> {
  if (json.length === 0) return [];
  const isAncient = json[0] === BRACKET;
  const bytes = isAncient ? Buffer.concat([utf8('{"packs":'), json, utf8("}")]) : json;
  const packs = listObjects(bytes, "packs", what);
  for (;;) {
    const next = packs.next();
    if (next.done !== true) {
      yield decodePack(next.value, what);
      continue;
    }
    const { supersedes } = next.value;
    if (supersedes === undefined || supersedes === null) return [];
    if (!Array.isArray(supersedes)) throw corrupt(what, '"supersedes" is not a list');
    return supersedes.map((id: unknown) => Buffer.from(parseId(id, what)).toString("hex"));
  }
}

function decodePack({ id, blobs }: Members, what: string): IndexedPack {
  const packId = Buffer.from(parseId(id, what)).toString("hex");
  if (blobs !== null && !Array.isArray(blobs)) throw corrupt(what, `pack "${packId}" has no list of contents`);
  return { id: packId, contents: ((blobs ?? []) as unknown[]).map((blob) => decodeContent(blob, what)) };
}

function decodeContent(value: unknown, what: string): PackedContent {
  if (!isMembers(value)) throw corrupt(what, "a content is not an object");
  const { id, type, offset, length, uncompressed_length: plain } = value;
  if (type !== "data" && type !== "tree") throw corrupt(what, `a content is of type ${JSON.stringify(type)?.slice(0, 40)}, data or tree was wanted`);
  const content = {
    kind: type,
    id: parseId(id, what),
    offset: parseCount(offset, "offset", what),
    length: parseCount(length, "length", what),
    plainLength: parseCount(plain, "uncompressed_length", what),
  } as const;
  if (content.length < SEALED_OVERHEAD_BYTES || content.offset + content.length > U32_MAX || content.plainLength > U32_MAX)
    throw corrupt(what, `content "${String(id)}" is said to be ${content.length} bytes at ${content.offset}`);
  return content;
}
