import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { systemClock } from "@drayage/base";
import { afterEach, describe, expect, it } from "vitest";
import { untilEnded } from "./end-threads.ts";

/** Ends when it is told to, `afterMs` later, and leaves its mark then. */
const POLITE = `
  const { parentPort, workerData: { marks, afterMs } } = require("node:worker_threads");
  parentPort.once("message", () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, afterMs);
    Atomics.add(marks, 0, 1);
  });
`;
/** Says that it is there, and ends a good while later. */
const SLOW = `
  const { parentPort, workerData: { marks } } = require("node:worker_threads");
  parentPort.postMessage("here");
  Atomics.wait(marks, 1, 0, 500);
  Atomics.add(marks, 0, 1);
`;

describe("the end of threads", () => {
  let marks: Int32Array<SharedArrayBuffer>;
  const started: Worker[] = [];
  const start = (program: string, afterMs = 0): Worker => {
    const worker = new Worker(program, { eval: true, workerData: { marks, afterMs } });
    started.push(worker);
    return worker;
  };
  afterEach(() => Promise.all(started.splice(0).map((worker) => worker.terminate())));

  it("is their own, also of one that has only just been started and of one that has ended before", async () => {
    marks = new Int32Array(new SharedArrayBuffer(8));
    const gone = start("");
    await new Promise((resolve) => gone.once("exit", resolve));
    const workers = [start(POLITE, 50), start(POLITE)];
    for (const worker of workers) worker.postMessage("end");
    await untilEnded(
      [gone, ...workers].map((worker) => ({ worker, ready: false })),
      { ...systemClock, sleep: () => new Promise(() => undefined) },
    );
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
    expect(Atomics.load(marks, 0)).toBe(2);
  });

  it("is not waited for by more than a while, in which one that is loading keeps the process from ending, and one that does not answer does not", async () => {
    const program = `
      import { Worker } from "node:worker_threads";
      const marks = new Int32Array(new SharedArrayBuffer(8));
      const start = () => new Worker(${JSON.stringify(SLOW)}, { eval: true, workerData: { marks }, execArgv: [] });
      const { untilEnded } = await import(${JSON.stringify(new URL("./end-threads.ts", import.meta.url).href)});
      const worker = start();
      await new Promise((resolve) => worker.once("message", resolve));
      const slept = [];
      await untilEnded([{ worker, ready: process.argv[1] === "ready" }], { sleep: async (ms) => void slept.push(ms) });
      console.log(slept.join(), Atomics.load(marks, 0));
      process.on("beforeExit", () => console.log("loop ended", Atomics.load(marks, 0)));
    `;
    const run = async (ready: string) => (await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program, ready])).stdout;
    expect(await run("loading")).toBe("700 0\nloop ended 1\n");
    expect(await run("ready")).toBe("700 0\nloop ended 0\n");
  });
});
