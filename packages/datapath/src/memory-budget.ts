import { DrayError } from "@drayage/base";

const MIB = 1 << 20;

/** What is said of a memory budget that nothing can be done with. */
export function budgetTooSmall(budgetBytes: number, { leastBytes, what }: { readonly leastBytes: number; readonly what: string }): DrayError {
  const leastMib = Math.ceil(leastBytes / MIB);
  const message = `Cannot keep to a memory budget of ${Math.floor(budgetBytes / MIB)} MiB: ${leastMib} MiB is the least for ${what}`;
  return new DrayError("USAGE", message, { hint: `Give --memory-budget ${leastMib} or more.` });
}
