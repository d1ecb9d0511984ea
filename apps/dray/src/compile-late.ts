/**
 * Lets code run ten times as often as usual before V8's compilers make it quicker. An upload that stores what has changed has run most of its own a thousand times when it ends: compiling
 * that in other threads takes them from those who compare and hash, a twentieth of the processor's time for a hundred thousand files of which one in a hundred has changed. A first backup
 * runs its code long enough, and takes as much more without its compiled forms (bench/history.md).
 */
import { setFlagsFromString } from "node:v8";

export function compileLate(): void {
  setFlagsFromString("--invocation-count-for-maglev=4000");
  setFlagsFromString("--invocation-count-for-turbofan=20000");
}
