/**
 * What every project does first: compile the native kernels, unless these sources are compiled already. The first test that wants them would otherwise pay for it out of its own time limit,
 * and those that run meanwhile would try the portable ones. Where they cannot be had, tests say so themselves.
 */
import { prepareNative } from "@drayage/kernels";

export async function setup(): Promise<void> {
  const { reason } = await prepareNative();
  if (reason !== undefined) process.stderr.write(`${reason}\n`);
}
