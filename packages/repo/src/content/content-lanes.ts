/**
 * The owner's side of sealing lanes: what they are opened with, what they must know, and the packs that they deliver becoming part of the session.
 *
 *   lane (any thread) ─ sealed pack ─► adopt: name, head, times ─► WriteSession ─► storage
 *   flush of the repository ─► every lane delivers what it has ─► the session with all of it
 */
import type { RepositoryFormat } from "../format/repository-format.ts";
import type { SharedIndex } from "../index-blobs/shared-index.ts";
import { KnownContents, knownContentsBytes, type SharedKnownContents } from "./known-contents.ts";
import type { OpenPack } from "./open-pack.ts";
import { type PackEntries, SealedEntries } from "./pack-entries.ts";
import type { KnownToLane, LaneOptions, SealedPack } from "./sealing-lane.ts";

/** Of each content: its columns in the lane and their copy, its entry in the index of its pack, and at a flush in an index that is built, sealed and read back. */
const SESSION_CONTENT_BYTES = 200;

/** Memory that contents take between two flushes, when there are so many: an estimate from the sizes of what is kept. */
export function sessionBytes(contents: number): number {
  return knownContentsBytes(contents) + contents * SESSION_CONTENT_BYTES;
}

/** What the contents of a repository lend to the lanes of one writer. */
export interface LaneHost {
  readonly format: RepositoryFormat;
  readonly decoderOptions: LaneOptions["codec"];
  readonly readBack: boolean;
  readonly headBytes: number;
  /** Bytes of complete packs on their way, at most. */
  readonly packBytesInFlightMax: number;
  shareIndex(): SharedIndex;
  /** Whether what is known of the index must not decide any more what is stored. */
  isStale(): boolean;
  refresh(signal: AbortSignal | undefined): Promise<void>;
  /** Seconds for the entry of a content with this key. */
  timestamp(key: Uint8Array): number;
  takeOver(
    sealed: SealedPack,
    entriesOf: (pack: OpenPack) => PackEntries,
    release: (buffer: Uint8Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<void>;
  /** Whether the first of what was written is old enough for a flush. */
  readonly isFlushDue: () => boolean;
  flush(signal: AbortSignal | undefined): Promise<void>;
  onFlush(deliver: () => Promise<void>): () => void;
}

/** The lanes of one writer. Close it when the writer ends, however it ends. */
export class ContentLanes {
  readonly #host: LaneHost;
  /** What a failed writer claimed is stored by nobody, so each has its own. */
  readonly #session: KnownContents = KnownContents.create();
  /** Contents that were claimed when the last flush began, of those that tables still name. */
  #claimedBefore = 0;
  #stopListening: (() => void) | undefined;

  constructor(host: LaneHost) {
    this.#host = host;
  }

  get options(): LaneOptions {
    const { format, decoderOptions, readBack, headBytes } = this.#host;
    return { codec: decoderOptions, maxPackBytes: format.block.maxPackBytes, headBytes, readBack };
  }

  get packBytesInFlightMax(): number {
    return this.#host.packBytesInFlightMax;
  }

  /** What is known now. */
  get known(): KnownToLane {
    return { committed: this.#host.shareIndex(), session: this.session };
  }

  /** Of it, what this session has stored: the rest changes seldom, and sharing it asks the system for each file of the index. */
  get session(): SharedKnownContents {
    return this.#session.shared;
  }

  /** Room for what lanes claim next; true when they must be told what `known` gives. */
  makeRoom(): boolean {
    return this.#session.makeRoom();
  }

  /** The least that keeps what lanes know young enough: true when they must be told what `known` gives. */
  async refreshWhenDue(signal?: AbortSignal): Promise<boolean> {
    if (!this.#host.isStale()) return false;
    await this.#host.refresh(signal);
    return true;
  }

  /**
   * Makes what was written part of the repository when the first of it was written a while ago, or when it is more than so many contents: what is known of them takes memory until then.
   * True when it did.
   */
  async flushWhenDue(contentsMax: number, signal?: AbortSignal): Promise<boolean> {
    const claimed = this.#session.count;
    if (!this.#host.isFlushDue() && claimed - this.#claimedBefore < contentsMax) return false;
    await this.#host.flush(signal);
    this.#claimedBefore = claimed;
    return true;
  }

  /**
   * Forgets what the index knows by now. True when lanes must be told what `known` gives.
   * @param newestOfAll - the least `newestTable` that a lane had when it delivered for the last flush: what was claimed in tables before that one is committed
   */
  forgetCommitted(newestOfAll: number): boolean {
    const before = this.#session.count;
    const forgot = this.#session.forgetBefore(newestOfAll);
    this.#claimedBefore = Math.max(0, this.#claimedBefore - (before - this.#session.count));
    return forgot;
  }

  /** Memory that the tables of contents take. */
  get knownBytes(): number {
    return this.#session.byteLength;
  }

  /** Calls `deliver` before each flush: it resolves when every lane has delivered, and its packs were adopted. */
  onFlush(deliver: () => Promise<void>): void {
    this.#stopListening?.();
    this.#stopListening = this.#host.onFlush(deliver);
  }

  /**
   * Takes a pack; `release` gets its memory back once it is stored. Resolves when there is room for more.
   * Rejects when packs before it cannot be stored, with what the storage threw.
   */
  async adopt(sealed: SealedPack, release: (buffer: Uint8Array) => void, signal?: AbortSignal): Promise<void> {
    await this.#host.takeOver(sealed, (pack) => this.#entriesOf(sealed, pack), release, signal);
  }

  close(): void {
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #entriesOf(sealed: SealedPack, { blobId }: OpenPack): PackEntries {
    const formatVersion = this.#host.format.block.version;
    return new SealedEntries(sealed, { packBlobId: blobId, formatVersion, timestampOf: (key) => this.#host.timestamp(key) });
  }
}
