/** The process behind `prepareNativeInBackground`. Gives way to whatever else the machine has to do. */
import { setPriority } from "node:os";
import { prepareNative } from "./prepare-native.ts";

setPriority(10);
await prepareNative();
