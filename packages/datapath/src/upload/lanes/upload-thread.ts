/** The thread that reads, hashes and seals. It does jobs in the order in which they come, and looks at two shared words between pieces of work. */
import { parentPort, workerData } from "node:worker_threads";
import { createKernels } from "@drayage/kernels";
import { openLane, type SealedPack } from "@drayage/repo/sealing-lane";
import { CpuLimit } from "../../cpu-limit.ts";
import { JobRunner } from "./job-runner.ts";
import { CANCELED, CONTROL, type EndedJob, type FromThread, type NumberedJob, type ThreadOptions, type ToThread } from "./jobs.ts";
import { packError } from "./transferred-error.ts";

const { lane: laneOptions, known, arenaBytes, build, control, processors } = workerData as ThreadOptions;
const port = parentPort as NonNullable<typeof parentPort>;
const post = (message: FromThread, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

const buffers: Uint8Array[] = [];
let wanting: ((buffer: Uint8Array) => void) | undefined;
let waitedMs = 0;
let turn = 0;
const limit = new CpuLimit(processors);
const never = new Int32Array(new SharedArrayBuffer(4));

async function nextBuffer(): Promise<Uint8Array> {
  const buffer = buffers.pop();
  if (buffer !== undefined) return buffer;
  const startedMs = performance.now();
  const given = await new Promise<Uint8Array>((resolve) => {
    wanting = resolve;
  });
  waitedMs += performance.now() - startedMs;
  return given;
}

function deliver(pack: SealedPack): void {
  post({ kind: "pack", pack }, [pack.hashes.buffer, pack.columns.buffer]);
}

/** Delivers when somebody waits for it who has not been answered. */
function deliverWhenAsked(): void {
  const asked = Atomics.load(control, CONTROL.turn);
  if (asked === turn) return;
  turn = asked;
  lane.flush();
  post({ kind: "delivered", turn, newestTable: lane.newestTable });
}

function pace(): void {
  if (Atomics.load(control, CONTROL.canceled) !== 0) throw new Error(CANCELED);
  deliverWhenAsked();
  const restMs = limit.restMs();
  if (restMs > 0) Atomics.wait(never, 0, 0, restMs);
}

const bundles: (readonly NumberedJob[])[] = [];
let running = false;

async function run(): Promise<void> {
  if (running) return;
  running = true;
  for (let bundle = bundles.shift(); bundle !== undefined; bundle = bundles.shift()) {
    const ended: EndedJob[] = [];
    const memory: ArrayBuffer[] = [];
    for (const next of bundle) ended.push(await end(next, memory));
    post({ kind: "ended", jobs: ended }, memory);
    // Messages that came meanwhile are read.
    await new Promise((resolve) => setImmediate(resolve));
  }
  running = false;
}

/** @param memory - takes what can be handed over of the result */
async function end({ id, job }: NumberedJob, memory: ArrayBuffer[]): Promise<EndedJob> {
  try {
    if (job.kind === "range") {
      return { id, result: await runner.range(job, (chunks) => post({ kind: "chunks", id, chunks }, [chunks.hashes.buffer, chunks.lengths.buffer])) };
    }
    const result = await runner.files(job);
    memory.push(result.rows.buffer, result.text.buffer, result.ends.buffer);
    return { id, result };
  } catch (error) {
    return { id, error: packError(error) };
  }
}

const kernels = await createKernels({ build });
const lane = await openLane(laneOptions, known, { nextBuffer, deliver }, kernels);
const runner = new JobRunner({ lane, kernels, arena: kernels.system.alignedBuffer(arenaBytes), waitedMs: () => waitedMs, pace });

port.on("message", (message: ToThread) => {
  if (message.kind === "jobs") {
    bundles.push(message.jobs);
    void run();
  } else if (message.kind === "buffer") {
    const give = wanting;
    wanting = undefined;
    if (give === undefined) buffers.push(message.buffer);
    else give(message.buffer);
  } else if (message.kind === "known") {
    lane.update(message);
  } else if (message.kind === "end") {
    bundles.length = 0;
    // Nothing else keeps the thread.
    port.close();
  } else {
    deliverWhenAsked();
  }
});
post({ kind: "ready" });
