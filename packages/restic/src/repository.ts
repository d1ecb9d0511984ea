/**
 * An open repository of restic's, for reading.
 *
 *   snapshots ─► trees ─► ids of contents ─► index ─► places in packs ─► bytes
 *
 * Invariant: snapshots are listed before the index is loaded: a writer stores packs, then the index, then the snapshot, so what a listed snapshot needs is in the index.
 */
import { DrayError, hasCode } from "@drayage/base";
import type { ObjectStore } from "@drayage/blob";
import { ResticContentDecoder, type ResticDecoderOptions } from "./content/content-decoder.ts";
import type { ContentIndex, ContentPlace } from "./content/content-index.ts";
import { type IndexReport, loadIndex } from "./content/load-index.ts";
import { PackPages } from "./content/pack-pages.ts";
import type { ResticConfig } from "./format/config-file.ts";
import { ID_BYTES } from "./format/json.ts";
import { decodeLock, type ResticLock } from "./format/lock-file.ts";
import type { ContentKind } from "./format/pack-header.ts";
import type { Opener } from "./format/sealed.ts";
import { decodeSnapshot, type ResticSnapshot } from "./format/snapshot-file.ts";
import { type Layout, listFiles } from "./layout.ts";
import { readUnpacked } from "./read-unpacked.ts";

export interface ResticParts {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly config: ResticConfig;
  readonly key: Uint8Array;
  readonly keyId: string;
  readonly opener: Opener;
}

export interface Unreadable {
  readonly id: string;
  readonly error: unknown;
}

export interface ListedSnapshots {
  /** The oldest first. */
  readonly snapshots: readonly ResticSnapshot[];
  readonly unreadable: readonly Unreadable[];
}

/** Neighbours of one file that are read in one request. */
const RUN_BYTES_MAX = 4 << 20;
/** The first time, and once more. */
const LOADS_MAX = 2;

export class ResticRepository {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly config: ResticConfig;
  /** The key file that the password opened. */
  readonly keyId: string;
  readonly opener: Opener;
  readonly #key: Uint8Array;
  readonly #decoder: ResticContentDecoder;
  readonly #pages: PackPages;
  /** Packs that were not there after the index had been loaded anew. */
  readonly #gone = new Set<string>();
  #index: Promise<IndexReport> | undefined;
  #loaded: ContentIndex | undefined;
  #loads = 0;
  /** Bytes of packs read so far, for listings and single contents. */
  bytesFetched = 0;

  constructor(parts: ResticParts) {
    this.store = parts.store;
    this.layout = parts.layout;
    this.config = parts.config;
    this.keyId = parts.keyId;
    this.opener = parts.opener;
    this.#key = parts.key;
    this.#decoder = new ResticContentDecoder(parts.opener);
    this.#pages = new PackPages((pack, offset, length, signal) => this.#fetch(pack, offset, length, signal));
  }

  /** For messages and logs: where it is, no secret. */
  get description(): string {
    return this.store.description;
  }

  /** What another thread needs for decoding contents. Holds the key: it goes to threads of this process only. */
  get decoderOptions(): ResticDecoderOptions {
    return { key: this.#key };
  }

  /** Every snapshot; those that cannot be read are named. */
  async listSnapshots(signal?: AbortSignal): Promise<ListedSnapshots> {
    const snapshots: ResticSnapshot[] = [];
    const unreadable: Unreadable[] = [];
    for await (const { id } of listFiles(this.store, this.layout, "snapshots", signal)) {
      try {
        const what = `snapshot "${id}" of ${this.description}`;
        snapshots.push(decodeSnapshot(await readUnpacked(this, "snapshots", id, signal), id, what));
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND")) throw error;
        unreadable.push({ id, error });
      }
    }
    snapshots.sort((a, b) => (a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : a.id < b.id ? -1 : 1));
    return { snapshots, unreadable };
  }

  /** The snapshot whose id begins so, or the newest for `latest`. Throws REPO_MANIFEST_NOT_FOUND, USAGE when several do, REPO_CORRUPT when it cannot be read. */
  async findSnapshot(idPrefix: string, signal?: AbortSignal): Promise<ResticSnapshot> {
    const { snapshots, unreadable } = await this.listSnapshots(signal);
    const latest = snapshots.at(-1);
    if (idPrefix === "latest" && latest !== undefined) return latest;
    const found = snapshots.filter(({ id }) => idPrefix !== "" && id.startsWith(idPrefix));
    const [only] = found;
    if (only !== undefined && found.length === 1) return only;
    if (found.length > 1) throw new DrayError("USAGE", `Cannot choose a snapshot by "${idPrefix}": ${found.length} ids begin so`);
    const damaged = unreadable.find(({ id }) => idPrefix !== "" && id.startsWith(idPrefix));
    if (damaged !== undefined) throw damaged.error;
    throw new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot find snapshot "${idPrefix}" in ${this.description}: there is none`, {
      hint: `dray snapshot list shows the ${snapshots.length} that are there.`,
    });
  }

  /** The locks of clients at work. One that cannot be read is left out: it is being written, or its owner just left. */
  async listLocks(signal?: AbortSignal): Promise<ResticLock[]> {
    const locks: ResticLock[] = [];
    for await (const { id } of listFiles(this.store, this.layout, "locks", signal)) {
      try {
        locks.push(decodeLock(await readUnpacked(this, "locks", id, signal), id, `lock "${id}" of ${this.description}`));
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND")) throw error;
      }
    }
    return locks;
  }

  /** The index, loaded on first use. Kept for as long as the repository is open. */
  async index(signal?: AbortSignal): Promise<ContentIndex> {
    return (await this.indexReport(signal)).index;
  }

  /** The index where it is there already, for callers that look up more than they can wait for. */
  get loadedIndex(): ContentIndex | undefined {
    return this.#loaded;
  }

  /** The index, and what was wrong with its files. */
  indexReport(signal?: AbortSignal): Promise<IndexReport> {
    this.#index ??= this.#load(signal);
    return this.#index;
  }

  /**
   * An index that was loaded after this one; undefined when there is none and none will be: packs that were missing may have been rewritten by a prune, which is looked for once
   * for one open repository. Callers that come at the same time share one loading.
   */
  async indexAfter(index: ContentIndex, signal?: AbortSignal): Promise<ContentIndex | undefined> {
    const current = await this.index(signal);
    if (current !== index) return current;
    if (this.#loads >= LOADS_MAX) return undefined;
    this.#index = this.#load(signal);
    return await this.index(signal);
  }

  /** A tree's JSON, its hash checked. Throws REPO_CONTENT_NOT_FOUND, REPO_CORRUPT. */
  async readTree(id: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    return await this.readContent("tree", id, signal);
  }

  /**
   * One content, its hash checked, from the first pack that has it whole.
   * Throws REPO_CONTENT_NOT_FOUND when no index names it, REPO_CORRUPT naming content and pack when it is damaged or its pack is missing, BLOB_* when the store cannot be asked.
   */
  async readContent(kind: ContentKind, id: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    const hex = Buffer.from(id).toString("hex");
    let failure: unknown;
    for (let index: ContentIndex | undefined = await this.index(signal); index !== undefined; ) {
      const places = index.places(kind, id);
      if (places.length === 0) failure = notFound(hex, this.description);
      for (const place of places) {
        try {
          if (this.#gone.has(place.pack)) throw missingPack(hex, place.pack);
          return await this.#readAt(kind, hex, place, index.packEnd(place.pack), signal);
        } catch (error) {
          if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE")) throw error;
          failure = hasCode(error, "BLOB_NOT_FOUND") ? missingPack(hex, place.pack, error) : shortPack(hex, place.pack, error);
        }
      }
      // A prune may have moved it since the index was loaded. Damage does not heal.
      const mayHaveMoved = !hasCode(failure, "REPO_CORRUPT") || isMissingPack(failure);
      index = mayHaveMoved ? await this.indexAfter(index, signal) : undefined;
    }
    const pack = hasCode(failure, "REPO_CORRUPT") && isMissingPack(failure) ? failure.context["pack"] : undefined;
    if (typeof pack === "string") this.#gone.add(pack);
    throw failure;
  }

  /** A file, in pieces as they lie side by side: contents that are neighbours in a pack are read in one request. `contents` are ids, one after the other. */
  async *readFile(contents: Uint8Array, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const index = await this.index(signal);
    for (let at = 0; at < contents.length; ) {
      const run: { readonly id: Uint8Array; readonly place: ContentPlace }[] = [];
      let end = 0;
      for (; at < contents.length; at += ID_BYTES) {
        const id = contents.subarray(at, at + ID_BYTES);
        const place = index.place("data", id);
        const first = run[0]?.place;
        if (place === undefined || (first !== undefined && (place.pack !== first.pack || place.offset !== end || end - first.offset > RUN_BYTES_MAX))) break;
        run.push({ id, place });
        end = place.offset + place.length;
      }
      const [first] = run;
      if (first === undefined) {
        yield await this.readContent("data", contents.subarray(at, at + ID_BYTES), signal);
        at += ID_BYTES;
        continue;
      }
      const bytes = await this.readRange(first.place.pack, first.place.offset, end - first.place.offset, signal).catch((error: unknown) => {
        if (!hasCode(error, "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE")) throw error;
        return undefined;
      });
      for (const { id, place } of run) {
        const from = place.offset - first.place.offset;
        yield (bytes === undefined ? undefined : this.#tryDecode(bytes.subarray(from, from + place.length), id, place)) ??
          (await this.readContent("data", id, signal));
      }
    }
  }

  /** Exactly these bytes of a pack, in `into` where the store takes that offer. Throws BLOB_NOT_FOUND, BLOB_INVALID_RANGE. */
  async readRange(pack: string, offset: number, length: number, signal?: AbortSignal, into?: Uint8Array): Promise<Uint8Array> {
    return await this.store.getRange(this.layout.pack(pack), { offset, length, ...(into === undefined ? {} : { into }) }, signal);
  }

  /** Nothing is held open: the store is the caller's. */
  close(): Promise<void> {
    this.#key.fill(0);
    return Promise.resolve();
  }

  async #readAt(kind: ContentKind, id: string, place: ContentPlace, packEnd: number, signal?: AbortSignal): Promise<Uint8Array> {
    const { pack, offset, length } = place;
    const stored = kind === "tree" ? await this.#pages.read(pack, offset, length, packEnd, signal) : await this.#fetch(pack, offset, length, signal);
    return this.#decoder.decode(stored, { ...place, id });
  }

  #tryDecode(stored: Uint8Array, id: Uint8Array, place: ContentPlace): Uint8Array | undefined {
    try {
      return this.#decoder.decode(stored, { ...place, id: Buffer.from(id).toString("hex") });
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      return undefined;
    }
  }

  async #fetch(pack: string, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = await this.readRange(pack, offset, length, signal);
    this.bytesFetched += bytes.length;
    return bytes;
  }

  #load(signal?: AbortSignal): Promise<IndexReport> {
    this.#loads++;
    const loading = loadIndex(this, signal);
    loading.then(
      ({ index }) => {
        this.#loaded = index;
      },
      () => {
        this.#index = undefined;
      },
    );
    return loading;
  }
}

function notFound(id: string, place: string): DrayError {
  return new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read content "${id}" of ${place}: no index names it`, { context: { content: id } });
}

function missingPack(id: string, pack: string, cause?: unknown): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read content "${id}": its pack "${pack}" is missing`, { cause, context: { content: id, pack, missing: true } });
}

/** What is damaged already says so itself. */
function shortPack(id: string, pack: string, error: unknown): unknown {
  if (!hasCode(error, "BLOB_INVALID_RANGE")) return error;
  return new DrayError("REPO_CORRUPT", `Cannot read content "${id}": its pack "${pack}" is shorter than the index says`, {
    cause: error,
    context: { content: id, pack },
  });
}

function isMissingPack(error: unknown): error is DrayError {
  return hasCode(error, "REPO_CORRUPT") && error.context["missing"] === true;
}
