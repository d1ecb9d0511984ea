import { createHash } from "node:crypto";
import { ChunkList, type ContentId, directObjectId } from "@drayage/repo";
import fc from "fast-check";
import { expect, it } from "vitest";
import { digestLane, SmallSplitter } from "../testing/index.ts";
import { BlockMap } from "./changed-blocks.ts";
import type { RangeChunks, RangeJob } from "./lanes/jobs.ts";
import { RangeCutter } from "./lanes/range-cutter.ts";
import type { UploadLanes } from "./lanes/upload-lanes.ts";
import { StitchedObject } from "./stitched-object.ts";

const [MIN, MAX, BLOCK] = [8, 64, 32];

const newSplitter = (): SmallSplitter => new SmallSplitter({ minChunkBytes: MIN, maxChunkBytes: MAX, cutBelow: 16 });
const digest = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest().subarray(0, 16);

/** What a thread does, over bytes in memory. */
function lanesOver(data: Uint8Array, read: RangeJob[]): UploadLanes {
  const lane = digestLane();
  const range = async (job: RangeJob, onChunks: (chunks: RangeChunks) => void): Promise<{ readonly end: number }> => {
    read.push(job);
    const cutter = new RangeCutter(lane, new Uint8Array(1 << 20), {
      ...{ createSplitter: newSplitter, compressor: undefined, aligned: false, from: job.from, lead: job.lead },
      onChunks,
    });
    const to = Math.min(job.to, data.length);
    for (let at = job.from; at < to; at += 50) {
      const piece = data.subarray(at, Math.min(at + 50, to));
      const place = await cutter.reserve(4096);
      const { arena } = cutter;
      arena.set(piece, place);
      cutter.take(piece.length);
    }
    await cutter.finish(job.isOpen);
    return { end: Math.max(to, job.from) };
  };
  return { threads: 2, room: async () => undefined, range } as unknown as UploadLanes;
}

function cutFromFrontToBack(data: Uint8Array): ChunkList {
  const splitter = newSplitter();
  const chunks = new ChunkList();
  for (let from = 0; from < data.length; ) {
    const end = splitter.next(data, from, data.length);
    const to = end < 0 ? data.length : end;
    chunks.append(directObjectId(digest(data.subarray(from, to)).toString("hex") as ContentId), to - from);
    from = to;
  }
  return chunks;
}

const options = (to: number) => ({
  ...{ fd: -1, from: 0, to, holes: [], deviceBytes: 0, direct: false, splitter: "SMALL", maxChunkBytes: MAX, compressor: undefined, rangeBytes: 512 },
  onProgress: () => undefined,
});

/** Runs of noise and of one byte: cuts of ranges fall in step in the one, and do not in the other. */
const bytes = fc
  .array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 900 }), fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 }))), { maxLength: 12 })
  .map((runs) => Buffer.concat(runs.map(([isNoise, length, value]) => (isNoise ? noise(length, value) : Buffer.alloc(length, value)))));

function noise(length: number, seed: number): Buffer {
  const all: Buffer[] = [];
  for (let i = 0; i * 32 < length; i++) all.push(createHash("sha256").update(`${seed} ${i}`).digest());
  return Buffer.concat(all).subarray(0, length);
}

it("is what reading from front to back gives, however many ranges it was cut in", async () => {
  await fc.assert(
    fc.asyncProperty(bytes, async (data) => {
      const chunks = await new StitchedObject(lanesOver(data, []), options(data.length)).run();
      expect([...chunks]).toEqual([...cutFromFrontToBack(data)]);
    }),
    { numRuns: 300 },
  );
});

it("ends where a file ends that has shrunk meanwhile", async () => {
  await fc.assert(
    fc.asyncProperty(bytes, fc.integer({ min: 1, max: 3000 }), async (data, more) => {
      const chunks = await new StitchedObject(lanesOver(data, []), options(data.length + more)).run();
      expect([...chunks]).toEqual([...cutFromFrontToBack(data)]);
    }),
    { numRuns: 200 },
  );
});

it("is what reading all of it gives when only what changed since the parent is read, also when it grew or shrank", async () => {
  const change = fc.tuple(fc.nat({ max: 5000 }), fc.integer({ min: 1, max: 400 }), fc.nat({ max: 255 }));
  await fc.assert(
    fc.asyncProperty(bytes, fc.nat({ max: 6000 }), fc.array(change, { maxLength: 4 }), async (old, size, changes) => {
      const data = Buffer.concat([old.subarray(0, size), noise(Math.max(0, size - old.length), 8)]);
      const changed = new BlockMap(data.length, BLOCK);
      for (const [offset, length, value] of changes) {
        data.fill(value, Math.min(offset, data.length), Math.min(offset + length, data.length));
        changed.add({ offset, length });
      }
      const parent = { chunks: cutFromFrontToBack(old), changed };
      const chunks = await new StitchedObject(lanesOver(data, []), { ...options(data.length), parent }).run();
      expect([...chunks]).toEqual([...cutFromFrontToBack(data)]);
    }),
    { numRuns: 300 },
  );
});

it("reads a run of zeros once, though ranges are never in step there", async () => {
  const data = Buffer.concat([noise(700, 1), Buffer.alloc(6003), noise(900, 2), Buffer.alloc(2500), noise(10, 3)]);
  const read: RangeJob[] = [];
  expect([...(await new StitchedObject(lanesOver(data, read), options(data.length)).run())]).toEqual([...cutFromFrontToBack(data)]);
  const planned = Math.ceil(data.length / 512) * (512 + 4 * MAX);
  expect(read.reduce((sum, { from, to }) => sum + to - from, 0)).toBeLessThan(planned + 4 * 2 * MAX);
});

it("has shorter ranges towards the end, so that no thread is left with a long one", async () => {
  const read: RangeJob[] = [];
  const { rangeBytes: _, ...rest } = options(2 ** 31);
  // It ends at once: only what is read ahead is of interest.
  await new StitchedObject(lanesOver(noise(100, 1), read), rest).run();
  expect(read.slice(0, 4).map(({ from }) => from / 2 ** 20)).toEqual([0, 512, 896, 1184]);
});

it("leaves no thread without ranges while another is long at one", async () => {
  const data = noise(20_000, 4);
  const lanes = lanesOver(data, []);
  let ended = 0;
  let goOn: () => void = () => undefined;
  const othersHaveEnded = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const range: UploadLanes["range"] = async (job, onChunks) => {
    // The second one does not end before as many others have as there may be beside it.
    if (job.from === 512) await othersHaveEnded;
    else if (++ended === 7) goOn();
    return await lanes.range(job, onChunks);
  };
  const slow = { threads: 2, room: async () => undefined, range } as unknown as UploadLanes;
  expect([...(await new StitchedObject(slow, options(data.length)).run())]).toEqual([...cutFromFrontToBack(data)]);
});

it("reads nothing of what has not changed", async () => {
  const data = noise(20_000, 3);
  const parent = cutFromFrontToBack(data);
  const read: RangeJob[] = [];
  const reuse = async (changed: BlockMap) =>
    await new StitchedObject(lanesOver(data, read), { ...options(data.length), parent: { chunks: parent, changed } }).run();
  expect((await reuse(new BlockMap(data.length, BLOCK))).count).toBe(parent.count);
  expect(read).toEqual([]);
  const changed = new BlockMap(data.length, BLOCK);
  changed.add({ offset: 5017, length: 1 });
  expect([...(await reuse(changed))]).toEqual([...parent]);
  expect(read.reduce((sum, { from, to }) => sum + to - from, 0)).toBeLessThan(BLOCK + 2 * MAX);
});
