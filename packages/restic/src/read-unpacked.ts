/** Reads the files that stand alone: index, snapshots, locks. */
import { hash } from "node:crypto";
import type { ObjectStore } from "@drayage/blob";
import { corrupt } from "./format/json.ts";
import type { Opener } from "./format/sealed.ts";
import { decodeUnpacked } from "./format/unpacked-file.ts";
import type { FileKind, Layout } from "./layout.ts";

/** Its JSON. Throws BLOB_NOT_FOUND, and REPO_CORRUPT for one that is not what its name says, or does not open. */
export async function readUnpacked(
  { store, layout, opener }: { readonly store: ObjectStore; readonly layout: Layout; readonly opener: Opener },
  kind: Exclude<FileKind, "keys">,
  id: string,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const key = layout.key(kind, id);
  const what = `"${key}" of ${store.description}`;
  const bytes = await store.get(key, signal);
  if (hash("sha256", bytes, "hex") !== id) throw corrupt(what, "it is damaged: its bytes are not those that its name says");
  const plaintext = opener.open(bytes);
  if (plaintext === undefined) throw corrupt(what, "its authentication does not match: it was not written with this repository's key");
  return decodeUnpacked(plaintext, what);
}
