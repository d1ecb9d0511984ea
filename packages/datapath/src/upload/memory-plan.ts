/** How an upload divides its memory: threads, their arenas, and packs on their way. */
import { sessionBytes } from "@drayage/repo";
import { budgetTooSmall, defaultMemoryBytes } from "../memory-budget.ts";
import { leastArenaBytes } from "./lanes/job-runner.ts";

const MIB = 1 << 20;
/** Node, the program, the walk with its listings, and what waits to be collected: measured on large files and on many small ones. */
const BASE_BYTES = 96 * MIB;
/** A thread without its buffers. */
const THREAD_BYTES = 16 * MIB;
/** Four chunks of the usual size, which the hash takes side by side, and pieces to read. */
const ARENA_CHUNKS = 3.5;
const PACKS_AHEAD_MAX = 4;
/** Contents between two flushes: fewer make more index blobs. */
const SESSION_CONTENTS = [128 << 10, 32 << 10] as const;
export const THREADS_MAX = 8;

export interface MemoryPlan {
  /** 0: everything in one thread. */
  readonly threads: number;
  readonly arenaBytes: number;
  readonly packsAhead: number;
  /** Contents that are stored between two flushes. */
  readonly sessionContents: number;
}

export interface MemoryNeeds {
  /** @default what defaultMemoryBytes says */
  readonly budgetBytes?: number | undefined;
  readonly threadsWanted: number;
  readonly maxChunkBytes: number;
  readonly packBufferBytes: number;
  /** Of each arena, for what is read while what came before is stored, where the budget holds it. @default 0 */
  readonly readAheadBytes?: number;
  /** Complete packs on their way, at most. */
  readonly packsAheadMax: number;
}

/**
 * The most threads that the budget holds, then larger arenas, then fewer flushes, then packs ahead.
 *
 *   budget ≥ base + threads × (thread + arena + pack) + session + packs ahead × pack
 *
 * Throws USAGE with the least that would do.
 */
export function planMemory({ budgetBytes: given, threadsWanted, maxChunkBytes, packBufferBytes, readAheadBytes = 0, packsAheadMax }: MemoryNeeds): MemoryPlan {
  const least = leastArenaBytes(maxChunkBytes);
  const leastBytes = BASE_BYTES + sessionBytes(Math.min(...SESSION_CONTENTS)) + least + 2 * packBufferBytes;
  const budgetBytes = given ?? defaultMemoryBytes(leastBytes);
  const usual = Math.max(Math.ceil((ARENA_CHUNKS * maxChunkBytes) / MIB) * MIB, least);
  const arenas = [usual + readAheadBytes, usual, Math.max(2 * maxChunkBytes, least), least];
  for (let threads = Math.min(threadsWanted, THREADS_MAX); threads >= 0; threads--) {
    for (const arenaBytes of arenas) {
      for (const sessionContents of SESSION_CONTENTS) {
        const lanes = Math.max(threads, 1);
        const left = budgetBytes - BASE_BYTES - sessionBytes(sessionContents) - threads * THREAD_BYTES - lanes * (arenaBytes + packBufferBytes);
        const packsAhead = Math.min(Math.floor(left / packBufferBytes), packsAheadMax, PACKS_AHEAD_MAX);
        if (packsAhead >= 1) return { threads, arenaBytes, packsAhead, sessionContents };
      }
    }
  }
  throw budgetTooSmall(budgetBytes, { leastBytes, what: "this repository" });
}
