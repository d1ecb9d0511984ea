/** Writes a pack index, version 2, into a file as its entries come: for indexes that memory need not hold. Entries keep their widest form. */
import { invariant } from "@drayage/base";
import { V2_HEADER_BYTES, V2EntryEncoder } from "./index-v2.ts";
import type { IndexEntry } from "./pack-index.ts";
import { writeFully } from "./run-file.ts";

const BUFFER_BYTES = 256 << 10;

/** Writes entries that come in ascending order of their keys into an empty file. Returns the length of the index. */
export function writeIndexV2(fd: number, keyBytes: number, entries: Iterable<IndexEntry>): number {
  const encoder = new V2EntryEncoder(keyBytes);
  const buffer = new Uint8Array(BUFFER_BYTES);
  let filled = 0;
  let count = 0;
  let at = V2_HEADER_BYTES;
  const flush = (): void => {
    writeFully(fd, buffer.subarray(0, filled), at);
    at += filled;
    filled = 0;
  };
  for (const entry of entries) {
    if (filled + encoder.stride > buffer.length) flush();
    encoder.encode(entry, buffer, filled);
    filled += encoder.stride;
    count++;
  }
  invariant(count > 0, "Cannot write an index: there is no entry");
  flush();
  const tables = encoder.tables(at);
  writeFully(fd, tables, at);
  writeFully(fd, encoder.header(count, encoder.stride - keyBytes), 0);
  return at + tables.length;
}
