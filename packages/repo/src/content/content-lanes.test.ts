import { createKernels, type Kernels } from "@drayage/kernels";
import { beforeAll, describe, expect, it } from "vitest";
import { createRepository, openRepository, type Repository } from "../index.ts";
import { MemoryStorage, rememberingKeys } from "../testing/index.ts";
import { type ContentLanes, sessionBytes } from "./content-lanes.ts";
import { knownContentsBytes } from "./known-contents.ts";
import { laneBufferBytes, openLane, type SealingLane } from "./sealing-lane.ts";

const ROUND = 10_000;
const CONTENT_BYTES = 8;
const SESSION = 20_000;
const deriveKey = rememberingKeys();
const storage = new MemoryStorage();
let kernels: Kernels;

beforeAll(async () => {
  kernels = await createKernels();
  await (await createRepository(storage, { password: "pw", deriveKey })).close();
});

/** A lane in this thread, whose packs are adopted at once. */
async function openLanes(repository: Repository): Promise<{ lanes: ContentLanes; lane: SealingLane }> {
  const lanes = repository.contents.openLanes?.();
  if (lanes === undefined) throw new Error("this repository has no lanes");
  const adopting = new Set<Promise<void>>();
  const lane = await openLane(
    lanes.options,
    lanes.known,
    {
      nextBuffer: () => new Uint8Array(new SharedArrayBuffer(laneBufferBytes(lanes.options, 1 << 20))),
      deliver: (pack) => void adopting.add(lanes.adopt(pack, () => undefined)),
    },
    kernels,
  );
  lanes.onFlush(async () => {
    lane.flush();
    await Promise.all(adopting);
  });
  return { lanes, lane };
}

/** Contents that differ from those of other rounds. */
function rangesOf(round: number) {
  const words = Uint32Array.from({ length: ROUND * 2 }, (_, i) => (i % 2 === 0 ? round : i));
  return {
    data: new Uint8Array(words.buffer),
    starts: Uint32Array.from({ length: ROUND }, (_, i) => i * CONTENT_BYTES),
    lengths: new Uint32Array(ROUND).fill(CONTENT_BYTES),
    count: ROUND,
  };
}

describe("what lanes know of contents", { timeout: 120_000 }, () => {
  it("takes memory for as many as are stored between two flushes, however many there are, and none is stored twice", async () => {
    const repository = await openRepository(storage, { password: "pw", deriveKey });
    const { lanes, lane } = await openLanes(repository);
    let [most, flushes] = [0, 0];
    for (let round = 0; round < 24; round++) {
      expect((await lane.store(rangesOf(round))).newContents).toBe(ROUND);
      if (lanes.makeRoom()) lane.update(lanes.known);
      if (await lanes.flushWhenDue(SESSION)) {
        flushes++;
        if (lanes.forgetCommitted(lane.newestTable)) lane.update(lanes.known);
      }
      most = Math.max(most, lanes.knownBytes);
    }
    expect(flushes).toBe(12);
    expect(most).toBeLessThanOrEqual(knownContentsBytes(SESSION));
    for (const round of [0, 1, 9, 22, 23]) expect((await lane.store(rangesOf(round))).newContents).toBe(0);
    lane.close();
    lanes.close();
    await repository.close();
  });

  it("is kept while a lane may still claim it: one that has not heard of a younger table", async () => {
    const repository = await openRepository(storage, { password: "pw", deriveKey });
    const { lanes, lane } = await openLanes(repository);
    for (let round = 100; round < 104; round++) await lane.store(rangesOf(round));
    expect(lanes.makeRoom()).toBe(true);
    expect(await lanes.flushWhenDue(SESSION)).toBe(true);
    expect(lanes.forgetCommitted(lane.newestTable)).toBe(false);
    expect((await lane.store(rangesOf(100))).newContents).toBe(0);
    lane.close();
    lanes.close();
    await repository.close();
  });

  it("is counted with all that a content takes until it is committed", () => {
    // A column of the lane and its copy, an entry of each of: the pack's index, an index that is built, sealed and read back.
    const entry = 17 + 16;
    const columns = 16 + 16;
    expect(sessionBytes(SESSION) - knownContentsBytes(SESSION)).toBeGreaterThanOrEqual(SESSION * (2 * columns + 4 * entry));
  });
});
