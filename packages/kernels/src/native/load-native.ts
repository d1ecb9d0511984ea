/** Finds a compiled addon, loads it and tests it. Nothing is compiled here: this runs at the start of every command. */
import { messageOf } from "@drayage/base";
import { type NativeAddon, requireAddon } from "./addon.ts";
import { type AddonPlaces, addonPlaces, findAddons } from "./addon-file.ts";
import { selfTest } from "./self-test.ts";

/** An addon that passed its self-test, or why there is none. `broken` tells one that is there and cannot be used from none at all. */
export type LoadedAddon =
  | { readonly addon: NativeAddon; readonly path: string }
  | { readonly addon: undefined; readonly broken: boolean; readonly reason: string };

/** By path, since an addon that was loaded (or failed) once in this thread is not going to change. */
const loaded = new Map<string, LoadedAddon>();

/** The addon of this machine. Never throws. */
export function loadNative(places: AddonPlaces = addonPlaces()): LoadedAddon {
  let last: LoadedAddon = { addon: undefined, broken: false, reason: "the native addon is not compiled" };
  // A package made for another C library does not load; what was compiled here does.
  for (const path of findAddons(places)) {
    last = loaded.get(path) ?? tryLoad(path);
    loaded.set(path, last);
    if (last.addon !== undefined) break;
  }
  return last;
}

function tryLoad(path: string): LoadedAddon {
  try {
    const addon = requireAddon(path);
    const problem = selfTest(addon);
    return problem === undefined ? { addon, path } : { addon: undefined, broken: true, reason: `the native addon "${path}" failed its self-test: ${problem}` };
  } catch (error) {
    return { addon: undefined, broken: true, reason: `the native addon "${path}" does not load: ${messageOf(error)}` };
  }
}
