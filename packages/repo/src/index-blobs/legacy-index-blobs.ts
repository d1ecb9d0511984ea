/**
 * Index blobs of repositories without epochs (kopia-format.md 6.6).
 *
 *   n<hash>[-<session>]   index
 *   m<hash>               compaction log, JSON: inputMetadata and outputMetadata, lists of {id, length, timestamp}
 *
 * The inputs of a compaction whose outputs are all there no longer count; until they are deleted both stand side by side.
 */
import { mapLimit } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { type ContentCodec, invariantReadBack } from "../content/content-codec.ts";
import { listBlobs } from "../epoch/epoch-state.ts";
import { JsonReader, parseJsonObject } from "../format/go-json.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import type { ActiveIndexBlobs, IndexBlobs } from "./index-blobs.ts";

export const INDEX_PREFIX = "n";
export const COMPACTION_LOG_PREFIX = "m";
const LOGS_AT_ONCE = 5;
/** Written when a format is upgraded, to stop old clients; its body is a sentence. */
const POISON_PREFIX = "n00000000000000000000000000000000-repository_unreadable_by_this_kopia_version";
export const POISON_BLOB_ID = `${POISON_PREFIX}_upgrade_required`;

export class LegacyIndexBlobs implements IndexBlobs {
  readonly #storage: BlobStorage;
  readonly #format: RepositoryFormat;
  readonly #codec: ContentCodec;

  constructor(storage: BlobStorage, format: RepositoryFormat, codec: ContentCodec) {
    this.#storage = storage;
    this.#format = format;
    this.#codec = codec;
  }

  async active(signal?: AbortSignal): Promise<ActiveIndexBlobs> {
    // The logs first: an index that a later log replaces is then still counted, instead of neither it nor its replacement.
    const logs = await listBlobs(this.#storage, COMPACTION_LOG_PREFIX, signal);
    const indexes = await listBlobs(this.#storage, INDEX_PREFIX, signal);
    const active = new Map<string, BlobMetadata>();
    for (const blob of indexes) if (!blob.id.startsWith(POISON_PREFIX)) active.set(blob.id, blob);
    const compactions = await mapLimit(logs, LOGS_AT_ONCE, ({ id }) => this.compaction(id, signal));
    for (const { inputs, outputs } of compactions) {
      if (outputs.every((id) => indexes.some((blob) => blob.id === id))) for (const id of inputs) active.delete(id);
    }
    return { blobs: [...active.values()], deletionWatermark: 0 };
  }

  async write(indexes: readonly Uint8Array[], sessionId: string, signal?: AbortSignal): Promise<readonly string[]> {
    const names: string[] = [];
    for (const plain of indexes) {
      const { id, data } = this.#codec.sealBlob(INDEX_PREFIX, plain, sessionId);
      invariantReadBack(Buffer.from(this.#codec.openBlob(id, data)).equals(plain), `index "${id}"`);
      await this.#storage.put(id, data, this.#format.putOptionsOf(id, signal));
      names.push(id);
    }
    return names;
  }

  /** What a compaction log says: the blobs that it replaced, and by which. Throws BLOB_NOT_FOUND, REPO_CORRUPT. */
  async compaction(id: string, signal?: AbortSignal): Promise<{ readonly inputs: string[]; readonly outputs: string[] }> {
    const data = await this.#storage.get(id, signal === undefined ? {} : { signal });
    const document = `compaction log "${id}"`;
    const json = new JsonReader(parseJsonObject(this.#codec.openBlob(id, data), document), document);
    const ids = (key: string): string[] => json.list(key).map((blob) => blob.text("id"));
    return { inputs: ids("inputMetadata"), outputs: ids("outputMetadata") };
  }
}
