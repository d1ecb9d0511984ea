/**
 * The keys of many contents looked up in one part of an index: a call for each of a million files costs more than the lookup.
 *
 * A part is a filter, as repo/src/index-blobs/key-filter.ts builds it, and sorted entries behind it: in one piece of memory, or in blocks of a file, of which some are in memory. What
 * cannot be told from that is left to the caller. native/lookup.h has the same layout.
 */
import type { NativeAddon } from "../native/addon.ts";

export interface KeyPart {
  /** Numbers, as KEY_PART names them. */
  readonly shape: Uint32Array;
  readonly filter: Uint8Array;
  /** The index, or memory for blocks. */
  readonly bytes: Uint8Array;
  /** Of each place for a block whose block it holds, and which. Empty where all entries are in memory. */
  readonly owners: Uint32Array;
  readonly blocks: Uint32Array;
}

export const KEY_PART = {
  keyBytes: 0,
  /** From one entry to the next. */
  stride: 1,
  /** The byte of an entry whose highest bit says that the content is deleted. */
  deletedAt: 2,
  /** Of the first entry, where all of them are in memory. */
  entriesAt: 3,
  /** Where the prints of the filter begin, in words. */
  printsAt: 4,
  /** Entries of a block; 0 where all of them are in memory. */
  blockEntries: 5,
  /** From one place for a block to the next. */
  blockBytes: 6,
  owner: 7,
  /** The place of the first block, before it is brought into range. */
  firstSlot: 8,
  words: 9,
} as const;

/** Keys that have fewer bytes than a filter looks at are not looked up so. */
export const FOUND_KEY_BYTES_MIN = 9;

/** What is known of a key: no part named it · one did, not as deleted · it needs a closer look. */
export const KEY_STATE = { absent: 0, held: 1, unsure: 2 } as const;

/** Adds what a part says of the first `count` keys, one behind the other, to their states. Those that do not begin with the byte of the first are unsure. */
export type FindKeys = (keys: Uint8Array, count: number, part: KeyPart, states: Uint8Array) => void;

export function nativeFindKeys(addon: NativeAddon): FindKeys {
  return (keys, count, { shape, filter, bytes, owners, blocks }, states) => addon.findKeys(keys, count, shape, filter, bytes, owners, blocks, states);
}
