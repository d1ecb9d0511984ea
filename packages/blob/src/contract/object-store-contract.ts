import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asBuffer, compareUtf8, utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import type { ObjectStore } from "../object-store.ts";
import { collect } from "./collect.ts";

export interface OpenedObjectStore {
  readonly store: ObjectStore;
  /** Removes everything that was made; also closes. */
  dispose(): Promise<void>;
}

const text = (bytes: Uint8Array): string => asBuffer(bytes).toString();
const keysBelow = async (store: ObjectStore, prefix = ""): Promise<string[]> => (await collect(store.listAll(prefix))).map(({ key }) => key);

/** What a store cannot do by its nature, and how a test reaches it. */
export interface ObjectStoreTraits {
  /** Azure takes a backslash in a name for a slash. */
  readonly backslashIsSlash?: boolean;
  /** Fetches a signed address; the platform's own where the store's certificate is known to it. */
  readonly fetch?: (url: string) => Promise<{ readonly status: number; text(): Promise<string> }>;
}

/** Registers the cases of `object-store.ts`. `open` gives an empty store each time. */
export function objectStoreContract(name: string, open: () => Promise<OpenedObjectStore>, traits: ObjectStoreTraits = {}): void {
  describe(`${name} keeps the object store contract`, () => {
    it.each(CASES)("%s", async (_what, work) => {
      const opened = await open();
      try {
        await work(opened.store, traits);
      } finally {
        await opened.dispose();
      }
    });
  });
}

const CASES: readonly (readonly [what: string, work: (store: ObjectStore, traits: ObjectStoreTraits) => Promise<void>])[] = [
  [
    "can be used, and is empty",
    async (store) => {
      await store.check();
      expect(await keysBelow(store)).toEqual([]);
      expect(await store.listLevel("")).toEqual({ objects: [], prefixes: [] });
      expect(await store.listLevel("backups/")).toEqual({ objects: [], prefixes: [] });
    },
  ],

  [
    "gives back what was put, whole and as a stream",
    async (store) => {
      await store.put("backups/a/velero-backup.json", utf8("{}"));
      expect(text(await store.get("backups/a/velero-backup.json"))).toBe("{}");
      const chunks = await collect(await store.getStream("backups/a/velero-backup.json"));
      expect(text(Buffer.concat(chunks))).toBe("{}");
      expect(await store.head("backups/a/velero-backup.json")).toMatchObject({ key: "backups/a/velero-backup.json", length: 2 });
    },
  ],

  [
    "gives a stretch of an object, and says when there is not so much",
    async (store) => {
      await store.put("data/ab", utf8("0123456789"));
      expect(text(await store.getRange("data/ab", { offset: 0, length: 10 }))).toBe("0123456789");
      expect(text(await store.getRange("data/ab", { offset: 3, length: 4 }))).toBe("3456");
      for (const range of [
        { offset: 3, length: 8 },
        { offset: 10, length: 1 },
        { offset: 100, length: 1 },
      ])
        await expect(store.getRange("data/ab", range)).rejects.toMatchObject({ code: "BLOB_INVALID_RANGE" });
      await expect(store.getRange("data/ac", { offset: 0, length: 1 })).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
    },
  ],

  [
    "stores a file of the disk, small, empty and larger than one request takes",
    async (store) => {
      const folder = await mkdtemp(join(tmpdir(), "drayage-contract-"));
      try {
        for (const size of [0, 10, 17_000_001]) {
          const data = Buffer.alloc(size, "0123456789abcdef\n");
          await writeFile(join(folder, "file"), data);
          await store.putFile("deep/er/file", join(folder, "file"));
          expect(asBuffer(await store.get("deep/er/file")).equals(data)).toBe(true);
        }
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  ],

  [
    "stores nothing of a file that is not there",
    async (store) => {
      await expect(store.putFile("a", "/nonexistent/file")).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
      expect(await keysBelow(store)).toEqual([]);
    },
  ],

  [
    "says of a key that is not there that it is not there",
    async (store) => {
      await store.put("a/b", utf8("x"));
      for (const key of ["none", "a", "a/b/c", "a/c"]) {
        await expect(store.get(key), key).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
        await expect(store.head(key), key).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
        await expect(store.getStream(key), key).rejects.toMatchObject({ code: "BLOB_NOT_FOUND" });
        await store.delete(key);
      }
      expect(await keysBelow(store)).toEqual(["a/b"]);
    },
  ],

  [
    "lists one level: objects, and prefixes with their slash",
    async (store) => {
      const keys = [
        "top",
        "backups/one/velero-backup.json",
        "backups/one/one.tar.gz",
        "backups/two/velero-backup.json",
        "backups-old",
        "restores/r/restore-r-logs.gz",
      ];
      for (const key of keys) await store.put(key, utf8(key));
      const root = await store.listLevel("");
      expect(root.objects.map(({ key }) => key)).toEqual(["backups-old", "top"]);
      expect(root.prefixes).toEqual(["backups/", "restores/"]);
      expect((await store.listLevel("backups/")).prefixes).toEqual(["backups/one/", "backups/two/"]);
      const one = await store.listLevel("backups/one/");
      expect(one.prefixes).toEqual([]);
      expect(one.objects.map(({ key, length }) => [key, length])).toEqual([
        ["backups/one/one.tar.gz", 22],
        ["backups/one/velero-backup.json", 30],
      ]);
      expect(await keysBelow(store)).toEqual([...keys].sort(compareUtf8));
      expect(await keysBelow(store, "backups/two/")).toEqual(["backups/two/velero-backup.json"]);
    },
  ],

  [
    "has no prefix left when its last object is deleted",
    async (store) => {
      await store.put("backups/gone/a", utf8("x"));
      await store.put("backups/gone/b", utf8("x"));
      await store.delete("backups/gone/a");
      await store.delete("backups/gone/b");
      expect(await store.listLevel("")).toEqual({ objects: [], prefixes: [] });
    },
  ],

  [
    "takes keys with spaces, signs and other alphabets",
    async (store, { backslashIsSlash = false }) => {
      const keys = [
        "a b/c+d",
        "per%20cent",
        "q?x=1&y",
        "ünï/日本",
        "eq=al;semi,colon:'quote'",
        "tilde~(paren)*!",
        "hash#tag",
        ...(backslashIsSlash ? [] : ["back\\slash"]),
        'angle<b>"&',
      ];
      for (const key of keys) await store.put(key, utf8(key));
      for (const key of keys) expect(text(await store.get(key))).toBe(key);
      expect(await keysBelow(store)).toEqual([...keys].sort(compareUtf8));
      const { objects, prefixes } = await store.listLevel("");
      expect([...objects.map(({ key }) => key), ...prefixes].sort(compareUtf8)).toEqual(
        [...new Set(keys.map((key) => (key.includes("/") ? key.slice(0, key.indexOf("/") + 1) : key)))].sort(compareUtf8),
      );
      for (const key of keys) await store.delete(key);
      expect(await keysBelow(store)).toEqual([]);
    },
  ],

  [
    "signs an address under which the object can be fetched",
    async (store, { fetch: fetched = fetch }) => {
      await store.put("backups/a/a-logs.gz", utf8("the log"));
      const url = await store.signedUrl("backups/a/a-logs.gz", 600_000);
      if (!/^https?:/.test(url)) return;
      const response = await fetched(url);
      expect(response.status).toBe(200);
      expect(await response.text()).toBe("the log");
    },
  ],

  [
    "throws the reason of a signal that is aborted",
    async (store) => {
      await store.put("a", utf8("x"));
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      const attempts = [
        () => store.get("a", signal),
        () => store.head("a", signal),
        () => store.put("b", utf8("y"), signal),
        () => store.delete("a", signal),
        () => store.listLevel("", signal),
      ];
      for (const attempt of attempts) await expect((async () => await attempt())()).rejects.toBe(reason);
      expect(await keysBelow(store)).toEqual(["a"]);
    },
  ],
];
