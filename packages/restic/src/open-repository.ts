/** Opens a repository: finds its layout, the key file that the password is for, and reads its configuration. */
import { hash } from "node:crypto";
import { DrayError, hasCode } from "@drayage/base";
import type { ObjectStore } from "@drayage/blob";
import { createKernels } from "@drayage/kernels";
import { decodeConfig } from "./format/config-file.ts";
import { corrupt } from "./format/json.ts";
import { decodeKeyFile, openKeyFile } from "./format/key-file.ts";
import { createOpener, type SealKernels } from "./format/sealed.ts";
import { CONFIG_KEY, detectLayout, type Layout, listFiles } from "./layout.ts";
import { ResticRepository } from "./repository.ts";

export interface OpenResticOptions {
  readonly password: string;
  readonly signal?: AbortSignal;
  readonly kernels?: SealKernels;
}

/** Each key file costs half a second of work and 60 MB; restic tries as many. */
const KEYS_TRIED_MAX = 20;

/**
 * Opens a repository for reading: nothing is written, not even a lock. The store is used until the repository is closed, and stays the caller's.
 * Throws REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_UNSUPPORTED, REPO_CORRUPT, BLOB_*.
 */
export async function openResticRepository(store: ObjectStore, options: OpenResticOptions): Promise<ResticRepository> {
  const { signal } = options;
  const place = store.description;
  const sealedConfig = await store.get(CONFIG_KEY, signal).catch((error: unknown) => {
    if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
    throw new DrayError("REPO_NOT_FOUND", `Cannot open restic repository "${place}": there is no file "${CONFIG_KEY}"`, {
      cause: error,
      hint: "Check bucket and path: the repository's own folder is wanted, the one that holds config, data, index, keys and snapshots.",
    });
  });
  const layout = await detectLayout(store, signal);
  const kernels = options.kernels ?? (await createKernels());
  const { key, keyId } = await findKey(store, layout, options.password, kernels, signal);
  const opener = createOpener(key, kernels);
  const what = `"${CONFIG_KEY}" of ${place}`;
  const plaintext = opener.open(sealedConfig);
  if (plaintext === undefined) throw corrupt(what, "it is damaged: its authentication does not match");
  return new ResticRepository({ store, layout, config: decodeConfig(plaintext, what), key, keyId, opener });
}

async function findKey(
  store: ObjectStore,
  layout: Layout,
  password: string,
  kernels: SealKernels,
  signal: AbortSignal | undefined,
): Promise<{ readonly key: Uint8Array; readonly keyId: string }> {
  let tried = 0;
  let damaged: unknown;
  for await (const { id } of listFiles(store, layout, "keys", signal)) {
    const what = `key "${id}" of ${store.description}`;
    if (tried === KEYS_TRIED_MAX) break;
    try {
      const bytes = await store.get(layout.key("keys", id), signal);
      if (hash("sha256", bytes, "hex") !== id) throw corrupt(what, "its bytes are not those that its name says");
      const file = decodeKeyFile(bytes, what);
      tried++;
      signal?.throwIfAborted();
      const key = await openKeyFile(file, password, kernels, what);
      if (key !== undefined) return { key, keyId: id };
    } catch (error) {
      // The password may be that of another one.
      if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND")) throw error;
      damaged ??= error;
    }
  }
  if (tried === 0 && damaged !== undefined) throw damaged;
  if (tried === 0) throw corrupt(store.description, "it has no key file");
  throw new DrayError("REPO_WRONG_PASSWORD", `Cannot open restic repository "${store.description}": the password is that of none of its ${tried} keys`, {
    ...(damaged === undefined ? {} : { cause: damaged }),
    hint: `Give the password that RESTIC_PASSWORD held when the repository was written.${damaged === undefined ? "" : " One of the key files is damaged: it may be that one's."}`,
  });
}
