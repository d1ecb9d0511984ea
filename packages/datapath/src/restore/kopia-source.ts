/** A Kopia repository as the source of a planned restore: entries and pieces from its listings and lists, places of contents from its index. */
import { DrayError, hasCode } from "@drayage/base";
import {
  type ContentDecoderOptions,
  type ContentId,
  type ContentInfo,
  type DirectoryEntry,
  DirectoryListing,
  type DirectorySummary,
  type ObjectId,
  parseObjectId,
  type ReadContentOptions,
  type Repository,
  type SpecialEntry,
  type StoredAttribute,
} from "@drayage/repo";
import { createContentDecoder } from "@drayage/repo/content-decoder";
import type { ContentDecoder, ContentRef, DecoderModule, Piece, ReadRangeOptions, RestoreEntry, RestoreSource, SourceListing } from "./restore-source.ts";

/** The object of an entry; devices and the like have none. */
type Ref = ObjectId | undefined;
type Root = Pick<DirectoryEntry, "type" | "size" | "summary">;

/** A block around several is two requests, since the length of its pack is asked for before. */
const ALONE_MAX = 2;
/** The usual chunk. */
const CHUNK_BYTES = 4 << 20;
/** Compressed: half of an entry is a hash, the rest much like that of its neighbours. */
const ENTRY_BYTES = 48;
const DIRECTORY_BYTES = 256;
const CHUNK_ENTRY_BYTES = 32;

/** An entry of a listing, or a snapshot's root, as a restore takes it. */
export function restoreEntryOf(entry: DirectoryEntry): RestoreEntry<Ref> {
  const { name, type, mode, uid, gid, mtimeNs, size, objectId, extension, summary } = entry;
  const missing = missingOf(summary);
  return { name, type, mode, uid, gid, mtimeNs, size, ref: objectId, ...extension, ...(missing === 0 ? {} : { missing }) };
}

/** What a policy ignored could not be read either. */
function missingOf(summary: DirectorySummary | undefined): number {
  return summary === undefined ? 0 : summary.failed + summary.ignoredErrors;
}

export class KopiaSource implements RestoreSource<Ref> {
  readonly #repository: Repository;
  readonly #decoderOptions: ContentDecoderOptions | undefined;
  /** Packs that were not in the store after the index had been loaded anew: it is not asked again for each of their contents. */
  readonly #gone = new Set<string>();
  readonly #fetchedBefore: number;
  readonly #around: ReadContentOptions;

  /** @param root - what is restored, where all is known that will be read: of one directory of many, few listings are wanted */
  constructor(repository: Repository, root?: Root) {
    this.#repository = repository;
    this.#around = aroundEachOf(root);
    this.#decoderOptions = repository.contents.packed?.decoderOptions;
    this.#fetchedBefore = repository.contents.packed?.bytesFetched ?? 0;
  }

  get isLocal(): boolean {
    return this.#repository.storage.capabilities.isLocal === true;
  }

  get worker(): DecoderModule | undefined {
    return this.#decoderOptions === undefined ? undefined : { module: new URL("./kopia-decoder.ts", import.meta.url).href, options: this.#decoderOptions };
  }

  get bytesFetched(): number {
    return (this.#repository.contents.packed?.bytesFetched ?? 0) - this.#fetchedBefore;
  }

  async createDecoder(): Promise<ContentDecoder> {
    return this.#decoderOptions === undefined ? nothingPacked : await createContentDecoder(this.#decoderOptions);
  }

  list({ ref }: RestoreEntry<Ref>, signal?: AbortSignal): SourceListing<Ref> {
    return new KopiaListing(new DirectoryListing(this.#repository.objects, objectOf(ref), signal, this.#around));
  }

  pieces({ ref }: RestoreEntry<Ref>, signal?: AbortSignal): readonly Piece[] | AsyncIterable<Piece> {
    return this.piecesOf(objectOf(ref), signal);
  }

  /** The same of any object. */
  piecesOf(objectId: ObjectId, signal?: AbortSignal): readonly Piece[] | AsyncIterable<Piece> {
    const { indirection, compressed, contentId } = parseObjectId(objectId);
    if (indirection === 0 && !compressed) {
      const info = this.#repository.contents.info(contentId);
      if (info !== undefined) return info.originalLength === 0 ? [] : [{ offset: 0, content: this.#contentOf(info) }];
    }
    return this.#chunks(objectId, signal);
  }

  async *#chunks(objectId: ObjectId, signal?: AbortSignal): AsyncGenerator<Piece> {
    const { contents, objects } = this.#repository;
    for await (const chunk of objects.chunks(objectId, { ...this.#around, signal })) {
      if (chunk.length === 0) continue;
      const { compressed, contentId } = parseObjectId(chunk.objectId);
      if (compressed) {
        // Its length as stored is not that of its bytes, and its decoding takes two steps: it is read by its own.
        const content = { id: chunk.objectId, pack: undefined, offset: 0, length: chunk.length, originalLength: chunk.length, form: 0 };
        yield { offset: chunk.offset, content };
        continue;
      }
      const info = contents.info(contentId) ?? (await this.#refreshed(contentId, signal));
      if (info.originalLength !== chunk.length) {
        throw new DrayError("REPO_CORRUPT", `Cannot read object "${chunk.objectId}": it has ${info.originalLength} bytes, ${chunk.length} were wanted`, {
          context: { object: chunk.objectId },
        });
      }
      yield { offset: chunk.offset, content: this.#contentOf(info) };
    }
  }

  async readRange(pack: string, offset: number, length: number, options?: ReadRangeOptions): Promise<Uint8Array> {
    const { packed } = this.#repository.contents;
    if (packed === undefined) throw new DrayError("INVARIANT", "Cannot read a range of a pack: contents do not lie in packs here");
    return await packed.readRange(pack, offset, length, options);
  }

  async readContent({ id, pack, originalLength }: ContentRef, signal?: AbortSignal): Promise<Uint8Array> {
    if (pack !== undefined && this.#gone.has(pack) && this.#repository.contents.info(parseObjectId(id).contentId)?.packBlobId === pack)
      throw missingPack(id, pack);
    try {
      return await this.#repository.objects.readChunk({ offset: 0, length: originalLength, objectId: id as ObjectId }, { signal });
    } catch (error) {
      if (pack !== undefined && hasCode(error, "REPO_CORRUPT") && hasCode(error.cause, "BLOB_NOT_FOUND")) this.#gone.add(pack);
      throw error;
    }
  }

  /** Another writer may have stored it since the index was loaded. */
  async #refreshed(id: ContentId, signal?: AbortSignal): Promise<ContentInfo> {
    await this.#repository.contents.refresh(signal);
    const info = this.#repository.contents.info(id);
    if (info === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read content "${id}": no index names it`, { context: { contentId: id } });
    return info;
  }

  #contentOf({ id, packBlobId, packOffset, packedLength, originalLength, compressionId }: ContentInfo): ContentRef {
    const pack = this.#decoderOptions === undefined ? undefined : packBlobId;
    return { id, pack, offset: packOffset, length: packedLength, originalLength, form: compressionId };
  }
}

/**
 * How much around a listing or a list of chunks is fetched with it: about what all of them take. Nothing where they are so few that each by itself costs no request more, and as much as
 * usual of a directory that does not say what is below it.
 */
function aroundEachOf(root: Root | undefined): ReadContentOptions {
  if (root === undefined || (root.type === "directory" && root.summary === undefined)) return {};
  const { size, files, symlinks, directories } = root.summary ?? { size: root.size, files: 1, symlinks: 0, directories: 0 };
  const chunks = size / CHUNK_BYTES;
  const isFew = directories + Math.min(files, chunks) <= ALONE_MAX;
  return { aroundBytes: isFew ? 0 : (files + symlinks) * ENTRY_BYTES + directories * DIRECTORY_BYTES + chunks * CHUNK_ENTRY_BYTES };
}

/** Devices, pipes and sockets come last: they are kept beside the entries. */
class KopiaListing implements SourceListing<Ref> {
  readonly #listing: DirectoryListing;

  constructor(listing: DirectoryListing) {
    this.#listing = listing;
  }

  async *batches(): AsyncGenerator<readonly RestoreEntry<Ref>[]> {
    for await (const batch of this.#listing.batches()) yield batch.map(restoreEntryOf);
    const { special } = this.#listing.extension;
    if (special.length > 0) yield special.map(restoreEntryOfSpecial);
  }

  get xattrs(): readonly StoredAttribute[] {
    return this.#listing.extension.xattrs;
  }

  get missing(): number {
    return missingOf(this.#listing.summary);
  }
}

function restoreEntryOfSpecial({ name, kind, mode, mtimeNs, uid, gid, device, extension }: SpecialEntry): RestoreEntry<Ref> {
  return { name, type: kind, mode, uid, gid, mtimeNs, size: 0, ref: undefined, ...(device === undefined ? {} : { device }), ...extension };
}

function objectOf(ref: Ref): ObjectId {
  if (ref === undefined) throw new DrayError("INVARIANT", "Cannot read an entry that has no object");
  return ref;
}

function missingPack(id: string, pack: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read content "${id}": its pack "${pack}" is missing`, { context: { contentId: id, packBlobId: pack } });
}

/** Of contents that lie in no packs, none is decoded. */
const nothingPacked: ContentDecoder = {
  decode: ({ length }) => {
    throw new DrayError("INVARIANT", `Cannot decode ${length} bytes: contents do not lie in packs here`);
  },
  isGenuine: () => true,
};
