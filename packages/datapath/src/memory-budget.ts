import { DrayError } from "@drayage/base";

const MIB = 1 << 20;
const USUAL_BYTES = 352 * MIB;
/** Of what a container may take. The rest is for what the kernel counts beside it: files that it has open, and their pages that are on their way to a disk. */
const SHARE_OF_CONTAINER = 0.9;

/**
 * Bytes that a process may take where nobody says: 352 MiB, or less where its container may not take as much. Never less than what there has to be: a budget is for what much data needs,
 * and little data gets by with less.
 * @param leastBytes - that can be planned with
 * @param containerBytes - the limit of its control group, 0 for none
 */
export function defaultMemoryBytes(leastBytes: number, containerBytes: number = process.constrainedMemory()): number {
  const bytes = containerBytes > 0 ? Math.min(USUAL_BYTES, Math.floor(containerBytes * SHARE_OF_CONTAINER)) : USUAL_BYTES;
  return Math.max(bytes, leastBytes);
}

/** What is said of a memory budget that nothing can be done with. */
export function budgetTooSmall(budgetBytes: number, { leastBytes, what }: { readonly leastBytes: number; readonly what: string }): DrayError {
  const leastMib = Math.ceil(leastBytes / MIB);
  const message = `Cannot keep to a memory budget of ${Math.floor(budgetBytes / MIB)} MiB: ${leastMib} MiB is the least for ${what}`;
  return new DrayError("USAGE", message, { hint: `Give --memory-budget ${leastMib} or more.` });
}
