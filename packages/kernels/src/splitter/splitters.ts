import { DrayError } from "@drayage/base";
import type { NativeLoops } from "../native/addon.ts";
import type { Splitter } from "../types.ts";
import { type ChunkSizes, chunkSizes } from "./dynamic-splitter.ts";
import { FixedSplitter } from "./fixed-splitter.ts";
import { NativeBuzhashSplitter } from "./native-buzhash-splitter.ts";
import { RabinKarpSplitter } from "./rabin-karp-splitter.ts";
import { WasmBuzhashSplitter } from "./wasm-buzhash-splitter.ts";

const KIB = 1024;
const SIZES: Readonly<Record<string, number>> = {
  "128K": 128 * KIB,
  "256K": 256 * KIB,
  "512K": 512 * KIB,
  "1M": 1024 * KIB,
  "2M": 2048 * KIB,
  "4M": 4096 * KIB,
  "8M": 8192 * KIB,
};

/** The splitter of new repositories. */
export const DEFAULT_SPLITTER = "DYNAMIC-4M-BUZHASH";

type Factory = (loops: NativeLoops | undefined) => Splitter;

const FACTORIES: ReadonlyMap<string, Factory> = new Map<string, Factory>([
  ["FIXED", () => new FixedSplitter(4096 * KIB)],
  ["DYNAMIC", (loops) => buzhash(chunkSizes(4096 * KIB), loops)],
  ...Object.entries(SIZES).flatMap(([size, bytes]): [string, Factory][] => [
    [`FIXED-${size}`, () => new FixedSplitter(bytes)],
    [`DYNAMIC-${size}-BUZHASH`, (loops) => buzhash(chunkSizes(bytes), loops)],
    [`DYNAMIC-${size}-RABINKARP`, () => new RabinKarpSplitter(chunkSizes(bytes))],
  ]),
]);

/** Names of all splitters, Kopia's legacy aliases `FIXED` and `DYNAMIC` included. */
export const SPLITTERS: readonly string[] = [...FACTORIES.keys()].sort();

/** A fresh splitter, over the addon's loops where they are given; an empty name means `FIXED`, as in Kopia. Throws REPO_UNSUPPORTED for a name that is not known. */
export function createSplitter(name: string, loops?: NativeLoops): Splitter {
  const create = FACTORIES.get(name === "" ? "FIXED" : name);
  if (create === undefined) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot split data with "${name}": no such splitter is known`, {
      hint: `Known splitters: ${SPLITTERS.join(", ")}.`,
    });
  }
  return create(loops);
}

function buzhash(sizes: ChunkSizes, loops: NativeLoops | undefined): Splitter {
  return loops === undefined ? new WasmBuzhashSplitter(sizes) : new NativeBuzhashSplitter(sizes, loops);
}
