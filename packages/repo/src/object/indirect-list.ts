/**
 * Indirect lists: which objects, one after the other, make up an object (kopia-format.md 7.2).
 *
 *   {"stream":"kopia:indirect","entries":[{"l":1698099,"o":"…"},{"s":1698099,"l":1302081,"o":"…"}]}\n
 *
 *   s  start, left out when 0      l  length in bytes, left out when 0      o  object id, may itself be indirect
 */
import { DrayError, utf8 } from "@drayage/base";
import type { Chunk } from "./chunk-list.ts";
import { EntryDocument, isMembers } from "./entry-document.ts";
import { objectIdOf } from "./object-id.ts";

const STREAM_TYPE = "kopia:indirect";
const HEAD = `{"stream":"${STREAM_TYPE}","entries":[`;
const TAIL = "]}\n";
const PIECE_CHARACTERS = 64 << 10;

/** The stored text, in pieces. */
export function* encodeIndirectList(chunks: Iterable<Chunk>): Generator<Uint8Array> {
  let text = HEAD;
  let first = true;
  for (const { offset, length, objectId } of chunks) {
    if (!first) text += ",";
    first = false;
    text += "{";
    if (offset !== 0) text += `"s":${offset},`;
    if (length !== 0) text += `"l":${length},`;
    text += `"o":"${objectId}"}`;
    if (text.length >= PIECE_CHARACTERS) {
      yield utf8(text);
      text = "";
    }
  }
  yield utf8(text + TAIL);
}

/** The entries in order. Throws REPO_CORRUPT when they do not follow each other without a gap. */
export async function* decodeIndirectList(pieces: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Chunk> {
  let end = 0;
  for await (const batch of new EntryDocument(pieces, STREAM_TYPE, what).batches()) {
    for (const entry of batch) {
      const chunk = decodeEntry(entry, what);
      if (chunk.offset !== end) throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: an entry starts at ${chunk.offset}, ${end} was wanted`);
      end += chunk.length;
      yield chunk;
    }
  }
}

function decodeEntry(entry: unknown, what: string): Chunk {
  const members = isMembers(entry) ? entry : {};
  const { s: offset = 0, l: length = 0, o: id } = members;
  if (!isCount(offset) || !isCount(length) || typeof id !== "string") {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${JSON.stringify(entry)?.slice(0, 200)} is not an entry of an indirect list`);
  }
  return { offset, length, objectId: objectIdOf(id) };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
