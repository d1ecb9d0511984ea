/**
 * Where a repository keeps its files (restic: internal/backend/layout).
 *
 *   config   keys/<id>   snapshots/<id>   index/<id>   locks/<id>   data/<first two digits>/<id>
 *
 * Buckets written by restic before 0.1 have singular names and packs directly under data/. An id is the SHA-256 of the file's bytes, in lower-case hexadecimal.
 */
import type { ObjectStore, StoredObject } from "@drayage/blob";
import { isId } from "./format/json.ts";

export type FileKind = "keys" | "snapshots" | "index" | "locks";

export interface Layout {
  readonly isOld: boolean;
  key(kind: FileKind, id: string): string;
  prefix(kind: FileKind): string;
  pack(id: string): string;
}

export const CONFIG_KEY = "config";
const DATA_PREFIX = "data/";

const today: Layout = {
  isOld: false,
  key: (kind, id) => `${kind}/${id}`,
  prefix: (kind) => `${kind}/`,
  pack: (id) => `${DATA_PREFIX}${id.slice(0, 2)}/${id}`,
};
const OLD_NAMES = { keys: "key", snapshots: "snapshot", index: "index", locks: "lock" } as const satisfies Record<FileKind, string>;
const old: Layout = {
  isOld: true,
  key: (kind, id) => `${OLD_NAMES[kind]}/${id}`,
  prefix: (kind) => `${OLD_NAMES[kind]}/`,
  pack: (id) => `${DATA_PREFIX}${id}`,
};

/** The layout of a repository: the old one when there are keys in its place and none in today's. */
export async function detectLayout(store: ObjectStore, signal?: AbortSignal): Promise<Layout> {
  for (const layout of [today, old]) for await (const { id } of listFiles(store, layout, "keys", signal)) if (id !== "") return layout;
  return today;
}

/** The files of a kind. Names that are no ids are not restic's and are passed over. */
export async function* listFiles(store: ObjectStore, layout: Layout, kind: FileKind, signal?: AbortSignal): AsyncGenerator<{ id: string; length: number }> {
  yield* identified(store.listAll(layout.prefix(kind), signal));
}

/** The packs that are stored, with their lengths. */
export async function* listPacks(store: ObjectStore, signal?: AbortSignal): AsyncGenerator<{ id: string; length: number }> {
  yield* identified(store.listAll(DATA_PREFIX, signal));
}

async function* identified(objects: AsyncIterable<StoredObject>): AsyncGenerator<{ id: string; length: number }> {
  for await (const { key, length } of objects) {
    const id = key.slice(key.lastIndexOf("/") + 1);
    if (isId(id)) yield { id, length };
  }
}
