/**
 * A versioned bucket as it was at a moment: of each key the version that was the newest then, and none where that was a deletion. Read-only. What an attacker or an accident overwrote or
 * deleted since is read from here, as long as the bucket keeps (or has locked) the old versions.
 *
 * Times of versions are the store's, which some answers give in whole seconds only: of what happened within the same second as the moment, all of it is seen.
 */
import type * as Sdk from "@aws-sdk/client-s3";
import { DrayError } from "@drayage/base";
import { blobNotFound } from "../blob-errors.ts";
import { checkBlobId, isBlobId } from "../blob-id.ts";
import { httpRange, rangedGet } from "../ranged-get.ts";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobStorage, GetBlobOptions } from "../storage.ts";
import type { S3Connection } from "./s3-connection.ts";
import { ownerSetting, readSettings } from "./write-settings.ts";

interface Version extends BlobMetadata {
  readonly versionId: string;
}

export class S3PointInTimeStorage implements BlobStorage {
  readonly description: string;
  readonly capabilities: BlobCapabilities = { putIfAbsent: false, retention: false };
  readonly #s3: S3Connection;
  readonly #momentMs: number;

  constructor(s3: S3Connection, momentMs: number) {
    this.#s3 = s3;
    this.#momentMs = momentMs;
    this.description = `${s3.place} at ${new Date(momentMs).toISOString()}`;
  }

  async get(id: BlobId, options: GetBlobOptions = {}): Promise<Uint8Array> {
    checkBlobId(id);
    const { signal } = options;
    const action = `Cannot read blob "${id}" of ${this.description}`;
    const { versionId: VersionId, length } = await this.#find(id, signal);
    return await rangedGet(id, options, {
      place: this.description,
      fetch: async (range) => {
        const Range = range === undefined ? {} : { Range: httpRange(range) };
        const target = { Bucket: this.#s3.bucket, Key: this.#s3.key(id), VersionId };
        const response = await this.#s3.call(action, signal, (client, abort) =>
          client.send(new this.#s3.sdk.GetObjectCommand({ ...target, ...readSettings(this.#s3.options), ...Range }), abort),
        );
        return await this.#s3.body(response, action, signal);
      },
      length: () => Promise.resolve(length),
    });
  }

  async head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    checkBlobId(id);
    const { length, timestampMs } = await this.#find(id, signal);
    return { id, length, timestampMs };
  }

  put(id: BlobId): Promise<void> {
    return this.#refuse("store", id);
  }

  delete(id: BlobId): Promise<void> {
    return this.#refuse("delete", id);
  }

  extendRetention(id: BlobId): Promise<void> {
    return this.#refuse("lock", id);
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    for await (const { id, length, timestampMs } of this.#versions(prefix, signal)) yield { id, length, timestampMs };
  }

  async close(): Promise<void> {
    await this.#s3.close();
  }

  async #find(id: BlobId, signal: AbortSignal | undefined): Promise<Version> {
    for await (const version of this.#versions(id, signal)) {
      if (version.id === id) return version;
      // Byte order: what begins with the id comes after it.
      break;
    }
    throw blobNotFound(this.description, id);
  }

  /** Listings of versions go by key, then from new to old; one key may lie on several pages. */
  async *#versions(prefix: string, signal: AbortSignal | undefined): AsyncIterable<Version> {
    const base = this.#s3.options.prefix ?? "";
    let decided: string | undefined;
    let marker: Pick<Sdk.ListObjectVersionsCommandInput, "KeyMarker" | "VersionIdMarker"> | undefined;
    do {
      const page: Sdk.ListObjectVersionsCommandOutput = await this.#s3.call(`Cannot list ${this.description}`, signal, (client, abort) => {
        const wanted = { Bucket: this.#s3.bucket, Prefix: base + prefix, Delimiter: "/", ...ownerSetting(this.#s3.options), ...marker };
        return client.send(new this.#s3.sdk.ListObjectVersionsCommand(wanted), abort);
      });
      for (const { key, timestampMs, version } of inOrder(page)) {
        if (key === decided || Math.floor(timestampMs / 1000) * 1000 > this.#momentMs) continue;
        decided = key;
        const id = key.slice(base.length);
        if (version !== undefined && isBlobId(id)) yield { id, length: version.Size ?? 0, timestampMs, versionId: version.VersionId ?? "null" };
      }
      const { NextKeyMarker: KeyMarker, NextVersionIdMarker: VersionIdMarker } = page;
      marker = page.IsTruncated !== true || KeyMarker === undefined ? undefined : { KeyMarker, ...(VersionIdMarker === undefined ? {} : { VersionIdMarker }) };
    } while (marker !== undefined);
  }

  #refuse(verb: string, id: BlobId): Promise<never> {
    return Promise.reject(new DrayError("NOT_SUPPORTED", `Cannot ${verb} blob "${id}" of ${this.description}: the past is only read`));
  }
}

/** Versions and deletions of a page, which come apart, in one order: by key, then from new to old. */
function inOrder(
  page: Sdk.ListObjectVersionsCommandOutput,
): readonly { readonly key: string; readonly timestampMs: number; readonly version: Sdk.ObjectVersion | undefined }[] {
  const versions = (page.Versions ?? []).map((version) => ({
    key: version.Key ?? "",
    timestampMs: version.LastModified?.getTime() ?? 0,
    latest: version.IsLatest === true,
    version,
  }));
  const deletions = (page.DeleteMarkers ?? []).map((mark) => ({
    ...{ key: mark.Key ?? "", timestampMs: mark.LastModified?.getTime() ?? 0, latest: mark.IsLatest === true },
    version: undefined,
  }));
  return [...versions, ...deletions].sort((a, b) =>
    a.key === b.key ? b.timestampMs - a.timestampMs || Number(b.latest) - Number(a.latest) : a.key < b.key ? -1 : 1,
  );
}
