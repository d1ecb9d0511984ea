/**
 * Keeps the part of the heap where new objects begin at the size that it has: V8 lets it grow to 128 MiB on a machine with much memory when objects are made
 * fast, and those of a walk over millions are all dead at once. Costs a few percent of CPU; what a command needs of memory then follows from what it holds.
 */
import { setFlagsFromString } from "node:v8";

export function keepYoungGenerationSmall(): void {
  // By this factor it grows; unlike its largest size it may be set while the program runs.
  setFlagsFromString("--semi-space-growth-factor=1");
}

/**
 * Keeps the heap of a program that runs for months and mostly waits near what it holds. Set before its modules are loaded: what is made meanwhile would let the young generation grow,
 * which never becomes smaller again.
 *
 * The rest of the heap is looked through when it has grown by a fifth since the last time, where V8 would let it grow to several times what is in use; and code is compiled as far as
 * V8's middle compiler goes, since the last one's own pages are 5 MiB, and seconds of work do not pay for it. Both together cost a backup of 10,000 resources a tenth
 * of CPU at most and a restore nothing (bench/results.md).
 */
export function keepHeapSmall(): void {
  keepYoungGenerationSmall();
  setFlagsFromString("--heap-growing-percent=20");
  setFlagsFromString("--no-turbofan");
}
