/**
 * Lets code run ten times as often as usual before V8's compilers make it quicker. A command that stores what has changed has run most of its own a thousand times when it ends: compiling it
 * in other threads, then, took them from those who compare and hash, a fifteenth of the processor's time of an upload of a hundred thousand files of which one in a hundred had changed.
 * What runs for minutes is compiled all the same, a little later (bench/results.md).
 */
import { setFlagsFromString } from "node:v8";

export function compileLate(): void {
  setFlagsFromString("--invocation-count-for-maglev=4000");
  setFlagsFromString("--invocation-count-for-turbofan=20000");
}
