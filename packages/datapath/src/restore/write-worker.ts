/** A thread that decodes and writes: one job after the other, in the order in which they come. */
import { parentPort, workerData } from "node:worker_threads";
import { createKernels } from "@drayage/kernels";
import { CpuLimit } from "../cpu-limit.ts";
import { FileWriter, type WriterOptions } from "./file-writer.ts";
import type { CreateDecoder, DecoderModule } from "./restore-source.ts";
import { plainErrorOf, type WriteJob } from "./write-job.ts";

export interface WorkerStart {
  readonly decoder: DecoderModule;
  readonly options: WriterOptions & { readonly processors?: number };
  /** One number that is no longer 0 once everything is to stop. */
  readonly stop: SharedArrayBuffer;
}

export type ToWriter = { readonly id: number; readonly job: WriteJob } | "end";

async function start(): Promise<void> {
  const { decoder, options, stop } = workerData as WorkerStart;
  const { createDecoder } = (await import(decoder.module)) as { readonly createDecoder: CreateDecoder };
  const flag = new Int32Array(stop);
  const limit = new CpuLimit(options.processors ?? Number.POSITIVE_INFINITY);
  const { createFiles, system } = await createKernels();
  const writer = new FileWriter(await createDecoder(decoder.options), options, system, () => Atomics.load(flag, 0) !== 0, createFiles);
  parentPort?.on("message", (message: ToWriter) => {
    // Nothing else keeps the thread.
    if (message === "end") return parentPort?.close();
    const { id, job } = message;
    for (let restMs = limit.restMs(); restMs > 0 && Atomics.load(flag, 0) === 0; restMs = limit.restMs()) Atomics.wait(flag, 0, 0, restMs);
    const result = writer.run(job);
    // What was handed over is given back at once: waiting for the collector, memory would grow with the speed of the store.
    if (job.bytes.buffer instanceof ArrayBuffer) job.bytes.buffer.transfer(0);
    parentPort?.postMessage({ id, result });
  });
}

start().catch((error: unknown) => parentPort?.postMessage({ failed: plainErrorOf(error) }));
