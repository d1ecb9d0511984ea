import { utf8 } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { blobStorageContract, objectStoreContract } from "../contract/index.ts";
import { RetryingStorage } from "../wrappers/retrying-storage.ts";
import { MemoryObjectStore } from "./memory-object-store.ts";
import { MemoryStorage } from "./memory-storage.ts";

blobStorageContract("memory storage", async () => ({ storage: new MemoryStorage(), dispose: () => Promise.resolve() }));
blobStorageContract("memory storage behind the retry wrapper", async () => ({
  storage: new RetryingStorage(new MemoryStorage(), { clock: new VirtualClock(), random: seededRandom(1) }),
  dispose: () => Promise.resolve(),
}));
objectStoreContract("memory object store", async () => ({ store: new MemoryObjectStore(), dispose: () => Promise.resolve() }));

describe("memory storage", () => {
  it("neither replaces nor deletes a locked blob before its time", async () => {
    const clock = new VirtualClock();
    const storage = new MemoryStorage(clock);
    await storage.put("a", utf8("1"), { retention: { mode: "COMPLIANCE", untilMs: clock.nowMs() + 1000 } });
    await expect(storage.delete("a")).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    await expect(storage.put("a", utf8("2"))).rejects.toMatchObject({ code: "BLOB_ACCESS_DENIED" });
    clock.jump(1001);
    await storage.delete("a");
    expect(storage.ids()).toEqual([]);
  });

  it("goes two ways from a fork", async () => {
    const storage = new MemoryStorage();
    await storage.put("a", utf8("1"));
    const fork = storage.fork();
    await storage.delete("a");
    expect(fork.ids()).toEqual(["a"]);
  });
});
