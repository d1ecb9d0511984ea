import { DrayError } from "@drayage/base";

const MIB = 1 << 20;
const USUAL_BYTES = 352 * MIB;
/** Of what a container may take. The rest is for what the kernel counts beside it: files that it has open, and their pages that are on their way to a disk. */
const SHARE_OF_CONTAINER = 0.9;

/**
 * Bytes that a process may take where nobody says: 352 MiB, or less where its container may not take as much.
 * @param containerBytes - the limit of its control group, 0 for none
 */
export function defaultMemoryBytes(containerBytes: number = process.constrainedMemory()): number {
  return containerBytes > 0 ? Math.min(USUAL_BYTES, Math.floor(containerBytes * SHARE_OF_CONTAINER)) : USUAL_BYTES;
}

/** What is said of a memory budget that nothing can be done with. */
export function budgetTooSmall(
  budgetBytes: number,
  { leastBytes, what }: { readonly leastBytes: number; readonly what: string },
  containerBytes: number = process.constrainedMemory(),
): DrayError {
  const leastMib = Math.ceil(leastBytes / MIB);
  const message = `Cannot keep to a memory budget of ${Math.floor(budgetBytes / MIB)} MiB: ${leastMib} MiB is the least for ${what}`;
  const ofContainer = Math.ceil(leastBytes / SHARE_OF_CONTAINER / MIB);
  const isContainers = containerBytes > 0 && containerBytes * SHARE_OF_CONTAINER < leastBytes;
  const hint = isContainers
    ? `This container may take ${Math.floor(containerBytes / MIB)} MiB. Let it take ${ofContainer} MiB or more; movers have it from podResources.memoryLimit of the node-agent's ConfigMap.`
    : `Give --memory-budget ${leastMib} or more.`;
  return new DrayError("USAGE", message, { hint });
}
