/**
 * What is written between two flushes: packs, and the entries that will make them exist.
 *
 *   open packs (p, q) ──full──► closed: local index built and read back ──► uploading, bounded in bytes ──► stored
 *   finish: close, wait for all, hand out the indexes of everything · the caller stores them and then ends the session (the marker goes)
 *
 * Invariants: the marker is stored before the first pack; an entry is findable from the moment its content is in a pack; a pack whose upload failed keeps
 * its memory and is tried again by the next write or flush.
 */
import { type Clock, errorFields, invariant, type Logger, type RandomSource, type Semaphore } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import type { ContentId } from "../content-port.ts";
import { frameFormatBlob } from "../format/format-blob.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import { decodeIndex, encodeIndex } from "../index-blobs/index-codec.ts";
import { MergedIndex } from "../index-blobs/merged-index.ts";
import { type IndexEntry, type PackIndex, prevails } from "../index-blobs/pack-index.ts";
import type { ContentCodec } from "./content-codec.ts";
import { OpenPack, type PackBuffers, type PackLetter } from "./open-pack.ts";
import { listedEntries, type PackEntries } from "./pack-entries.ts";
import { buildPackTail } from "./pack-layout.ts";
import { encodeSessionMarker, newSessionId } from "./session-id.ts";

export interface SessionDependencies {
  readonly storage: BlobStorage;
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly identity: { readonly username: string; readonly hostname: string };
  /** Bytes of packs on their way, over all sessions. */
  readonly inFlight: Semaphore;
  readonly buffers: PackBuffers;
}

/** A pack that is complete, what makes it so, and who gets its memory when it is stored. */
interface ClosedPack {
  readonly pack: OpenPack;
  readonly tail: Uint8Array;
  readonly release: (buffer: Uint8Array) => void;
}

export class WriteSession {
  readonly id: string;
  readonly #on: SessionDependencies;
  readonly #open = new Map<PackLetter, OpenPack>();
  /** Packs that are not stored yet, to be read from memory. */
  readonly #inMemory = new Map<string, OpenPack>();
  readonly #closed = new MergedIndex();
  readonly #deleted = new Map<ContentId, IndexEntry>();
  readonly #uploads = new Set<Promise<void>>();
  #failed: ClosedPack[] = [];
  #failure: unknown;
  readonly #startedMs: number;
  /** The same bytes under the same name for every try: a store without atomic puts may keep a part of one that failed, which the next one then replaces. */
  #marker: { readonly id: string; readonly data: Uint8Array } | undefined;
  #markerStored: Promise<void> | undefined;

  constructor(dependencies: SessionDependencies) {
    this.#on = dependencies;
    this.#startedMs = dependencies.clock.monotonicMs();
    this.id = newSessionId(dependencies.random, dependencies.clock.nowMs());
  }

  /** Since the first content. */
  get ageMs(): number {
    return this.#on.clock.monotonicMs() - this.#startedMs;
  }

  /** Whether there is anything to flush. */
  get isEmpty(): boolean {
    return this.#closed.entryCount === 0 && this.#deleted.size === 0 && this.#open.size === 0;
  }

  find(id: ContentId, key: Uint8Array): IndexEntry | undefined {
    let winner = this.#closed.find(key);
    for (const entry of [this.#deleted.get(id), this.#open.get("p")?.entries.get(id), this.#open.get("q")?.entries.get(id)]) {
      if (entry !== undefined && (winner === undefined || prevails(entry, winner))) winner = entry;
    }
    return winner;
  }

  /** The stored bytes of a content that is still in memory. */
  stored(range: { readonly packBlobId: string; readonly packOffset: number; readonly packedLength: number }): Uint8Array | undefined {
    return this.#inMemory.get(range.packBlobId)?.stored(range.packOffset, range.packedLength);
  }

  /** The pack that takes the next content of a letter. */
  pack(letter: PackLetter): OpenPack {
    const known = this.#open.get(letter);
    if (known !== undefined) return known;
    const { buffers, format, random } = this.#on;
    const pack = new OpenPack(letter, this.id, buffers.take(), packHead(format), random);
    this.#open.set(letter, pack);
    this.#inMemory.set(pack.blobId, pack);
    return pack;
  }

  /** Takes over a pack of file data that was sealed elsewhere, its head still free. Resolves when there is room for more. */
  async adopt(
    { buffer, length }: { readonly buffer: Uint8Array; readonly length: number },
    entriesOf: (pack: OpenPack) => PackEntries,
    release: (buffer: Uint8Array) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { format, random } = this.#on;
    const pack = new OpenPack("p", this.id, buffer, packHead(format), random);
    pack.extendTo(length);
    this.#inMemory.set(pack.blobId, pack);
    const closed = this.#complete(pack, entriesOf(pack), release);
    // Before the first wait: a flush that comes now must find it under way.
    const room = this.#submit(closed, signal);
    await room;
    if (this.#failed.length > 0) await this.#retryFailed(signal);
  }

  /** Marks a content deleted, wherever it is stored. */
  delete(id: ContentId, entry: IndexEntry): void {
    this.#deleted.set(id, entry);
  }

  /** Closes a pack that is full and starts its upload; resolves when there is room for more, and tries again what failed before. */
  async makeRoom(pack: OpenPack | undefined, signal?: AbortSignal): Promise<void> {
    if (this.#failed.length > 0) await this.#retryFailed(signal);
    if (pack !== undefined && this.#open.get(pack.letter) === pack) await this.#submit(this.#close(pack), signal);
  }

  /** Whether a write has more to do than to go on. */
  needsAttention(pack: OpenPack): boolean {
    return this.#failed.length > 0 || pack.length >= this.#on.format.block.maxPackBytes;
  }

  /** Stores every pack. Throws what the last upload that failed threw; everything stays for another try. */
  async storePacks(signal?: AbortSignal): Promise<void> {
    for (const pack of [...this.#open.values()]) {
      // A write that was waiting for room may have closed it meanwhile.
      if (this.#open.get(pack.letter) !== pack) continue;
      if (pack.entries.size > 0) await this.#submit(this.#close(pack), signal);
      else this.#discard(pack);
    }
    await Promise.all(this.#uploads);
    if (this.#failed.length > 0) await this.#retryFailed(signal);
    invariant(this.#inMemory.size === 0, `Cannot index what session "${this.id}" wrote: ${this.#inMemory.size} of its packs are not stored`);
  }

  /** Indexes of everything that was closed or deleted, to be merged. */
  indexes(): PackIndex[] {
    const { block } = this.#on.format;
    const deletions = [...this.#deleted.values()];
    return [...this.#closed.indexes(), ...(deletions.length === 0 ? [] : [decodeIndex(encodeIndex(block.indexVersion, deletions))])];
  }

  /** Entries that are only here, for listings: of open packs, too. */
  openIndexes(): PackIndex[] {
    const { block } = this.#on.format;
    return [...this.#open.values()].flatMap(({ entries }) => (entries.size === 0 ? [] : [decodeIndex(encodeIndex(block.indexVersion, [...entries.values()]))]));
  }

  /** Takes the marker away once the index is stored. Failing is no loss: maintenance removes markers that nobody renews. */
  async end(): Promise<void> {
    const marker = this.#marker;
    if (marker === undefined) return;
    try {
      await this.#on.storage.delete(marker.id);
    } catch (error) {
      this.#on.logger.warn("Cannot delete a session marker", { blobId: marker.id, ...errorFields(error) });
    }
  }

  /** Waits for what is under way, whatever becomes of it. */
  async settle(): Promise<void> {
    await Promise.all(this.#uploads);
  }

  /** Ends the life of a pack as open: from here on its entries are in the closed indexes. */
  #close(pack: OpenPack): ClosedPack {
    this.#open.delete(pack.letter);
    const closed = this.#complete(pack, listedEntries([...pack.entries.values()]), (buffer) => this.#on.buffers.giveBack(buffer));
    pack.entries.clear();
    return closed;
  }

  #complete(pack: OpenPack, entries: PackEntries, release: (buffer: Uint8Array) => void): ClosedPack {
    const { codec, format, random } = this.#on;
    pack.pad(random);
    const tail = buildPackTail(codec, format.block.indexVersion, entries, pack.length, random);
    this.#closed.add(pack.blobId, tail.index);
    return { pack, tail: tail.bytes, release };
  }

  /** A pack that never got a content, since sealing the first one failed. */
  #discard(pack: OpenPack): void {
    this.#open.delete(pack.letter);
    this.#inMemory.delete(pack.blobId);
    this.#on.buffers.giveBack(pack.buffer);
  }

  /**
   * Starts an upload once there is room for its bytes, which is what the caller waits for. It counts as under way from the first moment, so that nobody
   * takes a pack that still waits for room for one that is stored.
   */
  #submit(closed: ClosedPack, signal?: AbortSignal): Promise<unknown> {
    const room = this.#on.inFlight.acquire(closed.pack.length + closed.tail.length, signal);
    const upload: Promise<void> = room
      .then((release) => this.#upload(closed, signal).finally(release))
      .catch((error: unknown) => {
        this.#failure = error;
        this.#failed.push(closed);
      })
      .finally(() => this.#uploads.delete(upload));
    this.#uploads.add(upload);
    return room;
  }

  async #upload({ pack, tail, release }: ClosedPack, signal?: AbortSignal): Promise<void> {
    const { storage, format } = this.#on;
    await this.#storeMarker(signal);
    // File data waits for a restore; listings and manifests are what the next backup reads.
    await storage.put(pack.blobId, [pack.bytes, tail], { ...format.putOptionsOf(pack.blobId, signal), pastCache: pack.letter === "p" });
    this.#inMemory.delete(pack.blobId);
    release(pack.buffer);
  }

  /** Tries failed packs again, as many at once as there is room for; the last that fails again says why. */
  async #retryFailed(signal?: AbortSignal): Promise<void> {
    const failed = this.#failed;
    this.#failed = [];
    // All of them before the first wait: one that is neither under way nor failed would be forgotten, and the index would name it.
    await Promise.allSettled(failed.map((closed) => this.#submit(closed, signal)));
    await Promise.all(this.#uploads);
    if (this.#failed.length > 0) throw this.#failure;
  }

  /** Says that this session lives, before the first pack; once, unless that failed. */
  #storeMarker(signal?: AbortSignal): Promise<void> {
    if (this.#markerStored === undefined) {
      const { storage, format } = this.#on;
      this.#marker ??= this.#sealMarker();
      const { id, data } = this.#marker;
      const stored = storage.put(id, data, format.putOptionsOf(id, signal));
      this.#markerStored = stored;
      stored.catch(() => {
        this.#markerStored = undefined;
      });
    }
    return this.#markerStored;
  }

  #sealMarker(): { readonly id: string; readonly data: Uint8Array } {
    const { codec, clock, identity } = this.#on;
    const nowMs = clock.nowMs();
    return codec.sealBlob("s", encodeSessionMarker({ id: this.id, startTimeMs: nowMs, checkpointTimeMs: nowMs, ...identity }), this.id);
  }
}

/** What stands before the preamble of a pack: a copy of the format blob where the password cannot be changed. */
export function packHead(format: RepositoryFormat): Uint8Array {
  return format.block.enablePasswordChange ? new Uint8Array() : frameFormatBlob(format.formatBlobBytes);
}
