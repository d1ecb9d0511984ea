/** The builds that a test runs against: the portable one always, the native ones where a compiler is. */
import { type NativeAddon, withNarrowVectors, withoutVectors } from "../native/addon.ts";
import { loadNative } from "../native/load-native.ts";
import { prepareNative } from "../native/prepare-native.ts";

export interface KernelBuild {
  readonly name: string;
  /** Undefined for the portable build. */
  readonly addon: NativeAddon | undefined;
}

/** Compiles the addon where it is missing. Throws when it is there or was compiled, and does not work: that is a defect, not a reason to test less. */
export async function kernelBuilds(): Promise<readonly KernelBuild[]> {
  const portable = { name: "portable", addon: undefined };
  const { state, reason } = await prepareNative();
  if (state === "unavailable") {
    if (reason?.includes("compiling") === true) throw new Error(reason);
    return [portable];
  }
  const found = loadNative();
  if (found.addon === undefined) throw new Error(found.reason);
  const { addon } = found;
  const narrow = addon.hasWideVectors ? [{ name: "native with narrow vectors", addon: withNarrowVectors(addon) }] : [];
  return [portable, { name: "native", addon }, ...narrow, { name: "native without vectors", addon: withoutVectors(addon) }];
}
