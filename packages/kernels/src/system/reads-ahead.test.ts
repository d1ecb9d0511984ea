import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createKernels } from "../kernels.ts";
import { loadNative } from "../native/load-native.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, openDirect } from "../testing/index.ts";
import { nativeReadsAhead } from "./reads-ahead.ts";
import { systemCalls } from "./system-calls.ts";

const PIECE = 4096;
const BYTES = 6 * PIECE + 512;
const data = ctr(BYTES);
let folder: string;
let fd: number;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "reads-ahead-"));
  writeFileSync(join(folder, "data"), data);
  fd = openDirect(join(folder, "data"));
});
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

describe("the portable build", () => {
  it("has none", async () => {
    expect((await createKernels({ build: "portable" })).readsAhead).toBeUndefined();
  });
});

/** A system may have none of it, and most have. */
const openings = (await kernelBuilds()).flatMap(({ name, addon }) => {
  const open = addon === undefined ? undefined : nativeReadsAhead(addon);
  return open?.(1) === undefined ? [] : [{ name, open }];
});

describe.for(openings)("reads ahead, $name", ({ open }) => {
  it("bring what is in the file, in whatever order their ends are asked for", () => {
    const reads = open(4);
    const memory = systemCalls.alignedBuffer(8 * PIECE);
    const read = (slot: number): boolean | undefined => reads?.begin(slot, { fd, memory, at: slot * PIECE, length: PIECE, offset: (3 - slot) * PIECE });
    for (let turn = 0; turn < 3; turn++) {
      memory.fill(0);
      expect([0, 1, 2, 3].map(read)).toEqual([true, true, true, true]);
      expect([2, 0, 3, 1].map((slot) => reads?.end(slot))).toEqual([PIECE, PIECE, PIECE, PIECE]);
      for (const slot of [0, 1, 2, 3])
        expect(Buffer.compare(memory.subarray(slot * PIECE, (slot + 1) * PIECE), data.subarray((3 - slot) * PIECE, (4 - slot) * PIECE))).toBe(0);
      expect(memory.subarray(4 * PIECE).every((byte) => byte === 0)).toBe(true);
    }
  });

  it("say how much came before the end of a file, and nothing of what failed", () => {
    const reads = open(1);
    const memory = systemCalls.alignedBuffer(8 * PIECE);
    const read = (from: number, offset: number): number | undefined => {
      const isBegun = reads?.begin(0, { fd: from, memory, at: 0, length: 2 * PIECE, offset });
      return isBegun === true ? reads?.end(0) : undefined;
    };
    expect(read(fd, 5 * PIECE)).toBe(PIECE + 512);
    expect(read(fd, 8 * PIECE)).toBe(0);
    // Nothing is begun of what is no open file, or has no such reads.
    expect(read(2 ** 31 - 1, 0)).toBeUndefined();
    const process = openSync("/proc/self/mem", "r");
    expect(read(process, 0)).toBeUndefined();
    closeSync(process);
    expect(read(fd, 0)).toBe(2 * PIECE);
  });

  it("refuse slots that are taken, are not, or are none, and memory that is not theirs", () => {
    const reads = open(2);
    const memory = systemCalls.alignedBuffer(2 * PIECE);
    const read = { fd, memory, at: 0, length: PIECE, offset: 0 };
    const refused: unknown = expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" });
    expect(() => reads?.end(0)).toThrow(refused);
    expect(reads?.begin(0, read)).toBe(true);
    expect(() => reads?.begin(0, read)).toThrow(refused);
    expect(() => reads?.begin(2, read)).toThrow(refused);
    expect(() => reads?.begin(1, { ...read, at: PIECE, length: PIECE + 1 })).toThrow(refused);
    expect(() => reads?.begin(1, { ...read, at: 2 * PIECE + 1, length: 0 })).toThrow(refused);
    expect(() => reads?.begin(1, { ...read, offset: -1 })).toThrow(refused);
    expect(() => reads?.begin(1, { ...read, fd: -1 })).toThrow(refused);
    expect(reads?.end(0)).toBe(PIECE);
    expect(() => reads?.end(0)).toThrow(refused);
    expect(() => open(0)).toThrow(refused);
    expect(() => open(65)).toThrow(refused);
  });
});

// A thread is ended wherever it is: then its reads go nowhere any more, and the memory they went to is nobody's.
const native = loadNative();
if (native.addon !== undefined && native.addon.readsAhead?.(1) !== undefined) {
  const { path } = native;
  it("let a thread be ended while they are on their way", () => endThreads(path));
}

async function endThreads(path: string): Promise<void> {
  const code = `
    const { createRequire } = require("node:module");
    const { parentPort, workerData: { path, fd } } = require("node:worker_threads");
    const addon = createRequire(path)(path);
    const memory = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }).buffer);
    const reads = addon.readsAhead(8);
    for (let slot = 0; slot < 8; slot++) addon.beginRead(reads, slot, fd, memory, slot * 8192, 4096, 0);
    parentPort.postMessage("begun");
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
  `;
  for (let i = 0; i < 4; i++) {
    const worker = new Worker(code, { eval: true, workerData: { path, fd } });
    await new Promise((begun) => worker.once("message", begun));
    expect(await worker.terminate()).toBe(1);
  }
}
