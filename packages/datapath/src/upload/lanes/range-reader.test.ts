import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReadAhead, ReadsAhead } from "@drayage/kernels";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { digestLane, patternBytes, SmallSplitter } from "../../testing/index.ts";
import { RangeCutter } from "./range-cutter.ts";
import { RangeReader } from "./range-reader.ts";

const BLOCK = 4096;
const POISON = 0xaa;

/** Zeros too: into chunks that end on no block. */
const newSplitter = (): SmallSplitter => new SmallSplitter({ minChunkBytes: 1000, maxChunkBytes: 9000, cutBelow: 2 });

let folder: string;
let fd: number;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "range-reader-"));
  fd = openSync(join(folder, "data"), "w+");
});
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

type Answer = "whole" | "refused" | "failed" | "short";

/** Reads whose bytes come only when their end is asked for, with what the system may answer; and nobody may have touched their memory meanwhile. */
class LateReads implements ReadsAhead {
  readonly underWay = new Map<number, ReadAhead>();
  readonly #answers: readonly Answer[];
  begun = 0;
  #turn = 0;

  constructor(answers: readonly Answer[]) {
    this.#answers = answers;
  }

  begin(slot: number, read: ReadAhead): boolean {
    if (this.underWay.has(slot) || read.at % BLOCK !== 0 || read.offset % BLOCK !== 0) throw new Error("no direct read would be begun");
    if (this.#answers[this.#turn++ % this.#answers.length] === "refused") return false;
    this.begun++;
    this.underWay.set(slot, read);
    read.memory.fill(POISON, read.at, read.at + read.length);
    return true;
  }

  end(slot: number): number {
    const read = this.underWay.get(slot);
    if (read === undefined) throw new Error("nothing was begun there");
    this.underWay.delete(slot);
    const memory = read.memory.subarray(read.at, read.at + read.length);
    if (memory.some((byte) => byte !== POISON)) throw new Error("somebody has used the memory of a read that is under way");
    const answer = this.#answers[this.#turn++ % this.#answers.length];
    if (answer === "failed") return 0;
    return readSync(fd, memory, 0, answer === "short" ? Math.floor(read.length / 1024) * 512 : read.length, read.offset);
  }
}

interface Case {
  readonly from: number;
  readonly to: number;
  readonly holes: readonly (readonly [offset: number, length: number])[];
  readonly deviceBytes: number;
  readonly lead: number;
  readonly isOpen: boolean;
  readonly arenaBytes: number;
}

async function chunksOf(
  { from, to, holes, deviceBytes, lead, isOpen, arenaBytes }: Case,
  reads?: ReadsAhead,
  { store = () => undefined, pace = () => undefined, source = fd }: { readonly store?: () => void; readonly pace?: () => void; readonly source?: number } = {},
) {
  const chunks: [offset: number, length: number, hash: string][] = [];
  const cutter = new RangeCutter(digestLane(store), new Uint8Array(arenaBytes), {
    ...{ createSplitter: newSplitter, compressor: undefined, aligned: true, from, lead },
    onChunks: ({ offset, hashes, lengths }) => {
      for (const [i, length] of lengths.entries()) {
        chunks.push([offset, length, Buffer.from(hashes.subarray(16 * i, 16 * i + 16)).toString("hex")]);
        offset += length;
      }
    },
  });
  const ahead = reads === undefined ? undefined : { reads, count: 3 };
  const job = { fd: source, from, direct: true, deviceBytes };
  const reader = new RangeReader({ job, cutter, pieceBytes: 2 * BLOCK, ahead, pace, onWaited: () => undefined });
  try {
    let isWhole = true;
    for (const [offset, length] of holes) {
      isWhole = isWhole && (await reader.readTo(offset));
      if (!isWhole) break;
      await cutter.skip(length, pace);
      reader.pass(length);
    }
    if (isWhole) await reader.readTo(to);
    await cutter.finish(isOpen);
  } finally {
    reader.settle();
  }
  return { end: reader.at, chunks };
}

/** Runs of noise and of zeros, of a length that need not end on a block; the device may have been longer when the job was made. */
const shapes = fc.record({
  runs: fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 96 })), { maxLength: 6 }),
  from: fc.nat(),
  to: fc.nat(),
  gaps: fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 1, max: 9 })), { maxLength: 3 }),
  shrank: fc.constantFrom(0, 0, 512, 5 * BLOCK),
  lead: fc.constantFrom(0, 0, 20_000),
  isOpen: fc.boolean(),
  arenaBlocks: fc.integer({ min: 6, max: 24 }),
});

function caseOf({ runs, from, to, gaps, shrank, lead, isOpen, arenaBlocks }: typeof shapes extends fc.Arbitrary<infer Shape> ? Shape : never) {
  const data = Buffer.concat(runs.map(([isNoise, sectors], i) => (isNoise ? patternBytes(512 * sectors, i + 1) : Buffer.alloc(512 * sectors))));
  const deviceBytes = data.length + shrank;
  const start = from % (deviceBytes + 1);
  const end = start + (to % (deviceBytes - start + 1));
  const holes: [number, number][] = [];
  let at = Math.ceil(start / BLOCK) * BLOCK;
  for (const [before, blocks] of gaps) {
    const offset = at + before * BLOCK;
    const length = blocks * BLOCK;
    if (offset + length > end) break;
    holes.push([offset, length]);
    at = offset + length + BLOCK;
  }
  // Zeros of a hole are filled in a MiB at a time.
  const arenaBytes = arenaBlocks * BLOCK + (holes.length > 0 ? 1 << 20 : 0);
  return { data, given: { from: start, to: end, holes, deviceBytes, lead, isOpen, arenaBytes } };
}

function fill(data: Buffer): void {
  ftruncateSync(fd, 0);
  writeSync(fd, data, 0, data.length, 0);
}

const answers = fc.array(fc.constantFrom<Answer>("whole", "whole", "whole", "refused", "failed", "short"), { minLength: 1, maxLength: 9 });

it("gives the chunks that reading piece by piece gives, whatever becomes of reads that are begun ahead, and leaves none under way", async () => {
  await fc.assert(
    fc.asyncProperty(shapes, answers, async (shape, answered) => {
      const { data, given } = caseOf(shape);
      fill(data);
      const reads = new LateReads(answered);
      expect(await chunksOf(given, reads)).toEqual(await chunksOf(given));
      expect(reads.underWay.size).toBe(0);
    }),
    { numRuns: 800 },
  );
});

const large: Case = { from: 100, to: 40 * BLOCK, holes: [], deviceBytes: 40 * BLOCK, lead: 0, isOpen: false, arenaBytes: 12 * BLOCK };

it("has reads under way while chunks are stored", async () => {
  fill(patternBytes(40 * BLOCK, 3));
  const reads = new LateReads(["whole"]);
  const meanwhile: number[] = [];
  await chunksOf(large, reads, { store: () => void meanwhile.push(reads.underWay.size) });
  expect(reads.begun).toBe(20);
  // All but the last time, when there is nothing left to read.
  expect(meanwhile.length).toBeGreaterThan(4);
  expect(meanwhile.slice(0, -2).every((count) => count > 0)).toBe(true);
});

it.each(["store", "pace"] as const)("leaves nothing under way when it is given up, in %s", async (where) => {
  fill(patternBytes(40 * BLOCK, 3));
  for (let calls = 1; calls < 6; calls++) {
    const reads = new LateReads(["whole"]);
    let left = calls;
    const giveUp = (): void => {
      if (--left === 0) throw new Error("enough");
    };
    await expect(chunksOf(large, reads, { [where]: giveUp })).rejects.toThrow("enough");
    expect(reads.underWay.size).toBe(0);
  }
});

it("tells what fails as reading tells it, when it comes to it and not before", async () => {
  fill(patternBytes(40 * BLOCK, 3));
  const folderFd = openSync(folder, "r");
  const reads = new LateReads(["whole", "whole", "whole", "whole", "whole", "whole", "whole", "failed"]);
  let paced = 0;
  await expect(chunksOf(large, reads, { source: folderFd, pace: () => void paced++ })).rejects.toMatchObject({ code: "EISDIR", syscall: "read" });
  expect(paced).toBeGreaterThan(1);
  expect(reads.underWay.size).toBe(0);
  closeSync(folderFd);
});
