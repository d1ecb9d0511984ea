import { describe, expect, it } from "vitest";
import { type JobTarget, PlannedTransfer } from "./planned-transfer.ts";
import type { PlannedRange } from "./range-plan.ts";
import type { RestoreSource } from "./restore-source.ts";
import type { WriteJob } from "./write-job.ts";
import type { WritePool } from "./write-pool.ts";

const RANGE_BYTES = 1000;
const target: JobTarget = { encode: () => "file", extrasOf: () => undefined };

const rangeAt = (index: number): PlannedRange<JobTarget> => {
  const content = { id: `c${index}`, pack: "p", offset: index * RANGE_BYTES, length: RANGE_BYTES, originalLength: RANGE_BYTES, form: 0 };
  return { pack: "p", offset: content.offset, length: RANGE_BYTES, contents: [{ content, targets: [target] }], bytesNeeded: RANGE_BYTES };
};

/** The most ranges that were in memory at once, for writers that have what they are given done at once and wait for the store all the time. */
async function mostInMemory(
  isLocal: boolean,
  limits: { readonly threads: number; readonly memoryBytes: number; readonly rangeBytes?: number },
): Promise<number> {
  let inMemory = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const source: Pick<RestoreSource, "readRange" | "isLocal"> = {
    isLocal,
    readRange: async (_pack, _offset, _length, { into } = {}) => {
      most = Math.max(most, ++inMemory);
      await new Promise<void>((resolve) => waiting.push(resolve));
      return into ?? new Uint8Array(RANGE_BYTES);
    },
  };
  const pool: Pick<WritePool, "run"> = {
    run: (_job: WriteJob) => {
      inMemory--;
      return Promise.resolve({ failures: [], warnings: [], badContents: [], repairedShards: 0, stopped: false });
    },
  };
  const transfer = new PlannedTransfer<JobTarget>({
    ...{ source: source as RestoreSource, pool: pool as WritePool, limits: { rangeBytes: RANGE_BYTES, ...limits }, check: false },
    signal: new AbortController().signal,
    ...{ onDone: () => undefined, onWarning: () => undefined, onContent: () => undefined },
    onFatal: (error) => {
      throw error;
    },
  });
  let started = false;
  const all = (async () => {
    for (let index = 0; index < 40; index++) await transfer.start(rangeAt(index));
    await transfer.drain();
    started = true;
  })();
  // One answer after the other, each when everything before it has come to rest.
  while (!started) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    waiting.shift()?.();
  }
  await all;
  expect(transfer.statistics.requests).toBe(40);
  return most;
}

describe("ranges in memory", () => {
  it("are one for each writer and the next, where they come from nearby", async () => {
    expect(await mostInMemory(true, { threads: 2, memoryBytes: 8 * RANGE_BYTES })).toBe(3);
    expect(await mostInMemory(true, { threads: 0, memoryBytes: 8 * RANGE_BYTES })).toBe(2);
  });

  it("are as many where each is one content that is longer than a range", async () => {
    expect(await mostInMemory(true, { threads: 2, memoryBytes: 8 * RANGE_BYTES, rangeBytes: RANGE_BYTES / 2 })).toBe(3);
    expect(await mostInMemory(true, { threads: 2, memoryBytes: 2 * RANGE_BYTES, rangeBytes: RANGE_BYTES / 2 })).toBe(2);
  });

  it("become as many as are allowed while writers wait for a store that is far away", async () => {
    expect(await mostInMemory(false, { threads: 2, memoryBytes: 8 * RANGE_BYTES })).toBe(8);
  });

  it("are never more than memory is allowed for, however many writers there are", async () => {
    expect(await mostInMemory(false, { threads: 30, memoryBytes: 2 * RANGE_BYTES })).toBe(2);
  });
});
