/**
 * The owner's side of sealing lanes: what they are opened with, what they must know, and the packs that they deliver becoming part of the session.
 *
 *   lane (any thread) ─ sealed pack ─► adopt: name, head, times ─► WriteSession ─► storage
 *   flush of the repository ─► every lane delivers what it has ─► the session with all of it
 */
import { compareBytes } from "@drayage/base";
import type { RepositoryFormat } from "../format/repository-format.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import type { SharedIndex } from "../index-blobs/shared-index.ts";
import { KnownContents } from "./known-contents.ts";
import type { OpenPack } from "./open-pack.ts";
import { type KnownToLane, type LaneOptions, PACK_COLUMNS, type SealedPack } from "./sealing-lane.ts";

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
    entriesOf: (pack: OpenPack) => IndexEntry[],
    release: (buffer: Uint8Array) => void,
    signal: AbortSignal | undefined,
  ): Promise<void>;
  flushWhenDue(signal: AbortSignal | undefined): Promise<void>;
  onFlush(deliver: () => Promise<void>): () => void;
}

/** The lanes of one writer. Close it when the writer ends, however it ends. */
export class ContentLanes {
  readonly #host: LaneHost;
  /** What a failed writer claimed is stored by nobody, so each has its own. */
  readonly #session: KnownContents = KnownContents.create();
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
    return { committed: this.#host.shareIndex(), session: this.#session.shared };
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

  /** Makes what was written part of the repository when the first of it was written a while ago. */
  flushWhenDue(signal?: AbortSignal): Promise<void> {
    return this.#host.flushWhenDue(signal);
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

  #entriesOf({ count, hashes, columns }: SealedPack, { blobId }: OpenPack): IndexEntry[] {
    const digestBytes = hashes.length / count;
    const formatVersion = this.#host.format.block.version;
    // Prefix bytes of file data are 0, which is what the memory is.
    const keys = new Uint8Array(count * (digestBytes + 1));
    // In the order of their keys, which the index is going to ask for several times.
    return orderOf(hashes, count).map((i): IndexEntry => {
      const key = keys.subarray(i * (digestBytes + 1), (i + 1) * (digestBytes + 1));
      key.set(hashes.subarray(i * digestBytes, (i + 1) * digestBytes), 1);
      const column = i * PACK_COLUMNS;
      return {
        ...{ key, packBlobId: blobId, packOffset: columns[column] ?? 0, packedLength: columns[column + 1] ?? 0 },
        ...{ originalLength: columns[column + 2] ?? 0, compressionId: columns[column + 3] ?? 0 },
        ...{ formatVersion, timestampSeconds: this.#host.timestamp(key), deleted: false },
      };
    });
  }
}

/** Positions of hashes in the order of their bytes. Four bytes decide nearly always. */
function orderOf(hashes: Uint8Array, count: number): number[] {
  const digestBytes = hashes.length / count;
  const view = new DataView(hashes.buffer, hashes.byteOffset, hashes.length);
  const first = Uint32Array.from({ length: count }, (_, i) => view.getUint32(i * digestBytes));
  const compare = (a: number, b: number): number =>
    (first[a] ?? 0) - (first[b] ?? 0) ||
    compareBytes(hashes.subarray(a * digestBytes, (a + 1) * digestBytes), hashes.subarray(b * digestBytes, (b + 1) * digestBytes));
  return Array.from({ length: count }, (_, i) => i).sort(compare);
}
