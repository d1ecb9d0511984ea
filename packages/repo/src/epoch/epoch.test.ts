import { utf8 } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { type FaultyCall, FaultyStorage } from "@drayage/blob/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newTestRepository, type TestRepository } from "../testing/open-repository.ts";
import { findCompleteSet, numberOfName, rangeOfName } from "./epoch-names.ts";
import { type EpochRange, loadEpochState, longestChain } from "./epoch-state.ts";

const MINUTE_MS = 60_000;
const meta = (...ids: string[]): BlobMetadata[] => ids.map((id) => ({ id, length: 1, timestampMs: 0 }));
const range = (first: number, last: number): EpochRange => ({ first, last, blobs: meta(`xr${first}_${last}_a-s1-c1`) });
const spans = (chain: readonly EpochRange[]): string => chain.map(({ first, last }) => `${first}-${last}`).join(" ");

async function namesOf(storage: BlobStorage, prefix = ""): Promise<string[]> {
  const names: string[] = [];
  for await (const { id } of storage.list(prefix)) names.push(id);
  return names;
}

/** Waits for work that sleeps, while the clock goes on second by second. */
async function whileTimePasses<T>(repository: TestRepository, work: Promise<T>): Promise<T> {
  let done = false;
  const watched = work.finally(() => {
    done = true;
  });
  watched.catch(() => undefined);
  while (!done) await repository.clock.advance(1000);
  return watched;
}

/** What is active in a repository that holds these blobs besides its format. */
async function activeOf(repository: TestRepository, ...ids: string[]): Promise<string[]> {
  const contents = await repository.open();
  for (const id of ids) await repository.storage.put(id, utf8("-"));
  const { blobs } = await contents.indexBlobs.active();
  for (const id of ids) await repository.storage.delete(id);
  return blobs.map(({ id }) => id);
}

describe("names of the epoch protocol", () => {
  it("give their numbers, and nothing where the form is another", () => {
    expect(["xn0_ab-s1-c1", "xs12_ab-s1-c1", "xe7", "xw1760000000", "xe", "xn_ab", "xnab_", "xq1", "xe1x", "p1"].map(numberOfName)).toEqual([
      0,
      12,
      7,
      1_760_000_000,
      ...Array.from({ length: 6 }, () => undefined),
    ]);
    expect(["xr0_3_ab-s1-c1", "xr0_ab", "xr0_3", "xs0_3_ab"].map(rangeOfName)).toEqual([[0, 3], undefined, undefined, undefined]);
  });

  it("tell the first complete set", () => {
    expect(findCompleteSet([])).toBeUndefined();
    expect(findCompleteSet(meta("xs0_a-s1-c2"))).toBeUndefined();
    expect(findCompleteSet(meta("xs0_a-s1-c2", "xs0_b-s2-c1", "xs0_c-s1-c2"))).toEqual(meta("xs0_b-s2-c1"));
    expect(findCompleteSet(meta("xs0_a-s1-c2", "xs0_b-s2-c2", "xs0_c-s1-c2", "xs0_d-s2-c2"))).toEqual(meta("xs0_a-s1-c2", "xs0_c-s1-c2"));
    expect(findCompleteSet(meta("xs0_odd", "xs0_a-s1-c1"))).toEqual(meta("xs0_odd"));
  });
});

describe("the chain of ranges", () => {
  it.each([
    ["none from the start", [range(1, 3)], ""],
    ["one", [range(0, 3)], "0-3"],
    ["several", [range(4, 7), range(0, 3), range(8, 9)], "0-3 4-7 8-9"],
    ["up to a gap", [range(0, 3), range(5, 7)], "0-3"],
    ["the farthest", [range(0, 9), range(0, 3), range(4, 12)], "0-3 4-12"],
    ["of equal reach that with fewer", [range(0, 3), range(4, 7), range(0, 7)], "0-7"],
    ["also through a single epoch", [range(0, 0), range(1, 4)], "0-0 1-4"],
  ])("is %s", (_what, ranges, expected) => {
    expect(spans(longestChain(ranges))).toBe(expected);
  });

  it("reaches as far as any chain does, with as few ranges", () => {
    const anyChain = (ranges: readonly EpochRange[], start: number): { end: number; count: number } =>
      ranges
        .filter(({ first }) => first === start)
        .map(({ last }) => {
          const rest = anyChain(ranges, last + 1);
          return { end: Math.max(last, rest.end), count: rest.count + 1 };
        })
        .reduce((best, next) => (next.end > best.end || (next.end === best.end && next.count < best.count) ? next : best), { end: start - 1, count: 0 });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 3 })), { maxLength: 9 }), (pairs) => {
        const ranges = pairs.map(([first, more]) => range(first, first + more));
        const chain = longestChain(ranges);
        expect({ end: chain.at(-1)?.last ?? -1, count: chain.length }).toEqual(anyChain(ranges, 0));
      }),
    );
  });
});

describe("the active index blobs", () => {
  it("are those of every epoch up to one past the written one, compacted where settled", async () => {
    const repository = await newTestRepository();
    const cases: readonly (readonly [what: string, ids: string[], active: string[]])[] = [
      ["nothing", [], []],
      ["epoch 0 only", ["xn0_a-s1-c1", "xn1_b-s1-c1", "xn2_c-s1-c1"], ["xn0_a-s1-c1", "xn1_b-s1-c1"]],
      ["not yet settled, so not compacted", ["xe1", "xn0_a-s1-c1", "xs0_b-s2-c1"], ["xn0_a-s1-c1"]],
      ["settled and compacted", ["xe1", "xe2", "xn0_a-s1-c1", "xs0_b-s2-c1", "xn2_c-s1-c1"], ["xs0_b-s2-c1", "xn2_c-s1-c1"]],
      ["settled, compaction incomplete", ["xe2", "xn0_a-s1-c1", "xs0_b-s2-c2"], ["xn0_a-s1-c1"]],
      [
        "a range and what follows",
        ["xe5", "xr0_2_a-s1-c1", "xs1_x-s1-c1", "xn0_x-s1-c1", "xs3_b-s1-c1", "xn4_c-s1-c1"],
        ["xr0_2_a-s1-c1", "xs3_b-s1-c1", "xn4_c-s1-c1"],
      ],
      // Kopia passes over a range of the one epoch that is next, and takes the range behind it all the same.
      ["a range of one epoch is lost", ["xe6", "xr0_0_a-s1-c1", "xr1_3_b-s1-c1", "xs0_c-s1-c1"], ["xr1_3_b-s1-c1"]],
    ];
    for (const [what, ids, active] of cases) expect([what, await activeOf(repository, ...ids)]).toEqual([what, active]);
  });

  it("are listed again when one was compacted away between listing and reading", async () => {
    const repository = await newTestRepository({ wrap: (inner) => new FaultyStorage(inner) });
    const storage = repository.storage as FaultyStorage;
    const writer = await repository.open();
    const { id } = await writer.write(utf8("a"));
    await writer.flush();
    const [name = ""] = await namesOf(storage, "xn0_");
    const index = await storage.get(name);
    const compacted = `xs0_${name.slice(4).split("-")[0]}-s0123456789abcdef-c1`;
    for (const epoch of [1, 2]) await storage.put(`xe${epoch}`, utf8("epoch-marker"));
    const reader = await repository.open({ readOnly: true });
    await storage.put("xe3", utf8("epoch-marker"));
    let moved = false;
    const cold = await newReaderWith(repository, storage, async ({ operation, id: blob }) => {
      if (operation !== "get" || blob !== name || moved) return;
      moved = true;
      await storage.put(compacted, index);
      await storage.delete(name);
    });
    expect(moved).toBe(true);
    expect(cold.info(id)?.id).toBe(id);
    await reader.refresh();
    expect(reader.info(id)?.id).toBe(id);
  });
});

/** Opens contents while something happens before certain calls. */
async function newReaderWith(repository: TestRepository, storage: FaultyStorage, before: (call: FaultyCall) => Promise<void>) {
  const get = storage.get.bind(storage);
  storage.get = async (id, options) => {
    await before({ index: 0, operation: "get", id });
    return get(id, options);
  };
  const reader = await whileTimePasses(repository, repository.open({ readOnly: true }));
  storage.get = get;
  return reader;
}

describe("writing index blobs", () => {
  /** A repository of which puts of index blobs run something first. */
  async function watched(before: (blobId: string, repository: TestRepository) => Promise<void>) {
    const repository = await newTestRepository({ wrap: (inner) => new FaultyStorage(inner) });
    const storage = repository.storage as FaultyStorage;
    const put = storage.put.bind(storage);
    storage.put = async (id, data, options) => {
      if (id.startsWith("xn")) await before(id, repository);
      await put(id, data, options);
    };
    return { repository, storage, contents: await repository.open() };
  }
  const advanceTo = (repository: TestRepository, epoch: number): Promise<void> => repository.storage.put(`xe${epoch}`, utf8("epoch-marker"));

  it("uses what is known while 75 % of its time is left, and looks afresh otherwise", async () => {
    const { repository, storage, contents } = await watched(() => Promise.resolve());
    const listsBeforePut = async (): Promise<number> => {
      const from = storage.calls;
      await contents.indexBlobs.write([utf8(`index ${from}`)], "s1");
      const history = storage.history.slice(from);
      const put = history.findIndex(({ operation }) => operation === "put");
      return history.slice(0, put).filter(({ operation }) => operation === "list").length;
    };
    repository.clock.jump(4 * MINUTE_MS);
    expect(await listsBeforePut()).toBe(0);
    repository.clock.jump(4 * MINUTE_MS);
    expect(await listsBeforePut()).toBe(0);
    repository.clock.jump(6 * MINUTE_MS);
    expect(await listsBeforePut()).toBeGreaterThan(0);
  });

  it("lists the markers of epochs alone, once the epoch is not known and once behind the put", async () => {
    const { repository, storage, contents } = await watched(() => Promise.resolve());
    for (const [minutes, lists] of [
      [0, ["xe"]],
      [0, ["xe"]],
      [16, ["xe", "xe"]],
    ] as const) {
      repository.clock.jump(minutes * MINUTE_MS);
      const from = storage.calls;
      await contents.indexBlobs.write([utf8(`index ${from}`)], "s1");
      const listed = storage.history.slice(from).filter(({ operation }) => operation === "list");
      expect(listed.map(({ id }) => id)).toEqual(lists);
    }
  });

  it("starts over in the new epoch when the state ran out in the middle and the epoch had advanced", async () => {
    let puts = 0;
    const { repository, contents } = await watched(async (_id, at) => {
      if (++puts !== 1) return;
      await advanceTo(at, 1);
      at.clock.jump(21 * MINUTE_MS);
    });
    const names = await contents.indexBlobs.write([utf8("one"), utf8("two")], "s1");
    expect(names.map((name) => name.slice(0, 4))).toEqual(["xn1_", "xn1_"]);
    const [inOldEpoch, ...inNewEpoch] = await namesOf(repository.storage, "xn");
    // What was there already may be relied on by others.
    expect(inOldEpoch).toBe(names[0]?.replace("xn1_", "xn0_"));
    expect(inNewEpoch).toEqual([...names].sort());
    expect(names.every((name) => name.endsWith("-s1-c2"))).toBe(true);
  });

  it("goes on in the same epoch when only time passed", async () => {
    let puts = 0;
    const { repository, contents } = await watched((_id, at) => {
      if (++puts === 1) at.clock.jump(21 * MINUTE_MS);
      return Promise.resolve();
    });
    const names = await contents.indexBlobs.write([utf8("one"), utf8("two")], "s1");
    expect(await namesOf(repository.storage, "xn")).toEqual([...names].sort());
    expect(names.every((name) => name.startsWith("xn0_"))).toBe(true);
  });

  it("fails when two epochs passed meanwhile; the next flush has the contents still", async () => {
    let puts = 0;
    const { repository, contents } = await watched(async (_id, at) => {
      if (++puts !== 1) return;
      await advanceTo(at, 1);
      await advanceTo(at, 2);
    });
    const { id } = await contents.write(utf8("late"));
    await expect(contents.flush()).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE", message: expect.stringContaining("epoch 0 is closed") });
    await contents.flush();
    expect((await namesOf(repository.storage, "xn")).at(-1)).toMatch(/^xn2_/);
    expect((await repository.open({ readOnly: true })).info(id)?.id).toBe(id);
  });

  it("leaves an index blob that is there although its put was given up: another writer may have found its contents stored, and have stored them no more", async () => {
    const lost = new AbortController();
    const { repository, storage, contents } = await watched(() => Promise.resolve());
    const put = storage.put.bind(storage);
    storage.put = async (id, data, options) => {
      await put(id, data, options);
      if (!id.startsWith("xn") || lost.signal.aborted) return;
      // The answer never comes, and whoever waits for it is told to stop.
      lost.abort(new DOMException("superseded", "AbortError"));
      throw lost.signal.reason;
    };
    const { id } = await contents.write(utf8("shared"));
    await expect(contents.flush(lost.signal)).rejects.toThrow("superseded");
    const other = await repository.open();
    expect(other.info(id)?.id).toBe(id);
    await contents.close();
    expect((await repository.open({ readOnly: true })).info(id)?.id).toBe(id);
  });

  it("counts one epoch too late as in time", async () => {
    let puts = 0;
    const { repository, contents } = await watched(async (_id, at) => {
      if (++puts === 1) await advanceTo(at, 1);
    });
    const { id } = await contents.write(utf8("in time"));
    await contents.flush();
    expect((await namesOf(repository.storage, "xn"))[0]).toMatch(/^xn0_/);
    expect((await repository.open({ readOnly: true })).info(id)?.id).toBe(id);
  });

  it("gives up on a storage that answers more slowly than its answers stay valid", async () => {
    const repository = await newTestRepository({ wrap: (inner) => new FaultyStorage(inner) });
    const storage = repository.storage as FaultyStorage;
    const contents = await repository.open();
    storage.plan = ({ operation }) => {
      if (operation === "list") repository.clock.jump(21 * MINUTE_MS);
      return undefined;
    };
    await expect(whileTimePasses(repository, contents.indexBlobs.active())).rejects.toMatchObject({ code: "TIMED_OUT" });
  });
});

it("the state is read from names alone", async () => {
  const repository = await newTestRepository();
  for (const id of [
    "xe1",
    "xe2",
    "xe10",
    "xw100",
    "xw99",
    "xs3_a-s1-c1",
    "xs4_a-s1-c2",
    "xr0_2_a-s1-c1",
    "xn9_a-s1-c1",
    "xn11_a-s1-c1",
    "xn1_a-s1-c1",
    "xjunk",
  ]) {
    await repository.storage.put(id, utf8("-"));
  }
  const state = await loadEpochState(repository.storage);
  expect([state.writeEpoch, state.deletionWatermark, [...state.single.keys()], spans(state.ranges)]).toEqual([10, 100, [3], "0-2"]);
  expect([...state.uncompacted].map(([epoch, blobs]) => [epoch, blobs.length])).toEqual([
    [9, 1],
    [10, 0],
    [11, 1],
  ]);
});
