/**
 * How a memory budget becomes bounds, and the threads that work within them.
 *
 *   process 112 MiB · each thread 32 MiB: its heap, and memory for decoded contents · ranges: what is left, 16 MiB at least and 32 at most, of which
 *   a store nearby takes one for each thread and the next (planned-transfer.ts)
 */
import { availableParallelism } from "node:os";
import { createKernels, type SystemCalls } from "@drayage/kernels";
import { budgetTooSmall, defaultMemoryBytes } from "../memory-budget.ts";
import { FileWriter } from "./file-writer.ts";
import type { RestoreContext, RestoreLimits } from "./restore-context.ts";
import { GrowingPool, InlinePool, ThreadPool, type WritePool } from "./write-pool.ts";

const MIB = 1 << 20;
const PROCESS_BYTES = 112 * MIB;
const THREAD_BYTES = 32 * MIB;
const RANGES_BYTES_MIN = 16 * MIB;
/** More in flight makes nothing faster: it covers a round trip of 30 ms at 1 GB/s. */
const RANGES_BYTES_MAX = 32 * MIB;
const DEFAULT_THREADS_MAX = 4;
const THREADS_MAX = 32;
const LEAST_BYTES = PROCESS_BYTES + RANGES_BYTES_MIN + THREAD_BYTES;
const LITTLE_BYTES = 64 * MIB;
/** Below this a thread takes longer to start than the calling one needs for the work. */
const WORTH_THREADS = { bytes: 16 * MIB, files: 500 } as const;

interface BudgetOptions {
  readonly parallel?: number;
  readonly cpu?: number;
  readonly memoryBudget?: number;
  readonly system?: SystemCalls;
  readonly expected?: { readonly bytes: number; readonly files: number };
  readonly root?: { readonly size: number };
  readonly limits?: Partial<RestoreLimits>;
  readonly source?: { readonly rangeBytes?: number; readonly windowBytes?: number };
}

/** The bounds of a restore, for its budget and for what is known of its size. Throws USAGE with the least budget that would do. */
export function restoreLimits(options: BudgetOptions): RestoreLimits {
  const { parallel, cpu = Number.POSITIVE_INFINITY, memoryBudget = defaultMemoryBytes(LEAST_BYTES), system, expected, root, limits, source } = options;
  if (memoryBudget < LEAST_BYTES) throw budgetTooSmall(memoryBudget, { leastBytes: LEAST_BYTES, what: "a restore" });
  const left = memoryBudget - PROCESS_BYTES;
  const wanted = Math.min(parallel ?? Math.min(availableParallelism(), DEFAULT_THREADS_MAX), Math.ceil(cpu));
  const isSmall = (expected?.bytes ?? root?.size ?? 0) < WORTH_THREADS.bytes && (expected?.files ?? 1) < WORTH_THREADS.files;
  const affordable = Math.max(1, Math.floor((left - RANGES_BYTES_MIN) / THREAD_BYTES));
  const threads = system !== undefined || (isSmall && parallel === undefined) ? 0 : Math.min(wanted, affordable, THREADS_MAX);
  // Of little, the memory of long ranges is most of what it takes.
  const isLittle = (expected?.bytes ?? root?.size ?? Number.POSITIVE_INFINITY) < LITTLE_BYTES;
  const rangeBytes = Math.min(source?.rangeBytes ?? 4 * MIB, isLittle ? 8 * MIB : Number.POSITIVE_INFINITY);
  return {
    threads,
    memoryBytes: Math.min(isLittle ? RANGES_BYTES_MIN : RANGES_BYTES_MAX, Math.max(RANGES_BYTES_MIN, left - threads * THREAD_BYTES)),
    rangeBytes,
    // About what a request costs, in a store nearby: reading on takes no longer than asking again.
    gapBytes: 128 << 10,
    windowTargets: 4096,
    windowBytes: source?.windowBytes ?? 256 * MIB,
    openFiles: 128,
    openDirectories: 256,
    ...limits,
  };
}

type PoolContext = Pick<RestoreContext, "source" | "system" | "clock" | "signal" | "overwrite" | "sparse" | "verify" | "limits">;

/** Runs `work` with writers, and ends them. */
export async function withWritePool<T>(
  context: PoolContext,
  options: Pick<BudgetOptions, "system" | "parallel" | "limits" | "cpu">,
  work: (pool: WritePool) => Promise<T>,
): Promise<T> {
  const { source, system, clock, signal, overwrite, sparse, verify, limits } = context;
  const writerOptions = { overwrite, sparse, verify };
  let stopped = false;
  const onStop = (): void => {
    stopped = true;
  };
  // Calls that a test has put in the place of the system's must be the ones that are made.
  const createFiles = options.system === undefined ? (await createKernels()).createFiles : undefined;
  const { worker } = source;
  // Whoever says how many threads there are to be gets them from the start.
  const isSaid = options.parallel !== undefined || options.limits?.threads !== undefined;
  const worth = isSaid ? { bytes: 0, contents: 0 } : { bytes: WORTH_THREADS.bytes, contents: WORTH_THREADS.files };
  const inline = new InlinePool(new FileWriter(await source.createDecoder(), writerOptions, system, () => stopped, createFiles), onStop);
  const pool =
    worker === undefined || limits.threads === 0 || options.system !== undefined
      ? inline
      : new GrowingPool(
          inline,
          worth,
          () => new ThreadPool(limits.threads, worker, { ...writerOptions, ...(options.cpu === undefined ? {} : { processors: options.cpu }) }, clock),
        );
  const stop = (): void => pool.stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await work(pool);
  } finally {
    signal.removeEventListener("abort", stop);
    await pool.close();
  }
}
