/**
 * Listings that were written anew, and the files that were read for them, on their way into packs: of many directories together, since each has a few small contents, and storing them
 * directory by directory costs more than the contents.
 *
 *   written anew ─► copied here, its object id known ─► enough of them: files into the lane of this thread, listings into their pack ─► part of the listing above
 *
 * Memory: a buffer of file data and one of listings, each with room for several directories of the largest size.
 */
import { type ByteRanges, type ComparedDirectory, FOUND, REWRITTEN_FILES_MAX } from "@drayage/kernels";
import { directObjectId, LISTING_PREFIX, makeContentId, type ObjectId } from "@drayage/repo";
import type { UploadLanes } from "./lanes/upload-lanes.ts";
import { countContent, type ListingRewrite, type UploadContext } from "./upload-context.ts";

/** Fewer than the directories that may wait for their turn in a listing. */
const LISTINGS_MAX = 24;
const BUFFER_BYTES = 1 << 20;

export interface AddedListing {
  readonly objectId: ObjectId;
  /** Of the files that were read. */
  readonly changedBytes: number;
  /** Resolves when all of it is stored; rejects with what the upload ends with. */
  readonly stored: Promise<void>;
}

export class RewrittenListings {
  readonly #context: UploadContext;
  readonly #lanes: UploadLanes;
  readonly #rewrite: ListingRewrite;
  readonly #files: Gathered;
  readonly #listings: Gathered;
  readonly #originalLengths = new Uint32Array(LISTINGS_MAX);
  readonly #compressionIds = new Uint32Array(LISTINGS_MAX);
  #waiting = newWaiting();

  constructor(context: UploadContext, lanes: UploadLanes, rewrite: ListingRewrite) {
    this.#context = context;
    this.#lanes = lanes;
    this.#rewrite = rewrite;
    this.#files = new Gathered(BUFFER_BYTES, LISTINGS_MAX * REWRITTEN_FILES_MAX, rewrite.digestBytes);
    this.#listings = new Gathered(BUFFER_BYTES, LISTINGS_MAX, rewrite.digestBytes);
  }

  /**
   * Takes a copy of what was written anew into the memory; undefined where this thread has no lane for its files. One call at a time, and none beside `flush`.
   * Throws what storing those before it throws.
   */
  async add({ found, rewritten }: ComparedDirectory): Promise<AddedListing | undefined> {
    if (rewritten === undefined || !this.#lanes.storesHere) return undefined;
    const { data, ranges, hashes, text, payload, digestBytes } = rewritten;
    const { [FOUND.changed]: changed = 0, [FOUND.text]: textBytes = 0, [FOUND.payload]: payloadBytes = 0 } = found;
    const lengths = ranges.subarray(ranges.length / 2);
    const isCompressed = payloadBytes > 0;
    const listing = isCompressed ? payload.subarray(0, payloadBytes) : text.subarray(0, textBytes);
    let changedBytes = 0;
    for (let i = 0; i < changed; i++) changedBytes += lengths[i] ?? 0;
    if (!this.#files.hasRoom(changed, changedBytes) || !this.#listings.hasRoom(1, listing.length)) await this.flush();
    this.#files.add(data.subarray(0, changedBytes), lengths, changed, hashes);
    const { headerId } = this.#rewrite;
    if (isCompressed) for (let i = 0; i < 4; i++) payload[i] = headerId >>> (24 - 8 * i);
    const hash = hashes.subarray(changed * digestBytes, (changed + 1) * digestBytes);
    this.#originalLengths[this.#listings.count] = textBytes;
    this.#compressionIds[this.#listings.count] = isCompressed ? headerId : 0;
    this.#listings.add(listing, [listing.length], 1, hash);
    return { objectId: directObjectId(makeContentId(LISTING_PREFIX, hash)), changedBytes, stored: this.#waiting.promise };
  }

  /** Stores what there is. */
  async flush(): Promise<void> {
    if (this.#listings.count === 0) return;
    try {
      await this.#store();
    } catch (error) {
      this.drop(error);
      throw error;
    }
    this.#waiting.resolve();
    this.#clear();
  }

  /** Gives up what there is. */
  drop(error: unknown): void {
    this.#waiting.reject(error);
    this.#clear();
  }

  #clear(): void {
    this.#waiting = newWaiting();
    this.#files.clear();
    this.#listings.clear();
  }

  async #store(): Promise<void> {
    const { repository, signal, meter } = this.#context;
    const { contents } = repository;
    if (this.#files.count > 0 && !(await this.#lanes.storeHashed(this.#files.ranges, this.#files.hashes))) await this.#storeFiles();
    const payloads = this.#listings.ranges;
    const [originalLengths, compressionIds] = [this.#originalLengths, this.#compressionIds];
    const written = await contents.writeReady?.({ prefix: LISTING_PREFIX, hashes: this.#listings.hashes, payloads, originalLengths, compressionIds }, signal);
    let bytes = 0;
    for (let i = 0; i < payloads.count; i++) bytes += originalLengths[i] ?? 0;
    meter.counts.bytesHashed += bytes;
    meter.counts.bytesDeduplicated += written?.knownBytes ?? 0;
    meter.counts.bytesUploaded += written?.packedBytes ?? 0;
  }

  /** Where the threads have taken over all work meanwhile. */
  async #storeFiles(): Promise<void> {
    const { repository, signal, meter } = this.#context;
    const { data, starts, lengths, count } = this.#files.ranges;
    const counted = countContent(meter);
    for (let i = 0; i < count; i++) {
      const [start = 0, length = 0] = [starts[i], lengths[i]];
      counted(await repository.contents.write(data.subarray(start, start + length), {}, signal), length);
    }
  }
}

function newWaiting(): PromiseWithResolvers<void> {
  const waiting = Promise.withResolvers<void>();
  // Whoever wants to know may have been given up by then.
  waiting.promise.catch(() => undefined);
  return waiting;
}

/** Contents one behind the other, with their hashes. */
class Gathered {
  readonly hashes: Uint8Array;
  readonly #data: Uint8Array;
  readonly #starts: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #digestBytes: number;
  #end = 0;
  count = 0;

  constructor(bytes: number, contents: number, digestBytes: number) {
    this.#data = new Uint8Array(bytes);
    this.#starts = new Uint32Array(contents);
    this.#lengths = new Uint32Array(contents);
    this.hashes = new Uint8Array(contents * digestBytes);
    this.#digestBytes = digestBytes;
  }

  get ranges(): ByteRanges {
    return { data: this.#data, starts: this.#starts, lengths: this.#lengths, count: this.count };
  }

  hasRoom(contents: number, bytes: number): boolean {
    return this.count + contents <= this.#starts.length && this.#end + bytes <= this.#data.length;
  }

  add(data: Uint8Array, lengths: ArrayLike<number>, contents: number, hashes: Uint8Array): void {
    this.#data.set(data, this.#end);
    this.hashes.set(hashes.subarray(0, contents * this.#digestBytes), this.count * this.#digestBytes);
    for (let i = 0; i < contents; i++) {
      this.#starts[this.count] = this.#end;
      this.#lengths[this.count++] = lengths[i] ?? 0;
      this.#end += lengths[i] ?? 0;
    }
  }

  clear(): void {
    this.#end = 0;
    this.count = 0;
  }
}
