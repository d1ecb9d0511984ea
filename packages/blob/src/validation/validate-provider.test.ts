import { systemClock, utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { collect } from "../contract/collect.ts";
import { MemoryStorage } from "../memory/memory-storage.ts";
import type { BlobMetadata, BlobStorage, GetBlobOptions } from "../storage.ts";
import { PROVIDER_CHECKS } from "./provider-checks.ts";
import { validateProvider } from "./validate-provider.ts";

const options = { nowMs: systemClock.nowMs, monotonicMs: systemClock.monotonicMs };

/** What a storage that breaks one promise fails. */
async function failuresOf(change: (inner: MemoryStorage) => Partial<BlobStorage>, quick: boolean): Promise<readonly string[]> {
  const inner = new MemoryStorage();
  const storage: BlobStorage = {
    description: "broken:",
    capabilities: inner.capabilities,
    get: (id, more) => inner.get(id, more),
    head: (id, signal) => inner.head(id, signal),
    put: (id, data, more) => inner.put(id, data, more),
    delete: (id, signal) => inner.delete(id, signal),
    list: (prefix, signal) => inner.list(prefix, signal),
    extendRetention: (id, retention, signal) => inner.extendRetention(id, retention, signal),
    close: () => inner.close(),
    ...change(inner),
  };
  const results = await collect(validateProvider(storage, { ...options, quick }));
  expect(results.length).toBe(PROVIDER_CHECKS.filter(({ slow }) => !quick || slow !== true).length);
  return results.filter(({ failure }) => failure !== undefined).map(({ check }) => check.name);
}

describe("validateProvider()", () => {
  it("passes a storage that keeps every promise, and leaves nothing behind", async () => {
    const inner = new MemoryStorage();
    expect((await collect(validateProvider(inner, options))).every(({ failure }) => failure === undefined)).toBe(true);
    expect(inner.ids()).toEqual([]);
  });

  it.each<[string, (inner: MemoryStorage) => Partial<BlobStorage>, readonly string[]]>([
    [
      "cuts listings off after a page",
      (inner) => ({
        async *list(prefix): AsyncIterable<BlobMetadata> {
          let seen = 0;
          for await (const blob of inner.list(prefix)) if (seen++ < 1000) yield blob;
        },
      }),
      ["long-listings"],
    ],
    ["takes no notice of a condition", (inner) => ({ put: (id, data) => inner.put(id, data) }), ["create-if-absent"]],
    ["has a clock of its own", (inner) => ({ head: async (id) => ({ ...(await inner.head(id)), timestampMs: 0 }) }), ["clock"]],
    ["gives whole blobs for ranges", (inner) => ({ get: (id) => inner.get(id) }), ["ranges"]],
    [
      "gives an empty blob for one that is not there",
      (inner) => ({
        get: async (id: string, more?: GetBlobOptions) => (inner.ids().includes(id) ? await inner.get(id, more) : new Uint8Array()),
      }),
      ["not-found"],
    ],
    [
      "shows a part of what is being written",
      (inner) => ({
        put: async (id, data, more) => {
          if (id === "replaced") {
            await inner.put(id, utf8("torn"));
            await new Promise((resolve) => setImmediate(resolve));
          }
          await inner.put(id, data, more);
        },
      }),
      ["atomic-replacement"],
    ],
    ["goes on listing what was deleted", (inner) => ({ delete: (id) => (id === "la-10" ? Promise.resolve() : inner.delete(id)) }), ["listing-after-write"]],
  ])("finds the storage out that %s", async (_what, change, wanted) => {
    expect(await failuresOf(change, !wanted.includes("long-listings"))).toEqual(wanted);
  });

  it("does not touch a place that holds something", async () => {
    const inner = new MemoryStorage();
    await inner.put("theirs", utf8("x"));
    await expect(collect(validateProvider(inner, options))).rejects.toMatchObject({ code: "BLOB_BAD_CONFIG" });
    expect(inner.ids()).toEqual(["theirs"]);
  });
});
