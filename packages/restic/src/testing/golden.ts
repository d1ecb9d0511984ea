/** The golden repositories of restic 0.18.0, in memory. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectStore } from "@drayage/blob";
import { MemoryObjectStore } from "@drayage/blob/testing";
import { openResticRepository } from "../open-repository.ts";
import { ResticRepository } from "../repository.ts";

/** As test/fixtures/restic-0.18.0/make.ts makes them. */
export type GoldenName = "v1" | "v2" | "v2-off" | "v2-max" | "upgraded" | "keys" | "pruned" | "locked" | "empty";

/** What was in a tree, by path. */
export interface GoldenFact {
  readonly type: "file" | "directory" | "symlink" | "other";
  readonly mode: string;
  readonly owner: string;
  readonly mtimeNs: string;
  readonly size: number;
  /** SHA-256 of a file, target of a link. */
  readonly content: string;
  readonly linkOf: string;
  readonly xattrs: string;
}

export interface Golden {
  readonly passwords: readonly string[];
  readonly snapshots: readonly Readonly<Record<string, GoldenFact>>[];
  readonly files: Readonly<Record<string, string>>;
}

const FOLDER = join(import.meta.dirname, "../../../../test/fixtures/restic-0.18.0");

export function golden(name: GoldenName): Golden {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as Golden;
}

/** Its files in a store of their own, to be damaged at will. */
export async function goldenStore(name: GoldenName): Promise<MemoryObjectStore> {
  const store = new MemoryObjectStore();
  for (const [key, base64] of Object.entries(golden(name).files)) await store.put(key, Buffer.from(base64, "base64"));
  return store;
}

/** Half a second of work each: once for a test file. */
const opened = new Map<GoldenName, Promise<ResticRepository>>();

/** Opens one, or a store with changed files of it, with the key that the first opening found. */
export async function openGolden(name: GoldenName, store?: ObjectStore): Promise<ResticRepository> {
  const first = opened.get(name) ?? goldenStore(name).then((whole) => openResticRepository(whole, { password: golden(name).passwords[0] ?? "" }));
  opened.set(name, first);
  const { layout, config, keyId, opener, decoderOptions } = await first;
  return new ResticRepository({ store: store ?? (await goldenStore(name)), layout, config, keyId, opener, key: decoderOptions.key.slice() });
}
