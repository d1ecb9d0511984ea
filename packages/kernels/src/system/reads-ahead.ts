/**
 * Direct reads that are on their way while their thread does something else. Only where the addon and the system have them: the same bytes come from reading when they are wanted.
 *
 * Invariant: a part of the memory that a read was begun for belongs to it until it has ended; so each that was begun is ended, whatever has happened.
 */
import type { NativeAddon } from "../native/addon.ts";

export interface ReadAhead {
  readonly fd: number;
  /** With `at`, `length` and `offset` it is as direct reads want it. */
  readonly memory: Uint8Array;
  readonly at: number;
  readonly length: number;
  readonly offset: number;
}

/** One thread's, in slots that are numbered from 0 on. */
export interface ReadsAhead {
  /** Whether the read is on its way, in a slot where none is. */
  begin(slot: number, read: ReadAhead): boolean;
  /** Waits for a read that was begun: how many bytes came, 0 where it failed. Fewer than were wanted say nothing of the file: whoever reads the rest hears why. */
  end(slot: number): number;
}

/** Slots for so many reads, at most READS_AHEAD_MAX. Undefined where there can be none. */
export type OpenReadsAhead = (count: number) => ReadsAhead | undefined;

export const READS_AHEAD_MAX = 64;

/** Undefined where this addon has no such reads. */
export function nativeReadsAhead({ readsAhead, beginRead, endRead }: NativeAddon): OpenReadsAhead | undefined {
  if (readsAhead === undefined || beginRead === undefined || endRead === undefined) return undefined;
  return (count) => {
    const reads = readsAhead(count);
    if (reads === undefined) return undefined;
    return {
      begin: (slot, { fd, memory, at, length, offset }) => beginRead(reads, slot, fd, memory, at, length, offset),
      end: (slot) => Math.max(0, endRead(reads, slot)),
    };
  };
}
