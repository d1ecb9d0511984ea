import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { builtInMover } from "@drayage/api";
import { systemClock } from "@drayage/base";
import { memoryLogger, seededRandom, VirtualClock } from "@drayage/base/testing";
import { checkSchema, MemoryMoverStore, type MovedData, type MoverParameters } from "@drayage/mover-sdk";
import { type PreparedSample, volumeSample } from "@drayage/mover-sdk/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBuiltInMover } from "./built-in-mover.ts";
import { parametersOf } from "./hosted-mover.ts";
import { openInStore } from "./store-repository.ts";

// That it passes the conformance suite is tested where a user sees it: apps/dray/src/commands/mover.test.ts.
const folder = mkdtempSync(join(tmpdir(), "built-in-mover-"));
let sample: PreparedSample;
beforeAll(async () => {
  sample = await volumeSample.prepare(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const mover = createBuiltInMover({ version: "1.0.0", clock: systemClock, open: openInStore({ clock: systemClock, random: seededRandom(7) }) });
const contextOf = (store: MemoryMoverStore, parameters: MoverParameters = {}) => ({
  source: sample.source,
  target: { kind: "BackupStorageLocation", name: "default", store },
  parameters,
  workspace: folder,
  signal: new AbortController().signal,
  log: memoryLogger(),
  progress: () => undefined,
});

describe("the built-in mover", () => {
  it("compresses as its parameter says, verifies and lists what it moved", async () => {
    const [plain, small] = [new MemoryMoverStore(), new MemoryMoverStore()];
    await mover.backup({ ...contextOf(plain), id: "one" });
    const moved = await mover.backup({ ...contextOf(small, { Compression: "zstd" }), id: "one" });
    expect(small.bytes).toBeLessThan(plain.bytes / 2);
    expect(await mover.list?.(contextOf(small))).toEqual([{ snapshotId: moved.snapshotId }]);
    expect(await mover.verify?.({ ...contextOf(small), moved })).toEqual([]);
    for (const key of small.keys) if (key.startsWith("p")) await small.delete(key);
    expect((await mover.verify?.({ ...contextOf(small), moved }))?.length).toBeGreaterThan(0);
  });

  it("keeps to the bandwidth that its parameter says, in both directions", async () => {
    const clock = new VirtualClock();
    const slow = createBuiltInMover({ version: "1.0.0", clock: systemClock, open: openInStore({ clock, random: seededRandom(7) }) });
    const store = new MemoryMoverStore();
    const target = mkdtempSync(join(folder, "restored-"));
    const passed = async (work: Promise<unknown>): Promise<number> => {
      const startedMs = clock.monotonicMs();
      let isDone = false;
      const done = work.finally(() => {
        isDone = true;
      });
      // Time passes when everybody waits for it.
      while (!isDone) {
        await new Promise((resolve) => setImmediate(resolve));
        if (clock.pending > 0) await clock.advance(100);
      }
      await done;
      return clock.monotonicMs() - startedMs;
    };
    let moved: MovedData | undefined;
    const limited = { BandwidthLimit: "64K" };
    const backup = slow.backup({ ...contextOf(store, limited), id: "one" }).then((result) => {
      moved = result;
    });
    expect(await passed(backup)).toBeGreaterThan(((store.bytes - 65_536) / 65_536) * 900);
    const source = { ...sample.source, volume: { path: target, mode: "Filesystem" as const } };
    if (moved === undefined) throw new Error("nothing was moved");
    expect(await passed(slow.restore({ ...contextOf(store, limited), source, moved }))).toBeGreaterThan(500);
  });

  it("deletes by the id alone what a backup left that nobody heard of", async () => {
    const store = new MemoryMoverStore();
    await mover.backup({ ...contextOf(store), id: "one" });
    await mover.delete({ ...contextOf(store), id: "one" });
    expect(await mover.list?.(contextOf(store))).toEqual([]);
  });
});

describe("parameters of the built-in mover", () => {
  it("are a schema that users can read", () => {
    expect(checkSchema(builtInMover("1.0.0").spec.parameters)).toEqual([]);
  });

  it("are taken from a DataUpload as far as they fit; the rest is logged and costs nobody a volume", () => {
    const log = memoryLogger();
    const config = { ParallelFilesUpload: "4", WriteSparseFiles: "true", Compression: "best", vendorSetting: "x" };
    expect(parametersOf(mover, config, log)).toEqual({ ParallelFilesUpload: 4, WriteSparseFiles: true });
    expect(log.records.map(({ fields }) => fields?.["name"])).toEqual(["Compression", "vendorSetting"]);
    expect(parametersOf(mover, null, log)).toEqual({ WriteSparseFiles: false });
  });
});
