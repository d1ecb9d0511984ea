import { closeSync, mkdtempSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKernels, type Kernels, type ReadAhead, type ReadsAhead, systemCalls } from "@drayage/kernels";
import { openDirect } from "@drayage/kernels/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestLane, patternBytes } from "../../testing/index.ts";
import { JobRunner, leastArenaBytes } from "./job-runner.ts";
import type { RangeJob } from "./jobs.ts";

const MIB = 1 << 20;
const SPLITTER = "DYNAMIC-1M-BUZHASH";
const MAX_CHUNK_BYTES = 2 * MIB;
const BYTES = 14 * MIB + 512;
let folder: string;
let fd: number;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "job-runner-"));
  writeFileSync(join(folder, "device"), Buffer.concat([patternBytes(6 * MIB - 100, 1), Buffer.alloc(3 * MIB), patternBytes(5 * MIB + 612, 2)]));
  fd = openDirect(join(folder, "device"));
});
afterAll(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

const lane = digestLane();

const whole: RangeJob = {
  ...{ kind: "range", fd: -1, from: 0, to: BYTES, lead: 0, isOpen: false, holes: [], splitter: SPLITTER, compressor: undefined, direct: true },
  deviceBytes: BYTES,
};

interface Run {
  readonly kernels: Kernels;
  readonly arenaBytes: number;
  readonly job?: Partial<RangeJob>;
  readonly pace?: () => void;
}

async function chunksOf({ kernels, arenaBytes, job = {}, pace = () => undefined }: Run): Promise<string[]> {
  const runner = new JobRunner({ lane, kernels, arena: systemCalls.alignedBuffer(arenaBytes), waitedMs: () => 0, pace });
  const chunks: string[] = [];
  const { end } = await runner.range({ ...whole, fd, ...job }, ({ hashes, lengths }) => {
    for (const [i, length] of lengths.entries()) chunks.push(`${length} ${Buffer.from(hashes.subarray(16 * i, 16 * i + 16)).toString("hex")}`);
  });
  return [...chunks, `ends at ${end}`];
}

/** Reads that come when they are asked for. */
class LateReads implements ReadsAhead {
  readonly underWay = new Map<number, ReadAhead>();

  begin(slot: number, read: ReadAhead): boolean {
    this.underWay.set(slot, read);
    return true;
  }

  end(slot: number): number {
    const read = this.underWay.get(slot);
    this.underWay.delete(slot);
    return read === undefined ? 0 : readSync(read.fd, read.memory, read.at, read.length, read.offset);
  }
}

describe.each(["native", "portable"] as const)("a range of direct reads, %s", (build) => {
  const jobs: readonly Partial<RangeJob>[] = [
    {},
    { from: 3 * MIB + 777, lead: 4 * MIB, isOpen: true },
    { from: 100, to: 10 * MIB + 3 },
    { holes: [2 * MIB, MIB, 8 * MIB, 4096, 9 * MIB, 2 * MIB], to: 12 * MIB, isOpen: true },
    // It was longer when it was opened, and is padded.
    { deviceBytes: 20 * MIB, to: 20 * MIB },
    { holes: [BYTES, 2 * MIB - 512], to: 16 * MIB },
  ];

  it("has the chunks of reading as it is wanted, in arenas of any size", async () => {
    const { info, ...kernels } = await createKernels();
    // Where there is no compiler, there is one build.
    const chosen = await createKernels({ build: info.build === "native" ? build : "portable" });
    for (const job of jobs) {
      const wanted = await chunksOf({ kernels: { ...kernels, info, readsAhead: undefined }, arenaBytes: 24 * MIB, job });
      for (const arenaBytes of [leastArenaBytes(MAX_CHUNK_BYTES), 7 * MIB, 16 * MIB])
        expect(await chunksOf({ kernels: chosen, arenaBytes, job })).toEqual(wanted);
    }
  });

  it("has them also of chunks that fill the least arena", async () => {
    const kernels = await createKernels();
    const chosen = await createKernels({ build: kernels.info.build === "native" ? build : "portable" });
    const path = join(folder, `long chunks ${build}`);
    const bytes = 40 * MIB;
    writeFileSync(path, patternBytes(bytes, 3));
    const long = openDirect(path);
    const job = { fd: long, splitter: "DYNAMIC-8M-BUZHASH", to: bytes, deviceBytes: bytes } as const;
    const wanted = await chunksOf({ kernels, arenaBytes: 64 * MIB, job });
    expect(await chunksOf({ kernels: chosen, arenaBytes: leastArenaBytes(16 * MIB), job })).toEqual(wanted);
    closeSync(long);
  });
});

it("leaves no read under way when it is given up", async () => {
  const kernels = await createKernels();
  for (let pieces = 1; pieces < 12; pieces += 3) {
    const reads = new LateReads();
    let left = pieces;
    const pace = (): void => {
      if (--left < 0) throw new Error("enough");
    };
    const ended = chunksOf({ kernels: { ...kernels, readsAhead: () => reads }, arenaBytes: 7 * MIB, pace });
    await expect(ended).rejects.toThrow("enough");
    expect(reads.underWay.size).toBe(0);
  }
});
