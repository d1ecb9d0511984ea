/** For what prints to a terminal, in tests that look at the world instead. */
import { systemClock, systemRandom } from "@drayage/base";
import type { Terminal } from "../../apps/dray/src/terminal.ts";

/** A terminal that nobody watches. */
export function quietTerminal(): Terminal {
  return {
    out: () => undefined,
    write: () => Promise.resolve(),
    err: () => undefined,
    outIsTerminal: false,
    errIsTerminal: false,
    columns: 80,
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    random: systemRandom,
    signal: new AbortController().signal,
    exitCode: 0,
    askSecret: (prompt) => Promise.reject(new Error(`nobody answers "${prompt}"`)),
    readInput: () => Promise.resolve(new Uint8Array()),
  };
}
