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
 * Has the rest of the heap looked through when it has grown by two fifths since the last time. V8 otherwise lets it grow to several times what is in use, which is worth its while in a
 * program that is busy all the time; a server of controllers waits.
 */
export function keepOldGenerationSmall(): void {
  setFlagsFromString("--heap-growing-percent=40");
}
