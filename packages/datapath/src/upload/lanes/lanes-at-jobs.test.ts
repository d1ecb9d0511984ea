import { type BigIntStats, closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { systemClock } from "@drayage/base";
import { createKernels } from "@drayage/kernels";
import { createRepository, openRepository, type Repository } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patternBytes } from "../../testing/index.ts";
import { storeOpenFile } from "../store-file.ts";
import type { UploadContext } from "../upload-context.ts";
import type { RangeChunks, RangeJob } from "./jobs.ts";
import { UploadLanes } from "./upload-lanes.ts";

const GOOD_BYTES = 25 << 20;
const BAD_BYTES = 64 << 10;
/** Several packs. */
const LARGE_BYTES = 70 << 20;
const deriveKey = rememberingKeys();
let folder: string;
let repository: Repository;
let good: number;
let large: number;
let memory: number;

beforeAll(async () => {
  const storage = new MemoryStorage();
  await (await createRepository(storage, { password: "pw", deriveKey })).close();
  repository = await openRepository(storage, { password: "pw", deriveKey });
  folder = mkdtempSync(join(tmpdir(), "failing-"));
  writeFileSync(join(folder, "good"), patternBytes(GOOD_BYTES));
  good = openSync(join(folder, "good"), "r");
  writeFileSync(join(folder, "large"), patternBytes(LARGE_BYTES, 7));
  large = openSync(join(folder, "large"), "r");
  memory = openSync("/proc/self/mem", "r");
});
afterAll(async () => {
  await repository.close();
  for (const fd of [good, large, memory]) closeSync(fd);
  rmSync(folder, { recursive: true, force: true });
});

/** A range that can be read up to its middle: the kernel answers EIO where this process has no memory, and behind its stack there is none. */
function endOfStack(): number {
  const line = readFileSync("/proc/self/maps", "utf8")
    .split("\n")
    .find((text) => text.endsWith("[stack]"));
  return Number.parseInt(line?.split(/[- ]/)[1] ?? "", 16);
}

const rangeOf = (fd: number, from: number, to: number): RangeJob => ({
  ...{
    kind: "range",
    fd,
    from,
    to,
    holes: [],
    lead: 0,
    isOpen: false,
    splitter: repository.format.splitter,
    compressor: undefined,
    direct: false,
    deviceBytes: 0,
  },
});

async function lanesOf(
  threads: number,
  pace: () => Promise<void> = async () => undefined,
  { contents, signal }: { readonly contents: Repository["contents"]; readonly signal?: AbortSignal } = repository,
): Promise<UploadLanes> {
  const lanes = contents.openLanes?.();
  if (lanes === undefined) throw new Error("this repository has no lanes");
  return new UploadLanes({
    ...{
      lanes,
      kernels: await createKernels(),
      clock: systemClock,
      threads,
      arenaBytes: 28 << 20,
      packsAhead: 1,
      sessionContents: 1 << 17,
      processors: Number.POSITIVE_INFINITY,
      signal,
    },
    contentBytesMax: repository.objectWriters.createSplitter().maxChunkBytes,
    pace,
    onCounts: () => undefined,
  });
}

async function storeGood(lanes: UploadLanes): Promise<number> {
  const chunks: RangeChunks[] = [];
  await lanes.room();
  await lanes.range(rangeOf(good, 0, GOOD_BYTES), (more) => void chunks.push(more));
  return chunks.flatMap(({ lengths }) => [...lengths]).reduce((sum, length) => sum + length, 0);
}

describe("the thread of the walk, which begins alone", () => {
  it.each([1, 2, 3])("has memory for its packs though others, which are never full, have come meanwhile: %i of them", async (threads) => {
    let goOn: () => void = () => undefined;
    const othersAreThere = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    // Between two pieces of the file, packs are stored and their memory comes back.
    const lanes = await lanesOf(threads, () => othersAreThere.then(() => setTimeout(5)));
    try {
      const own = lanes.range(rangeOf(large, 0, LARGE_BYTES), () => undefined);
      // Of data that goes on nothing is stored yet. One that has not come has no job: each of them has had one when all these are done.
      const others = Array.from({ length: 4 * threads }, () => lanes.range({ ...rangeOf(good, 0, 1000), isOpen: true }, () => undefined));
      await Promise.all(others);
      goOn();
      expect((await own).end).toBe(LARGE_BYTES);
    } finally {
      await lanes.close();
    }
  });
});

describe("an upload that is over", () => {
  it.each([0, 1])("leaves no work behind that waits for memory, which may never come back: %i threads", async (threads) => {
    let stored: () => void = () => undefined;
    const isStoring = new Promise<void>((resolve) => {
      stored = resolve;
    });
    class StuckStorage extends MemoryStorage {
      override put(...[id, ...rest]: Parameters<MemoryStorage["put"]>): Promise<void> {
        if (!id.startsWith("p")) return super.put(id, ...rest);
        stored();
        return new Promise(() => undefined);
      }
    }
    const storage = new StuckStorage();
    await (await createRepository(storage, { password: "pw", deriveKey })).close();
    const { contents } = await openRepository(storage, { password: "pw", deriveKey });
    const stop = new AbortController();
    const lanes = await lanesOf(threads, async () => undefined, { contents, signal: stop.signal });
    try {
      const own = lanes.range(rangeOf(large, 0, LARGE_BYTES), () => undefined);
      const ended = expect(own).rejects.toThrow("enough");
      await isStoring;
      stop.abort(new Error("enough"));
      await ended;
    } finally {
      await lanes.close();
    }
  });
});

describe("a disk that fails in the middle of a file", { timeout: 120_000 }, () => {
  it.each([
    [0, false],
    [2, false],
    [0, true],
    [2, true],
  ])("costs that file alone, with %i threads, direct reads: %s", async (threads, direct) => {
    const lanes = await lanesOf(threads);
    const end = endOfStack();
    try {
      for (let i = 0; i < 3; i++) {
        const [stored, failed] = await Promise.allSettled([
          storeGood(lanes),
          lanes.range({ ...rangeOf(memory, end - BAD_BYTES, end + BAD_BYTES), direct }, () => undefined),
        ]);
        expect(failed).toMatchObject({ status: "rejected", reason: { code: "EIO" } });
        expect(stored).toEqual({ status: "fulfilled", value: GOOD_BYTES });
      }
    } finally {
      await lanes.close();
    }
  });

  it("is told by the path of the file, as an error of reading", async () => {
    const lanes = await lanesOf(0);
    const fd = openSync("/proc/self/mem", "r");
    try {
      const from = endOfStack() - BAD_BYTES;
      // A file whose bytes lie where its disk can be read half way.
      const onBadDisk: Pick<UploadLanes, "room" | "range" | "threads"> = {
        threads: 0,
        room: () => lanes.room(),
        range: (job, onChunks) => lanes.range({ ...job, from: from + job.from, to: from + job.to }, onChunks),
      };
      const context = {
        ...{ lanes: onBadDisk, repository, splitter: repository.format.splitter, compressor: undefined },
        ...{ meter: { counts: { bytesDone: 0 } }, checkpoints: { saveSoon: () => undefined } },
      } as unknown as UploadContext;
      const stat = { ...fstatSync(fd, { bigint: true }), size: BigInt(2 * BAD_BYTES) } as BigIntStats;
      const stored = storeOpenFile(context, { fd, stat, holes: [] }, { path: "disk", where: "/data/disk" }, () => () => undefined);
      await expect(stored).rejects.toMatchObject({ code: "PATH_IO", message: 'Cannot read "/data/disk": the device reports an input/output error' });
    } finally {
      await lanes.close();
    }
  });
});
