/** Movers that are registered beside the built-in one, as a node-agent sees them. */
import { BUILTIN_DATA_MOVERS, type DataMover, DRAYAGE_DATA_MOVER } from "@drayage/api";
import type { DataMovementCaches } from "./caches.ts";

const BUILT_IN: readonly string[] = [...BUILTIN_DATA_MOVERS, DRAYAGE_DATA_MOVER];

/** Finds the mover of a name that pods of ours run: not the built-in one, and none that a controller of its vendor serves. */
export function registeredMovers(caches: Pick<DataMovementCaches, "movers">): (name: string) => DataMover | undefined {
  return (name) => {
    if (BUILT_IN.includes(name)) return undefined;
    const found = caches.movers?.get({ name });
    return found?.spec.controller === true ? undefined : found;
  };
}
