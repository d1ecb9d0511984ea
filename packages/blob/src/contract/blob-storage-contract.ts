import { asBuffer, hasCode, systemClock, utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import type { BlobMetadata, BlobStorage } from "../storage.ts";
import { validateProvider } from "../validation/validate-provider.ts";
import { collect } from "./collect.ts";

export interface OpenedStorage {
  readonly storage: BlobStorage;
  /** Removes everything that was made; also closes. */
  dispose(): Promise<void>;
}

const ID = "p0123456789abcdef0123456789abcdef-s0123456789abcdef147";
const text = (bytes: Uint8Array): string => asBuffer(bytes).toString();

async function listed(storage: BlobStorage, prefix = ""): Promise<BlobMetadata[]> {
  return await collect(storage.list(prefix));
}

/** Registers the cases of `storage.ts`. `open` gives an empty storage each time. */
export function blobStorageContract(name: string, open: () => Promise<OpenedStorage>): void {
  describe(`${name} keeps the blob storage contract`, () => {
    it.each(CASES)("%s", async (_what, work) => {
      const opened = await open();
      try {
        await work(opened.storage);
      } finally {
        await opened.dispose();
      }
    });

    it("passes what users are offered to check a store with, and is left as it was", async () => {
      const opened = await open();
      try {
        const { nowMs, monotonicMs } = systemClock;
        const results = await collect(validateProvider(opened.storage, { nowMs, monotonicMs, quick: true }));
        const mayLack = opened.storage.capabilities.putIfAbsent ? [] : ["create-if-absent"];
        expect(results.filter(({ failure }) => failure !== undefined).map(({ check, failure }) => [check.name, failure])).toEqual(
          mayLack.map((name) => [name, "the store does not offer it"]),
        );
        expect(await listed(opened.storage)).toEqual([]);
      } finally {
        await opened.dispose();
      }
    });
  });
}

const CASES: readonly (readonly [what: string, work: (storage: BlobStorage) => Promise<void>])[] = [
  [
    "gives back what was put, whole",
    async (storage) => {
      await storage.put(ID, utf8("hello"));
      expect(text(await storage.get(ID))).toBe("hello");
    },
  ],

  [
    "puts a range into memory that is there, or says what is wrong with it as for any other",
    async (storage) => {
      const data = new Uint8Array(300_000).map((_, i) => (i * 7 + (i >> 8)) & 255);
      await storage.put(ID, data);
      for (const [offset, length] of [
        [0, 300_000],
        [1, 299_999],
        [100_000, 1],
        [7, 65_536],
      ] as const) {
        for (const into of [new Uint8Array(length), new Uint8Array(new SharedArrayBuffer(length + 3), 3)]) {
          const got = await storage.get(ID, { offset, length, into });
          expect(asBuffer(got).equals(data.subarray(offset, offset + length))).toBe(true);
        }
      }
      const into = new Uint8Array(10);
      await expect(storage.get(ID, { offset: 299_991, length: 10, into })).rejects.toMatchObject({ code: "BLOB_INVALID_RANGE" });
      await expect(storage.get(ID, { offset: 300_001, length: 10, into })).rejects.toMatchObject({ code: "BLOB_INVALID_RANGE" });
      await expect(storage.get("none", { offset: 0, length: 10, into })).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(storage.get(ID, { offset: 0, length: 10, into, signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    },
  ],

  [
    "stores bytes that lie in memory which threads share",
    async (storage) => {
      const shared = new Uint8Array(new SharedArrayBuffer(3 << 20)).fill(0x61);
      await storage.put(ID, [shared.subarray(1), utf8("z")]);
      const stored = await storage.get(ID);
      expect([stored.length, stored.at(-2), stored.at(-1)]).toEqual([3 << 20, 0x61, 0x7a]);
    },
  ],

  [
    "stores several parts as one blob, and an empty blob",
    async (storage) => {
      await storage.put(ID, [utf8("one "), new Uint8Array(), utf8("two")]);
      await storage.put("empty", []);
      expect(text(await storage.get(ID))).toBe("one two");
      expect((await storage.get("empty")).length).toBe(0);
      expect((await storage.head("empty")).length).toBe(0);
    },
  ],

  [
    "keeps a blob of several megabytes byte for byte",
    async (storage) => {
      const data = Uint8Array.from({ length: 5_000_003 }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
      await storage.put(ID, data);
      expect(asBuffer(await storage.get(ID)).equals(data)).toBe(true);
      expect(asBuffer(await storage.get(ID, { offset: 4_999_990 })).equals(data.subarray(4_999_990))).toBe(true);
    },
  ],

  [
    "stores large parts as one blob, byte for byte",
    async (storage) => {
      const parts = [2_000_000, 0, 1, 1_500_000].map((length, part) => Uint8Array.from({ length }, (_, index) => (index * 7 + part) & 0xff));
      await storage.put(ID, parts);
      expect(asBuffer(await storage.get(ID)).equals(Buffer.concat(parts))).toBe(true);
    },
  ],

  [
    "reads exactly the range that is asked for",
    async (storage) => {
      await storage.put(ID, utf8("0123456789"));
      expect(text(await storage.get(ID, { offset: 2, length: 3 }))).toBe("234");
      expect(text(await storage.get(ID, { offset: 7 }))).toBe("789");
      expect(text(await storage.get(ID, { length: 4 }))).toBe("0123");
      expect(text(await storage.get(ID, { offset: 9, length: 1 }))).toBe("9");
      expect(text(await storage.get(ID, { offset: 3, length: 0 }))).toBe("");
      expect(text(await storage.get(ID, { offset: 10 }))).toBe("");
    },
  ],

  [
    "refuses a range that is not inside the blob",
    async (storage) => {
      await storage.put(ID, utf8("0123456789"));
      for (const range of [{ offset: 8, length: 3 }, { offset: 10, length: 1 }, { offset: 11 }, { offset: 100, length: 0 }, { length: 11 }]) {
        await expect(storage.get(ID, range), JSON.stringify(range)).rejects.toMatchObject({ code: "BLOB_INVALID_RANGE" });
      }
    },
  ],

  [
    "says of a blob that is not there that it is not there",
    async (storage) => {
      await expect(storage.get(ID)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(storage.get(ID, { offset: 1, length: 2 })).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(storage.get(ID, { length: 0 })).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      await expect(storage.head(ID)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    },
  ],

  [
    "replaces a blob whole, also by a shorter one",
    async (storage) => {
      await storage.put(ID, utf8("a long first version"));
      await storage.put(ID, utf8("short"));
      expect(text(await storage.get(ID))).toBe("short");
      expect((await storage.head(ID)).length).toBe(5);
    },
  ],

  [
    "shows a reader the old blob or the new one, never a part, while it is replaced",
    async (storage) => {
      const versions = [utf8("a".repeat(300_000)), utf8("b".repeat(200_000))] as const;
      await storage.put(ID, versions[0]);
      let writing = true;
      const writer = (async () => {
        for (let round = 0; round < 6; round++) await storage.put(ID, versions[(round + 1) % 2] ?? versions[0]);
        writing = false;
      })();
      while (writing) {
        const seen = text(await storage.get(ID));
        expect([text(versions[0]), text(versions[1])]).toContain(seen);
      }
      await writer;
    },
  ],

  [
    "deletes, and counts a blob that is not there as deleted",
    async (storage) => {
      await storage.put(ID, utf8("x"));
      await storage.delete(ID);
      await storage.delete(ID);
      await expect(storage.get(ID)).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
      expect(await listed(storage)).toEqual([]);
    },
  ],

  [
    "lists what begins with a prefix, in byte order, with lengths and times",
    async (storage) => {
      const ids = [
        "kopia.repository",
        "kopia.blobcfg",
        ID,
        "p1",
        "pzz",
        "q".repeat(33),
        "q".repeat(40),
        "xe1",
        "xe12",
        `xn0_${"a".repeat(32)}-s1-c1`,
        `xn10_${"a".repeat(32)}-s1-c1`,
        "_log_20260101000000_abcd_1_2_3_ffff",
        "UPPER",
      ];
      for (const id of ids) await storage.put(id, utf8(id));
      const all = await listed(storage);
      expect(all.map(({ id }) => id)).toEqual([...ids].sort());
      for (const entry of all) {
        expect(entry.length).toBe(entry.id.length);
        expect(entry.timestampMs).toBe((await storage.head(entry.id)).timestampMs);
        expect(entry.timestampMs).toBeGreaterThan(0);
      }
      for (const prefix of ["p", "p0", "xe1", "xn1", "qqqqq", "kopia.", "_", "none"]) {
        expect(
          (await listed(storage, prefix)).map(({ id }) => id),
          prefix,
        ).toEqual(ids.filter((id) => id.startsWith(prefix)).sort());
      }
    },
  ],

  [
    "may be stopped in the middle of a listing",
    async (storage) => {
      for (const id of ["a", "b", "c"]) await storage.put(id, utf8(id));
      for await (const { id } of storage.list("")) {
        expect(id).toBe("a");
        break;
      }
      expect((await listed(storage)).length).toBe(3);
    },
  ],

  [
    "serves many calls at once",
    async (storage) => {
      const ids = Array.from({ length: 40 }, (_, index) => `p${index.toString(16).padStart(32, "0")}-s1`);
      await Promise.all(ids.map((id) => storage.put(id, utf8(id))));
      const read = await Promise.all(ids.map(async (id) => text(await storage.get(id))));
      expect(read).toEqual(ids);
      expect((await listed(storage)).map(({ id }) => id)).toEqual(ids);
    },
  ],

  [
    "does not keep the caller's buffer, nor give out its own",
    async (storage) => {
      const data = utf8("original");
      await storage.put(ID, data);
      data.fill(0);
      (await storage.get(ID)).fill(0);
      expect(text(await storage.get(ID))).toBe("original");
    },
  ],

  [
    "creates only where nothing is, when asked to and able to",
    async (storage) => {
      if (!storage.capabilities.putIfAbsent) {
        await expect(storage.put(ID, utf8("x"), { ifAbsent: true })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
        return;
      }
      const outcomes = await Promise.allSettled(["a", "b", "c", "d"].map((letter) => storage.put(ID, utf8(letter), { ifAbsent: true })));
      const winners = outcomes.flatMap((outcome, index) => (outcome.status === "fulfilled" ? [index] : []));
      expect(winners.length).toBe(1);
      for (const outcome of outcomes) if (outcome.status === "rejected") expect(hasCode(outcome.reason, "BLOB_ALREADY_EXISTS", "BLOB_UNAVAILABLE")).toBe(true);
      expect(text(await storage.get(ID))).toBe(["a", "b", "c", "d"][winners[0] ?? -1]);
      await expect(storage.put(ID, utf8("z"), { ifAbsent: true })).rejects.toMatchObject({ code: "BLOB_ALREADY_EXISTS" });
      expect((await listed(storage)).map(({ id }) => id)).toEqual([ID]);
    },
  ],

  [
    "locks blobs, or says that it cannot",
    async (storage) => {
      const retention = { mode: "GOVERNANCE", untilMs: Date.UTC(2999, 0, 1) } as const;
      if (storage.capabilities.retention) return;
      await expect(storage.put(ID, utf8("x"), { retention })).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
      await expect(storage.extendRetention(ID, retention)).rejects.toMatchObject({ code: "NOT_SUPPORTED" });
    },
  ],

  [
    "throws the reason of a signal that is aborted",
    async (storage) => {
      await storage.put(ID, utf8("x"));
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      await expect(storage.get(ID, { signal })).rejects.toBe(reason);
      await expect(storage.head(ID, signal)).rejects.toBe(reason);
      await expect(storage.put("other", utf8("y"), { signal })).rejects.toBe(reason);
      await expect(storage.delete(ID, signal)).rejects.toBe(reason);
      await expect(collect(storage.list("", signal))).rejects.toBe(reason);
      expect((await listed(storage)).map(({ id }) => id)).toEqual([ID]);
    },
  ],

  [
    "refuses what is not a blob's name",
    async (storage) => {
      for (const id of ["", "a/b", "..", "../x", "a\0b", "a b"]) {
        await expect(storage.put(id, utf8("x")), JSON.stringify(id)).rejects.toMatchObject({ code: "INVARIANT" });
        await expect(storage.get(id), JSON.stringify(id)).rejects.toMatchObject({ code: "INVARIANT" });
      }
    },
  ],
];
