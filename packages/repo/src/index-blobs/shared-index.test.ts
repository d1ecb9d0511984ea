import { Worker } from "node:worker_threads";
import { utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { keyOf } from "../content/content-id.ts";
import { newTestRepository } from "../testing/open-repository.ts";
import { attachIndex } from "./shared-index.ts";

describe("a shared index", () => {
  it("says in a worker what the main thread says, as of when it was shared", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const kept = await contents.write(utf8("kept"));
    const gone = await contents.write(utf8("gone"));
    await contents.flush();
    const before = contents.shareIndex();
    await contents.delete(gone.id);
    const later = await contents.write(utf8("later"));
    await contents.flush();
    const keys = [kept, gone, later].map(({ id }) => keyOf(id));
    // The worker strips types as this process does; what it imports is the module under test.
    const script = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ attachIndex }) => {
        const answers = workerData.handles.map((handle) => {
          const index = attachIndex(handle);
          const found = workerData.keys.map((key) => [index.has(key), index.find(key)?.packBlobId ?? "", index.find(key)?.deleted ?? false]);
          index.close();
          return found;
        });
        parentPort.postMessage(answers);
      });`;
    const module = new URL("./shared-index.ts", import.meta.url).href;
    const worker = new Worker(script, { eval: true, workerData: { module, keys, handles: [before, contents.shareIndex()] } });
    const answers = await new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    await worker.terminate();
    const pack = (id: typeof kept.id): string => contents.info(id)?.packBlobId ?? "";
    expect(answers).toEqual([
      [
        [true, pack(kept.id), false],
        [true, pack(gone.id), false],
        [false, "", false],
      ],
      [
        [true, pack(kept.id), false],
        [false, pack(gone.id), true],
        [true, pack(later.id), false],
      ],
    ]);
  });

  it("hides a content whose deletion is final", async () => {
    const repository = await newTestRepository();
    const contents = await repository.open();
    const { id } = await contents.write(utf8("gone"));
    await contents.flush();
    await contents.delete(id);
    await contents.flush();
    const shared = contents.shareIndex();
    expect(attachIndex(shared).find(keyOf(id))?.deleted).toBe(true);
    expect(attachIndex({ ...shared, deletionWatermark: Number.MAX_SAFE_INTEGER }).find(keyOf(id))).toBeUndefined();
  });
});
