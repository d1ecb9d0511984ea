/**
 * Contents of an open repository: hashed, deduplicated, compressed, encrypted, packed, indexed, and back.
 *
 *   write ─ hash ─ known? ─ compress ─ seal into the open pack ─ read back ─► WriteSession ─► packs
 *   flush ─ packs stored ─ their entries merged ─ index blobs by the epoch protocol ─► CommittedIndex
 *   get   ─ entry in a session or committed ─ memory, cache or range of a pack ─ open
 *
 * Memory: packs in flight (`packBytesInFlightMax`) + two open packs + the read cache + the index, 2.5 bytes a content (committed-index.ts), + entries of the open packs.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Clock, DrayError, hasCode, invariant, type Logger, nullLogger, type RandomSource, Semaphore, systemRandom } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { createKernels, type Kernels } from "@drayage/kernels";
import type {
  ContentId,
  ContentInfo,
  ContentWriter,
  PackedContents,
  ReadContentOptions,
  ReadyContents,
  WriteContentOptions,
  WrittenContent,
} from "../content-port.ts";
import { EpochIndexBlobs } from "../epoch/epoch-index-blobs.ts";
import type { DeriveFormatKey } from "../format/key-hierarchy.ts";
import { openRepositoryFormat, type RepositoryFormat } from "../format/repository-format.ts";
import type { IndexBlobs } from "../index-blobs/index-blobs.ts";
import { encodeShards } from "../index-blobs/index-codec.ts";
import type { IndexLoader } from "../index-blobs/index-loader.ts";
import { LegacyIndexBlobs } from "../index-blobs/legacy-index-blobs.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";
import { type IndexEntry, type PackIndex, prevails } from "../index-blobs/pack-index.ts";
import type { SharedIndex } from "../index-blobs/shared-index.ts";
import { CommittedIndex, type IndexCachePlace } from "./committed-index.ts";
import { type ContentCodec, createContentCodec } from "./content-codec.ts";
import { hashOf, idOfKey, isContentPrefix, keyOf, makeContentId, prefixByte } from "./content-id.ts";
import { ContentLanes } from "./content-lanes.ts";
import { type OpenPack, PackBuffers } from "./open-pack.ts";
import type { PackEntries } from "./pack-entries.ts";
import { PREAMBLE_BYTES } from "./pack-layout.ts";
import { PackReader } from "./pack-reader.ts";
import { PACK_COLUMNS, type SealedPack } from "./sealing-lane.ts";
import { newSessionId } from "./session-id.ts";
import { packHead, type SessionDependencies, WriteSession } from "./write-session.ts";

const MIB = 1 << 20;
/** Whether a content exists may be decided by a view this old; maintenance counts on it. */
const INDEX_AGE_MAX_MS = 15 * 60_000;
/** What is written becomes part of the repository at least this often while writing goes on. */
const FLUSH_AFTER_MS = 10 * 60_000;
/** Two packs of the default size. */
const DEFAULT_IN_FLIGHT_BYTES = 48 * MIB;
const DEFAULT_CACHE_BYTES = 32 * MIB;
/** Room for one content past the size at which a pack is closed; a larger one makes its pack grow. */
const PACK_SLACK_BYTES = 9 * MIB;
const BUFFERS_KEPT_MAX = 2;
/** Lengths in an index have 28 bits, those of what is stored, too. */
const PACKED_BYTES_MAX = 2 ** 28 - 1;

export interface OpenContentsOptions {
  readonly password: string;
  readonly clock: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  readonly readOnly?: boolean;
  /** Who writes; stands in session markers. */
  readonly identity: { readonly username: string; readonly hostname: string };
  /** Where format keys come from; by default each is derived anew, which takes 0.2 s. */
  readonly deriveKey?: DeriveFormatKey;
  /** Those of this thread, where the caller has them already. */
  readonly kernels?: Kernels;
  /** The open format, where the caller has it already: deriving its key takes a noticeable time. */
  readonly format?: RepositoryFormat;
  /** Bytes of complete packs on their way to the storage. */
  readonly packBytesInFlightMax?: number;
  readonly cacheBytesMax?: number;
  /** Where copies of indexes are kept for the next client on this machine; temporary files without it. */
  readonly indexCache?: IndexCachePlace | undefined;
  /**
   * Decode every content right after it was encoded and compare; on by default. Indexes of packs are always read back.
   */
  readonly readBack?: boolean;
}

/**
 * Opens the contents of a repository and loads its index.
 * Throws what opening the format throws (REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_UNSUPPORTED, REPO_LOCKED), and REPO_CORRUPT naming the index blob that cannot be read.
 */
export async function openContents(storage: BlobStorage, options: OpenContentsOptions, signal?: AbortSignal): Promise<Contents> {
  const random = options.random ?? systemRandom;
  const logger = options.logger ?? nullLogger;
  const format =
    options.format ??
    (await openRepositoryFormat(
      storage,
      { password: options.password, clock: options.clock, random, logger, ...(options.deriveKey === undefined ? {} : { deriveKey: options.deriveKey }) },
      signal,
    ));
  const codec = await createContentCodec(format.block, options.kernels ?? (await createKernels({ random })));
  const { clock, identity } = options;
  const indexBlobs = format.block.epochParameters.enabled
    ? new EpochIndexBlobs({ storage, format, codec, clock, logger })
    : new LegacyIndexBlobs(storage, format, codec);
  const session: SessionDependencies = {
    ...{ storage, format, codec, clock, random, logger, identity },
    inFlight: new Semaphore(options.packBytesInFlightMax ?? DEFAULT_IN_FLIGHT_BYTES),
    buffers: new PackBuffers(format.block.maxPackBytes + PACK_SLACK_BYTES, BUFFERS_KEPT_MAX),
  };
  const contents = new Contents(session, indexBlobs, options);
  await contents.refresh(signal);
  return contents;
}

/** Figures since opening. */
export interface ContentStatistics {
  readonly writtenContents: number;
  readonly writtenBytes: number;
  readonly packedBytes: number;
  readonly deduplicatedContents: number;
  readonly deduplicatedBytes: number;
  readonly readContents: number;
  readonly readBytes: number;
}

/** One of contents that are ready, which is not there yet. */
interface FreshContent {
  readonly index: number;
  readonly key: Uint8Array;
  readonly timestampSeconds: number;
}

export class Contents implements ContentWriter {
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly storage: BlobStorage;
  readonly indexBlobs: IndexBlobs;
  readonly #on: SessionDependencies;
  readonly #options: OpenContentsOptions;
  readonly #committed: CommittedIndex;
  readonly #packs: PackReader;
  #session: WriteSession | undefined;
  /** Sessions whose flush is under way or failed, oldest first. */
  #flushing: WriteSession[] = [];
  #flushQueue: Promise<unknown> = Promise.resolve();
  /** What delivers the packs of lanes, before a flush. */
  readonly #lanes = new Set<() => Promise<void>>();
  readonly #statistics = { writtenContents: 0, writtenBytes: 0, packedBytes: 0, deduplicatedContents: 0, deduplicatedBytes: 0, readContents: 0, readBytes: 0 };

  constructor(dependencies: SessionDependencies, indexBlobs: IndexBlobs, options: OpenContentsOptions) {
    this.#on = dependencies;
    this.#options = options;
    this.format = dependencies.format;
    this.codec = dependencies.codec;
    this.storage = dependencies.storage;
    this.indexBlobs = indexBlobs;
    const { storage, codec, clock, random, logger } = dependencies;
    const cache = options.indexCache === undefined ? undefined : cacheOf(this.format, options.indexCache);
    this.#committed = new CommittedIndex({ storage, codec, clock, random, logger, blobs: indexBlobs, cache, findKeys: codec.findKeys });
    this.#packs = new PackReader(dependencies.storage, options.cacheBytesMax ?? DEFAULT_CACHE_BYTES);
  }

  get statistics(): ContentStatistics {
    return { ...this.#statistics };
  }

  get repairedShards(): number {
    return this.codec.repairedShards;
  }

  get packed(): PackedContents {
    const { hash, secret, encryption, masterKey, ecc, eccOverheadPercent, indexVersion } = this.format.block;
    return {
      readRange: (packBlobId, offset, length, options) => this.#packs.readRange(packBlobId, offset, length, options),
      decoderOptions: { hash, secret, encryption, masterKey, ecc, eccOverheadPercent, indexVersion },
      bytesFetched: this.#packs.bytesFetched + this.#committed.loader.bytesFetched,
    };
  }

  /** Entries and bytes of the committed index in memory. */
  get indexSize(): { readonly entries: number; readonly bytes: number } {
    return this.#committed.size;
  }

  /** Opens index blobs one by one, without loading them: for what merges them. */
  get indexLoader(): IndexLoader {
    return this.#committed.loader;
  }

  /** The committed indexes as they are now, for whoever walks all of them. */
  indexes(): PackIndex[] {
    return this.#committed.indexes();
  }

  /** The committed index as it is now, for the workers of this process: `attachIndex` opens it there. */
  shareIndex(): SharedIndex {
    return this.#committed.share();
  }

  /** Deletions up to this time, in unix seconds, are final. */
  get deletionWatermark(): number {
    return this.#committed.deletionWatermark;
  }

  /** Lanes for one writer of file data, in threads of its own if it likes. */
  openLanes(): ContentLanes {
    this.#checkWritable();
    return new ContentLanes({
      format: this.format,
      decoderOptions: this.packed.decoderOptions,
      readBack: this.#options.readBack !== false,
      headBytes: packHead(this.format).length + PREAMBLE_BYTES,
      packBytesInFlightMax: this.#options.packBytesInFlightMax ?? DEFAULT_IN_FLIGHT_BYTES,
      shareIndex: () => this.shareIndex(),
      isStale: () => !this.#isFresh(),
      refresh: (signal) => this.refresh(signal),
      timestamp: (key) => this.#timestampAfter(this.#committed.find(key)),
      takeOver: (sealed, entriesOf, release, signal) => this.#adopt(sealed, entriesOf, release, signal),
      isFlushDue: () => this.#isFlushDue,
      flush: (signal) => this.flush(signal),
      onFlush: (deliver) => {
        this.#lanes.add(deliver);
        return () => this.#lanes.delete(deliver);
      },
    });
  }

  info(id: ContentId): ContentInfo | undefined {
    const entry = this.#visible(this.#find(id, keyOf(id)));
    return entry === undefined ? undefined : infoOf(id, entry);
  }

  hasKey(key: Uint8Array): boolean {
    if (this.#committed.has(key)) return true;
    return this.#session === undefined && this.#flushing.length === 0 ? false : this.#find(idOfKey(key), key)?.deleted === false;
  }

  get keyBytes(): number {
    return 1 + this.codec.hasher.digestBytes;
  }

  storedKeys(keys: Uint8Array, count: number): number {
    const { keyBytes } = this;
    // Nearly all are committed: a view of each key would cost more than looking it up, and a call for each is as much again.
    let stored = 0;
    while (stored < count) {
      stored += this.#committed.heldFirst(keys.subarray(stored * keyBytes), count - stored, keyBytes);
      if (stored === count) break;
      const at = stored * keyBytes;
      if (!this.#committed.hasAt(keys, at, keyBytes) && !this.hasKey(keys.slice(at, at + keyBytes))) break;
      stored++;
    }
    return stored;
  }

  async get(id: ContentId, signal?: AbortSignal, options?: ReadContentOptions): Promise<Uint8Array> {
    const key = keyOf(id);
    let entry = this.#visible(this.#find(id, key));
    if (entry !== undefined) {
      try {
        return await this.#read(id, entry, signal, options);
      } catch (error) {
        if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
      }
    }
    // Not there, or its pack is gone: another writer may have put it elsewhere since the index was loaded.
    const before = entry;
    await this.refresh(signal);
    entry = this.#visible(this.#find(id, key));
    if (entry === undefined) {
      throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read content "${id}": no index names it`, {
        context: { contentId: id, packBlobId: before?.packBlobId },
      });
    }
    try {
      return await this.#read(id, entry, signal, options);
    } catch (error) {
      if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot read content "${id}": its pack "${entry.packBlobId}" is missing`, {
        cause: error,
        context: { contentId: id, packBlobId: entry.packBlobId },
      });
    }
  }

  /**
   * Contents that lie in one pack, with one request that spans them all; the plaintexts come in the order asked for.
   * Throws INVARIANT when they lie in several, BLOB_NOT_FOUND when the pack is gone, REPO_CORRUPT. Meant for readers that planned their order; `get` is for the rest.
   */
  async getPacked(infos: readonly ContentInfo[], signal?: AbortSignal): Promise<Uint8Array[]> {
    const [first] = infos;
    if (first === undefined) return [];
    invariant(
      infos.every(({ packBlobId }) => packBlobId === first.packBlobId),
      "Cannot read contents with one request: they lie in several packs",
    );
    const from = Math.min(...infos.map(({ packOffset }) => packOffset));
    const to = Math.max(...infos.map(({ packOffset, packedLength }) => packOffset + packedLength));
    // A pack that is still in memory is read before anything else may happen: afterwards its buffer belongs to the next pack.
    const range = { packBlobId: first.packBlobId, packOffset: from, packedLength: to - from };
    const bytes = this.#stored(range) ?? (await this.#packs.readRange(first.packBlobId, from, to - from, signal === undefined ? {} : { signal }));
    const plain = infos.map((info) => this.codec.open(bytes.subarray(info.packOffset - from, info.packOffset - from + info.packedLength), info));
    this.#statistics.readContents += plain.length;
    this.#statistics.readBytes += plain.reduce((sum, { length }) => sum + length, 0);
    return plain;
  }

  *list(options: { readonly prefix?: string; readonly includeDeleted?: boolean } = {}): IterableIterator<ContentInfo> {
    const sessions = [...this.#flushing, ...(this.#session === undefined ? [] : [this.#session])];
    const parts = [...this.#committed.indexes(), ...sessions.flatMap((session) => [...session.indexes(), ...session.openIndexes()])];
    for (const entry of mergeEntries(parts, options.prefix === undefined ? undefined : prefixByte(options.prefix))) {
      if (this.#visible(entry) === undefined || (entry.deleted && options.includeDeleted !== true)) continue;
      yield infoOf(idOfKey(entry.key), entry);
    }
  }

  /** The committed entries that hold, deleted ones included, in order of their keys: for walks over millions, which `list` would make much garbage of. */
  *entries(): IterableIterator<IndexEntry> {
    for (const entry of mergeEntries(this.#committed.indexes())) if (!this.#committed.isDropped(entry)) yield entry;
  }

  async refresh(signal?: AbortSignal): Promise<void> {
    await this.format.refresh(signal);
    await this.#committed.refresh(signal);
  }

  async write(data: Uint8Array, options: WriteContentOptions = {}, signal?: AbortSignal): Promise<WrittenContent> {
    this.#checkWritable();
    signal?.throwIfAborted();
    const prefix = options.prefix ?? "";
    invariant(isContentPrefix(prefix), `Cannot write a content: its prefix is "${prefix}", a letter g to z or none is wanted`);
    const packedLength = this.codec.sealedLength(data.length);
    invariant(
      packedLength <= PACKED_BYTES_MAX,
      `Cannot write a content: its ${data.length} bytes take ${packedLength} in a pack, ${PACKED_BYTES_MAX} are the most`,
    );
    const hash = this.codec.hasher.hash(data);
    const id = makeContentId(prefix, hash);
    if (!this.#isFresh()) {
      // Whether the content exists must not be decided by an old view. The caller may reuse the memory as soon as we wait, so the bytes are kept.
      const kept = new Uint8Array(data);
      await this.refresh(signal);
      return this.#store(id, hash, kept, options, signal);
    }
    return this.#store(id, hash, data, options, signal);
  }

  get hasher(): ContentCodec["hasher"] {
    return this.codec.hasher;
  }

  get takesReady(): boolean {
    return this.codec.sealsRanges && this.#options.readBack !== false;
  }

  async writeReady(ready: ReadyContents, signal?: AbortSignal): Promise<{ readonly knownBytes: number; readonly packedBytes: number }> {
    this.#checkWritable();
    signal?.throwIfAborted();
    // Whether contents exist must not be decided by an old view.
    if (!this.#isFresh()) await this.refresh(signal);
    const { prefix, hashes, payloads, originalLengths } = ready;
    const { digestBytes } = this.codec.hasher;
    const fresh = new Map<ContentId, FreshContent>();
    let knownBytes = 0;
    for (let i = 0; i < payloads.count; i++) {
      const id = makeContentId(prefix, hashes.subarray(i * digestBytes, (i + 1) * digestBytes));
      const key = keyOf(id);
      const previous = this.#find(id, key);
      if (fresh.has(id) || (previous !== undefined && !previous.deleted)) {
        knownBytes += originalLengths[i] ?? 0;
        this.#statistics.deduplicatedContents++;
      } else fresh.set(id, { index: i, key, timestampSeconds: this.#timestampAfter(previous) });
    }
    this.#statistics.deduplicatedBytes += knownBytes;
    const packedBytes = fresh.size === 0 ? 0 : await this.#appendReady(ready, fresh, signal);
    await this.#flushWhenDue(signal);
    return { knownBytes, packedBytes };
  }

  async delete(id: ContentId): Promise<void> {
    this.#checkWritable();
    if (!this.#isFresh()) await this.refresh();
    const key = keyOf(id);
    const entry = this.#visible(this.#find(id, key));
    if (entry === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot delete content "${id}": no index names it`, { context: { contentId: id } });
    if (entry.deleted) return;
    this.#current().delete(id, { ...entry, key, deleted: true, timestampSeconds: this.#timestampAfter(entry) });
  }

  /**
   * Stores a content once more, in a pack of its own session: what maintenance does with the contents of packs that are mostly empty, and with deleted ones
   * that are in use again. The new entry is later than the old one. Throws REPO_CONTENT_NOT_FOUND, REPO_CORRUPT.
   */
  async rewrite(id: ContentId, options: { readonly deleted: boolean }, signal?: AbortSignal): Promise<void> {
    this.#checkWritable();
    if (!this.#isFresh()) await this.refresh(signal);
    const entry = this.#visible(this.#find(id, keyOf(id)));
    if (entry === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot rewrite content "${id}": no index names it`, { context: { contentId: id } });
    const stored = this.#stored(entry)?.slice() ?? (await this.#packs.read(entry, signal));
    // Decompressing and checking the length shows that the content is whole before its old copy may go; the payload itself is sealed as it was.
    this.codec.open(stored, infoOf(id, entry));
    const payload = this.codec.payloadOf(stored, infoOf(id, entry));
    const { originalLength, compressionId } = entry;
    const { session, pack } = this.#append(id, hashOf(id), payload, { originalLength, compressionId, deleted: options.deleted }, entry);
    if (session.needsAttention(pack)) await session.makeRoom(pack.length >= this.format.block.maxPackBytes ? pack : undefined, signal);
  }

  async flush(signal?: AbortSignal): Promise<void> {
    this.#checkWritable();
    for (const deliver of [...this.#lanes]) await deliver();
    const session = this.#session;
    if (session !== undefined && !session.isEmpty) this.#flushing.push(session);
    this.#session = undefined;
    const done = this.#flushQueue.then(async () => {
      // Also those of flushes that failed: what was written before this flush is durable after it.
      for (const pending of [...this.#flushing]) await this.#flushSession(pending, signal);
    });
    this.#flushQueue = done.catch(() => undefined);
    await done;
  }

  /**
   * Makes entries part of the repository that need no pack, deletions, as index blobs of a session of their own: many at once, without an object for each.
   * @param indexes - encoded, in the index version of the repository
   */
  async commitEntries(indexes: readonly Uint8Array[], signal?: AbortSignal): Promise<void> {
    this.#checkWritable();
    if (this.format.isStale) await this.format.refresh(signal);
    await this.#committed.commit(indexes, newSessionId(this.#on.random, this.#on.clock.nowMs()), signal);
  }

  /** Waits for uploads under way. What was not flushed is lost. The storage stays open. */
  async close(): Promise<void> {
    await this.#flushQueue;
    for (const session of [...this.#flushing, ...(this.#session === undefined ? [] : [this.#session])]) await session.settle();
    this.#session = undefined;
    this.#flushing = [];
    this.#committed.close();
  }

  async #store(id: ContentId, hash: Uint8Array, data: Uint8Array, options: WriteContentOptions, signal?: AbortSignal): Promise<WrittenContent> {
    const key = keyOf(id);
    const known = this.#find(id, key);
    if (known !== undefined && !known.deleted) {
      this.#statistics.deduplicatedContents++;
      this.#statistics.deduplicatedBytes += data.length;
      await this.#flushWhenDue(signal);
      return { id, isNew: false, packedLength: 0 };
    }
    const { payload, compressionId } = this.codec.compress(data, options.compressor);
    const form = { originalLength: data.length, compressionId, deleted: false };
    const { session, pack, length } = this.#append(id, hash, payload, form, known, this.#options.readBack === false ? undefined : data);
    this.#statistics.writtenContents++;
    this.#statistics.writtenBytes += data.length;
    if (session.needsAttention(pack)) await session.makeRoom(pack.length >= this.format.block.maxPackBytes ? pack : undefined, signal);
    await this.#flushWhenDue(signal);
    return { id, isNew: true, packedLength: length };
  }

  /** Makes what was written part of the repository when the first of it was written a while ago: packs that no index names do not live for ever. */
  async #flushWhenDue(signal?: AbortSignal): Promise<void> {
    if (this.#isFlushDue) await this.flush(signal);
  }

  get #isFlushDue(): boolean {
    return this.#session !== undefined && this.#session.ageMs > FLUSH_AFTER_MS;
  }

  /** Seals a payload into the open pack and makes it findable; with `expected` it is read back first, and taken back when it differs. */
  #append(
    id: ContentId,
    hash: Uint8Array,
    payload: Uint8Array,
    form: { readonly originalLength: number; readonly compressionId: number; readonly deleted: boolean },
    previous: IndexEntry | undefined,
    expected?: Uint8Array,
  ): { readonly session: WriteSession; readonly pack: OpenPack; readonly length: number } {
    const key = keyOf(id);
    const session = this.#current();
    const pack = session.pack(key[0] === 0 ? "p" : "q");
    const { offset, length } = pack.append(this.codec.sealedLength(payload.length), (out, at) => this.codec.seal(payload, hash, out, at));
    const entry: IndexEntry = {
      ...{ key, packBlobId: pack.blobId, packOffset: offset, packedLength: length, ...form },
      ...{ formatVersion: this.format.block.version, timestampSeconds: this.#timestampAfter(previous) },
    };
    if (expected !== undefined) {
      try {
        this.codec.readBack(pack.stored(offset, length), infoOf(id, entry), expected, payload);
      } catch (error) {
        pack.truncate(offset);
        throw error;
      }
    }
    pack.entries.set(id, entry);
    this.#statistics.packedBytes += length;
    return { session, pack, length };
  }

  /** Seals payloads into the open pack, one behind the other, reads them back, and makes them findable; how many bytes that took. */
  async #appendReady(
    { prefix, hashes, payloads, originalLengths, compressionIds }: ReadyContents,
    fresh: ReadonlyMap<ContentId, FreshContent>,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { digestBytes } = this.codec.hasher;
    const session = this.#current();
    const pack = session.pack(prefix === "" ? "p" : "q");
    const starts = new Uint32Array(fresh.size);
    const lengths = new Uint32Array(fresh.size);
    const chosen = new Uint8Array(fresh.size * digestBytes);
    let count = 0;
    let sealedBytes = 0;
    for (const { index } of fresh.values()) {
      starts[count] = payloads.starts[index] ?? 0;
      lengths[count] = payloads.lengths[index] ?? 0;
      chosen.set(hashes.subarray(index * digestBytes, (index + 1) * digestBytes), count * digestBytes);
      sealedBytes += this.codec.sealedLength(lengths[count++] ?? 0);
    }
    const { offset } = pack.append(sealedBytes, (out, at) => {
      this.codec.sealRanges({ data: payloads.data, starts, lengths, count }, chosen, out, at);
      return sealedBytes;
    });
    let packOffset = offset;
    for (const [id, { index, key, timestampSeconds }] of fresh) {
      const packedLength = this.codec.sealedLength(payloads.lengths[index] ?? 0);
      const [originalLength = 0, compressionId = 0] = [originalLengths[index], compressionIds[index]];
      pack.entries.set(id, {
        ...{ key, packBlobId: pack.blobId, packOffset, packedLength, originalLength, compressionId, deleted: false },
        ...{ formatVersion: this.format.block.version, timestampSeconds },
      });
      packOffset += packedLength;
      this.#statistics.writtenBytes += originalLength;
    }
    this.#statistics.writtenContents += count;
    this.#statistics.packedBytes += sealedBytes;
    if (session.needsAttention(pack)) await session.makeRoom(pack.length >= this.format.block.maxPackBytes ? pack : undefined, signal);
    return sealedBytes;
  }

  async #flushSession(session: WriteSession, signal?: AbortSignal): Promise<void> {
    if (this.format.isStale) await this.format.refresh(signal);
    await session.storePacks(signal);
    const parts = session.indexes();
    const { indexVersion } = this.format.block;
    const shards = encodeShards(
      indexVersion,
      mergeEntries(parts),
      parts.reduce((sum, part) => sum + part.entryCount, 0),
    );
    await this.#committed.commit(shards, session.id, signal);
    this.#flushing = this.#flushing.filter((other) => other !== session);
    await session.end();
  }

  async #adopt(
    sealed: SealedPack,
    entriesOf: (pack: OpenPack) => PackEntries,
    release: (buffer: Uint8Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const adopted = this.#current().adopt(sealed, entriesOf, release, signal);
    this.#statistics.writtenContents += sealed.count;
    for (let i = 0; i < sealed.count; i++) this.#statistics.writtenBytes += sealed.columns[i * PACK_COLUMNS + 2] ?? 0;
    this.#statistics.packedBytes += sealed.length;
    await adopted;
  }

  #current(): WriteSession {
    this.#session ??= new WriteSession(this.#on);
    return this.#session;
  }

  /** The entry that holds over everything we know, deleted ones included. */
  #find(id: ContentId, key: Uint8Array): IndexEntry | undefined {
    let winner = this.#session?.find(id, key);
    for (const session of this.#flushing) winner = prevailing(session.find(id, key), winner);
    return prevailing(this.#committed.find(key), winner);
  }

  /** The entry, unless its deletion is final. */
  #visible(entry: IndexEntry | undefined): IndexEntry | undefined {
    return entry === undefined || this.#committed.isDropped(entry) ? undefined : entry;
  }

  async #read(id: ContentId, entry: IndexEntry, signal?: AbortSignal, options?: ReadContentOptions): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const info = infoOf(id, entry);
    const stored = this.#stored(info);
    const open = (bytes: Uint8Array): Uint8Array => this.codec.open(bytes, info);
    const plain = stored === undefined ? await this.#packs.readOpened(entry, open, signal, options) : open(stored);
    this.#statistics.readContents++;
    this.#statistics.readBytes += plain.length;
    return plain;
  }

  /** The stored bytes of a content whose pack is still in memory. */
  #stored(range: { readonly packBlobId: string; readonly packOffset: number; readonly packedLength: number }): Uint8Array | undefined {
    for (const session of [this.#session, ...this.#flushing]) {
      const bytes = session?.stored(range);
      if (bytes !== undefined) return bytes;
    }
    return undefined;
  }

  #isFresh(): boolean {
    return this.#committed.ageMs < INDEX_AGE_MAX_MS && !this.format.isStale;
  }

  #timestampAfter(previous: IndexEntry | undefined): number {
    const now = Math.floor(this.#on.clock.nowMs() / 1000);
    return previous === undefined ? now : Math.max(now, previous.timestampSeconds + 1);
  }

  #checkWritable(): void {
    if (this.#options.readOnly === true) {
      throw new DrayError("REPO_READ_ONLY", `Cannot write to repository at "${this.storage.description}": it was opened to be read only`);
    }
  }
}

/** That of two entries which holds, where there are any. */
function prevailing(entry: IndexEntry | undefined, other: IndexEntry | undefined): IndexEntry | undefined {
  return entry !== undefined && (other === undefined || prevails(entry, other)) ? entry : other;
}

function infoOf(id: ContentId, entry: IndexEntry): ContentInfo {
  const { packBlobId, packOffset, packedLength, originalLength, compressionId, timestampSeconds, deleted, formatVersion } = entry;
  return { id, packBlobId, packOffset, packedLength, originalLength, compressionId, timestampSeconds, deleted, formatVersion };
}

/** Each repository has a folder of its own, whose name does not tell which one it is. */
function cacheOf(format: RepositoryFormat, { folder, ...rest }: IndexCachePlace): IndexCachePlace {
  return { folder: join(folder, createHash("sha256").update(format.uniqueId).digest("hex").slice(0, 32)), ...rest };
}
