/** Contents in memory, for tests of what lies above them: ids are real keyed hashes, nothing is packed, compressed or encrypted. */
import { createHash } from "node:crypto";
import { DrayError } from "@drayage/base";
import type { ContentId, ContentInfo, ContentWriter, WriteContentOptions, WrittenContent } from "../content-port.ts";

export class MemoryContents implements ContentWriter {
  readonly #stored = new Map<ContentId, { data: Uint8Array; deleted: boolean }>();
  readonly repairedShards = 0;
  /** How often something was flushed. */
  flushes = 0;
  writes: { readonly id: ContentId; readonly length: number; readonly compressor: string | undefined }[] = [];

  async get(id: ContentId, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const stored = this.#stored.get(id);
    if (stored === undefined || stored.deleted) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read content "${id}": it is not there`);
    return stored.data;
  }

  info(id: ContentId): ContentInfo | undefined {
    const stored = this.#stored.get(id);
    return stored === undefined ? undefined : infoOf(id, stored.data, stored.deleted);
  }

  *list(options: { readonly prefix?: string; readonly includeDeleted?: boolean } = {}): IterableIterator<ContentInfo> {
    for (const [id, stored] of [...this.#stored].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (stored.deleted && options.includeDeleted !== true) continue;
      if (options.prefix !== undefined && !id.startsWith(options.prefix)) continue;
      yield infoOf(id, stored.data, stored.deleted);
    }
  }

  async refresh(): Promise<void> {}

  async write(data: Uint8Array, options: WriteContentOptions = {}, signal?: AbortSignal): Promise<WrittenContent> {
    signal?.throwIfAborted();
    const id = ((options.prefix ?? "") + createHash("sha256").update(data).digest("hex").slice(0, 32)) as ContentId;
    this.writes.push({ id, length: data.length, compressor: options.compressor });
    const isNew = this.#stored.get(id)?.deleted !== false;
    if (isNew) this.#stored.set(id, { data: data.slice(), deleted: false });
    return { id, isNew, packedLength: isNew ? data.length : 0 };
  }

  async delete(id: ContentId): Promise<void> {
    const stored = this.#stored.get(id);
    if (stored !== undefined) stored.deleted = true;
  }

  async flush(): Promise<void> {
    this.flushes++;
  }

  /** Takes a content away, as a damaged repository has lost it. */
  lose(id: ContentId): void {
    this.#stored.delete(id);
  }

  /** Puts other bytes under an id, as a writer gone wrong would have. */
  replace(id: ContentId, data: Uint8Array): void {
    this.#stored.set(id, { data, deleted: false });
  }
}

function infoOf(id: ContentId, data: Uint8Array, deleted: boolean): ContentInfo {
  return {
    id,
    packBlobId: "p00000000000000000000000000000000-s0",
    packOffset: 0,
    packedLength: data.length,
    originalLength: data.length,
    compressionId: 0,
    timestampSeconds: 0,
    deleted,
    formatVersion: 3,
  };
}
