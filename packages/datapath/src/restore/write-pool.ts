/**
 * Where jobs are done: in the calling thread, or in threads of their own. How many jobs there are at once is the caller's to bound, since each holds memory.
 */
import { Worker } from "node:worker_threads";
import { type Clock, DrayError } from "@drayage/base";
import { untilEnded } from "../end-threads.ts";
import type { FileWriter } from "./file-writer.ts";
import type { DecoderModule } from "./restore-source.ts";
import { errorOf, type PlainError, type WriteJob, type WriteResult } from "./write-job.ts";
import type { ToWriter, WorkerStart } from "./write-worker.ts";

export interface WritePool {
  /** Rejects only when the pool itself is broken. The job's bytes are the pool's until then, and gone afterwards when they are not shared. */
  run(job: WriteJob): Promise<WriteResult>;
  /** Makes jobs end early that are under way or yet to come. */
  stop(): void;
  /** Ends the threads. No job may be under way. */
  close(): Promise<void>;
}

/** Does every job in the calling thread. */
export class InlinePool implements WritePool {
  readonly #writer: FileWriter;
  readonly #onStop: () => void;

  constructor(writer: FileWriter, onStop: () => void) {
    this.#writer = writer;
    this.#onStop = onStop;
  }

  async run(job: WriteJob): Promise<WriteResult> {
    return this.#writer.run(job);
  }

  stop(): void {
    this.#onStop();
  }

  async close(): Promise<void> {}
}

/** Does the first jobs in the calling thread, and starts others when there is enough to do for them: how much is decoded shows only on the way, in a file of holes for one. */
export class GrowingPool implements WritePool {
  /** Gone, with the memory that its writer has, once there are threads. */
  #inline: WritePool | undefined;
  readonly #worth: { readonly bytes: number; readonly contents: number };
  readonly #start: () => WritePool;
  #threads: WritePool | undefined;
  #bytes = 0;
  #contents = 0;
  #stopped = false;

  constructor(inline: WritePool, worth: { readonly bytes: number; readonly contents: number }, start: () => WritePool) {
    this.#inline = inline;
    this.#worth = worth;
    this.#start = start;
  }

  async run(job: WriteJob): Promise<WriteResult> {
    if (this.#threads === undefined) {
      this.#bytes += job.bytes.length;
      this.#contents += job.contentIds.length;
      const isWorth = this.#bytes > this.#worth.bytes || this.#contents > this.#worth.contents;
      if (this.#inline !== undefined && (this.#stopped || !isWorth)) return await this.#inline.run(job);
      this.#threads = this.#start();
      this.#inline = undefined;
    }
    return await this.#threads.run(job);
  }

  stop(): void {
    this.#stopped = true;
    this.#inline?.stop();
    this.#threads?.stop();
  }

  async close(): Promise<void> {
    await this.#threads?.close();
  }
}

interface Running {
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly running: Map<number, Running>;
  /** Since its first answer. */
  ready: boolean;
}

/** A thread holds a few arrays and strings of the jobs that it is given: more than this would be a leak. */
const HEAP_MIB_MAX = 64;
/** Most of what a job makes is garbage when it ends: a small nursery keeps that in the processor's cache, and out of the memory budget. */
const NURSERY_MIB = 4;

export class ThreadPool implements WritePool {
  readonly #threads: Thread[];
  readonly #clock: Clock;
  readonly #stop = new SharedArrayBuffer(4);
  #jobs = 0;
  #broken: { readonly error: unknown } | undefined;

  constructor(count: number, decoder: DecoderModule, options: WorkerStart["options"], clock: Clock) {
    this.#clock = clock;
    const start: WorkerStart = { decoder, options, stop: this.#stop };
    this.#threads = Array.from({ length: count }, () => this.#startThread(start));
  }

  async run(job: WriteJob): Promise<WriteResult> {
    if (this.#broken !== undefined) throw this.#broken.error;
    const [first, ...others] = this.#threads;
    if (first === undefined) throw new DrayError("INVARIANT", "Cannot write: there is no thread to do it");
    const thread = others.reduce((least, other) => (other.running.size < least.running.size ? other : least), first);
    const id = this.#jobs++;
    return await new Promise<WriteResult>((resolve, reject) => {
      thread.running.set(id, { resolve, reject });
      this.#tell(thread, { id, job }, job.pack === undefined ? [] : memoryOf(job.bytes));
    });
  }

  stop(): void {
    Atomics.store(new Int32Array(this.#stop), 0, 1);
  }

  async close(): Promise<void> {
    for (const thread of this.#threads) this.#tell(thread, "end");
    await untilEnded(this.#threads, this.#clock);
  }

  #tell({ worker }: Thread, message: ToWriter, memory: ArrayBuffer[] = []): void {
    worker.postMessage(message, memory);
  }

  #startThread(workerData: WorkerStart): Thread {
    const resourceLimits = { maxOldGenerationSizeMb: HEAP_MIB_MAX, maxYoungGenerationSizeMb: NURSERY_MIB };
    const worker = new Worker(new URL("./write-worker.ts", import.meta.url), { workerData, resourceLimits, execArgv: [] });
    const running = new Map<number, Running>();
    const thread: Thread = { worker, running, ready: false };
    worker.on("message", (said: { readonly id: number; readonly result: WriteResult } | { readonly failed: PlainError }) => {
      thread.ready = true;
      if ("failed" in said) return this.#break(errorOf(said.failed));
      running.get(said.id)?.resolve(said.result);
      running.delete(said.id);
    });
    worker.on("error", (error) => this.#break(error));
    return thread;
  }

  /** A thread that is gone takes the restore with it: what it was writing is in an unknown state. */
  #break(error: unknown): void {
    this.#broken ??= { error };
    this.stop();
    for (const { running } of this.#threads) {
      for (const { reject } of running.values()) reject(error);
      running.clear();
    }
  }
}

/** The memory of an array, where the array is all of it and it is not shared: then it is handed over, not copied. */
function memoryOf({ buffer, byteLength }: Uint8Array): ArrayBuffer[] {
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}
