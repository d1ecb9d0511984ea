/**
 * Finds what no snapshot refers to (kopia-format.md 8.6). Only manifests of type `snapshot` are roots; contents with prefix `m`, the manifests themselves, are left alone.
 *
 * Unlike Kopia, which passes over a snapshot that it cannot read and then collects its data, this stops: what cannot be read may still be needed.
 */
import { DrayError } from "@drayage/base";
import { idOfKey, prefixByte } from "../content/content-id.ts";
import type { Contents } from "../content/contents.ts";
import type { ContentId, ContentInfo, ContentReader, ReadContentOptions } from "../content-port.ts";
import { encodeIndex } from "../index-blobs/index-codec.ts";
import { IndexV2Builder } from "../index-blobs/index-v2.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import { MANIFEST_PREFIX } from "../manifest/manifest-content.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { type Decompress, ObjectReader } from "../object/object-reader.ts";
import type { DirectoryEntry } from "../snapshot/directory-entry.ts";
import { DirectoryListing } from "../snapshot/directory-listing.ts";
import type { SnapshotStore } from "../snapshot/snapshot-store.ts";
import { checkWriterClock } from "./clock-check.ts";
import { ContentMarks } from "./content-marks.ts";
import type { MaintenanceTimes } from "./pack-tasks.ts";

/** So many deletions go into an index blob; while it is made each takes about 70 bytes. */
const DELETIONS_AT_ONCE = 250_000;
/** So many contents that were taken back become part of the repository at a time. */
const FLUSH_EVERY = 10_000;

/** What would be done, in numbers, and what it takes to do it: the marks, from which each content is sorted once more. */
export interface CollectionPlan {
  readonly snapshots: number;
  readonly inUse: number;
  readonly inUseBytes: number;
  /** In use, yet marked deleted. */
  readonly toUndelete: number;
  readonly toDelete: number;
  readonly toDeleteBytes: number;
  /** Unused, but too young to be taken. */
  readonly tooRecent: number;
  readonly marks: ContentMarks;
  readonly times: MaintenanceTimes;
}

export interface CollectionDependencies {
  readonly contents: Contents;
  readonly snapshots: SnapshotStore;
  readonly decompress: Decompress;
}

/** Walks every snapshot and sorts the contents. Throws REPO_CORRUPT when a snapshot or a listing cannot be read. */
export async function planCollection(on: CollectionDependencies, times: MaintenanceTimes, signal?: AbortSignal): Promise<CollectionPlan> {
  const { snapshots, unreadable } = await on.snapshots.list(signal === undefined ? {} : { signal });
  const [bad] = unreadable;
  if (bad !== undefined) {
    throw new DrayError("REPO_CORRUPT", `Cannot collect garbage: snapshot "${bad.id}" cannot be read, so what it needs is not known`, {
      cause: bad.error,
      hint: "Delete the snapshot if it is of no use, then run maintenance again.",
    });
  }
  const marks = new ContentMarks(on.contents.indexes());
  const walk = new LiveWalk(on, marks, signal);
  for (const { id, rootEntry } of snapshots) {
    if (rootEntry === undefined) throw new DrayError("REPO_CORRUPT", `Cannot collect garbage: snapshot "${id}" names no root`);
    await walk.entry(rootEntry);
  }
  return countContents(on.contents, marks, snapshots.length, times);
}

/** Does it: takes back deletions first, so that nothing is ever less safe than it was. Memory does not grow with what there is to do. */
export async function applyCollection(contents: Contents, plan: CollectionPlan, signal?: AbortSignal): Promise<void> {
  let undeleted = 0;
  if (plan.toUndelete > 0) {
    for (const { entry, verdict } of sortContents(contents, plan.marks, plan.times)) {
      if (verdict !== "undelete") continue;
      await contents.rewrite(idOfKey(entry.key), { deleted: false }, signal);
      if (++undeleted % FLUSH_EVERY === 0) await contents.flush(signal);
    }
    await contents.flush(signal);
  }
  if (plan.toDelete === 0) return;
  const nowSeconds = Math.floor(plan.times.nowMs / 1000);
  let deletions = new DeletionIndex(contents.format.block.indexVersion, Math.min(plan.toDelete, DELETIONS_AT_ONCE));
  for (const { entry, verdict } of sortContents(contents, plan.marks, plan.times)) {
    if (verdict !== "delete") continue;
    deletions.add({ ...entry, deleted: true, timestampSeconds: Math.max(nowSeconds, entry.timestampSeconds + 1) });
    if (deletions.count < DELETIONS_AT_ONCE) continue;
    await contents.commitEntries([deletions.build()], signal);
    deletions = new DeletionIndex(contents.format.block.indexVersion, DELETIONS_AT_ONCE);
  }
  if (deletions.count > 0) await contents.commitEntries([deletions.build()], signal);
}

/** Deletions as an index, which for version 2 needs no object for each. */
class DeletionIndex {
  readonly #version: number;
  readonly #expected: number;
  readonly #kept: IndexEntry[] = [];
  #builder: IndexV2Builder | undefined;
  count = 0;

  constructor(version: number, expected: number) {
    this.#version = version;
    this.#expected = expected;
  }

  add(entry: IndexEntry): void {
    this.count++;
    if (this.#version === 1) {
      this.#kept.push({ ...entry, key: entry.key.slice() });
      return;
    }
    this.#builder ??= new IndexV2Builder(entry.key.length, this.#expected);
    this.#builder.add(entry);
  }

  build(): Uint8Array {
    return this.#builder?.build() ?? encodeIndex(this.#version, this.#kept);
  }
}

type Verdict = "inUse" | "undelete" | "tooRecent" | "delete" | "deleted";

/** Every content that was there when the marks were made, the manifests themselves left out, with what becomes of it. */
function* sortContents(
  contents: Contents,
  marks: ContentMarks,
  { startedMs, safety }: MaintenanceTimes,
): IterableIterator<{ readonly entry: IndexEntry; readonly verdict: Verdict }> {
  const manifests = prefixByte(MANIFEST_PREFIX);
  const watermark = contents.deletionWatermark;
  for (const entry of marks.entries()) {
    if (entry.key[0] === manifests || (entry.deleted && entry.timestampSeconds <= watermark)) continue;
    if (marks.hasKey(entry.key)) yield { entry, verdict: entry.deleted ? "undelete" : "inUse" };
    else if (startedMs - entry.timestampSeconds * 1000 < safety.minContentAgeMs) yield { entry, verdict: "tooRecent" };
    else yield { entry, verdict: entry.deleted ? "deleted" : "delete" };
  }
}

function countContents(contents: Contents, marks: ContentMarks, snapshots: number, times: MaintenanceTimes): CollectionPlan {
  const counts: Record<Verdict, number> = { inUse: 0, undelete: 0, tooRecent: 0, delete: 0, deleted: 0 };
  let inUseBytes = 0;
  let toDeleteBytes = 0;
  let latestSeconds = 0;
  for (const { entry, verdict } of sortContents(contents, marks, times)) {
    counts[verdict]++;
    if (verdict === "inUse" || verdict === "undelete") inUseBytes += entry.packedLength;
    if (verdict === "delete") toDeleteBytes += entry.packedLength;
    if (entry.timestampSeconds > latestSeconds) latestSeconds = entry.timestampSeconds;
  }
  checkWriterClock(contents.storage.description, latestSeconds, times);
  return {
    ...{ snapshots, inUse: counts.inUse + counts.undelete, inUseBytes, toUndelete: counts.undelete, toDelete: counts.delete, toDeleteBytes },
    ...{ tooRecent: counts.tooRecent, marks, times },
  };
}

/** Marks the contents behind every entry of a tree. */
class LiveWalk {
  readonly #objects: ObjectReader;
  readonly #contents: ContentReader;
  readonly #marks: ContentMarks;
  readonly #signal: AbortSignal | undefined;
  /** Directories that were walked already: a bit each, as of contents in use. */
  readonly #walked: ContentMarks;

  constructor({ contents, decompress }: CollectionDependencies, marks: ContentMarks, signal: AbortSignal | undefined) {
    // Whatever is read on the way is in use: listings, and lists of lists.
    this.#contents = contents;
    this.#objects = new ObjectReader(new MarkingReader(contents, marks), decompress);
    this.#marks = marks;
    this.#walked = new ContentMarks(contents.indexes());
    this.#signal = signal;
  }

  async entry(root: DirectoryEntry): Promise<void> {
    await this.#object(root.objectId);
    const directories: ObjectId[] = root.type === "directory" ? [root.objectId] : [];
    for (let id = directories.pop(); id !== undefined; id = directories.pop()) {
      this.#signal?.throwIfAborted();
      // One listing has one content that begins it, of which a list of lists counts as another.
      const { contentId } = parseObjectId(id);
      if (this.#walked.has(contentId)) continue;
      this.#walked.mark(contentId);
      for await (const child of new DirectoryListing(this.#objects, id, this.#signal).entries()) {
        await this.#object(child.objectId);
        if (child.type === "directory") directories.push(child.objectId);
      }
    }
  }

  /** Marks an object without reading its data: a direct one by its id, an indirect one by its lists. */
  async #object(id: ObjectId): Promise<void> {
    const { indirection, contentId } = parseObjectId(id);
    if (indirection === 0) {
      this.#mark(contentId);
      return;
    }
    for await (const chunk of this.#objects.chunks(id, { signal: this.#signal })) this.#mark(parseObjectId(chunk.objectId).contentId);
  }

  #mark(id: ContentId): void {
    // Known, and not deleted for good. While an index is lost its packs look unused: nothing may be collected until it is found again.
    if (this.#contents.info(id) !== undefined && this.#marks.mark(id)) return;
    throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot collect garbage: a snapshot needs content "${id}", which no index names`, {
      context: { contentId: id },
      hint: "Run `dray repo verify` to see which snapshots are damaged.",
    });
  }
}

/** Contents of which every one that is read is marked. */
class MarkingReader implements ContentReader {
  readonly #contents: ContentReader;
  readonly #marks: ContentMarks;

  constructor(contents: ContentReader, marks: ContentMarks) {
    this.#contents = contents;
    this.#marks = marks;
  }

  get(id: ContentId, signal?: AbortSignal, options?: ReadContentOptions): Promise<Uint8Array> {
    this.#marks.mark(id);
    return this.#contents.get(id, signal, options);
  }

  info(id: ContentId): ContentInfo | undefined {
    return this.#contents.info(id);
  }

  list(options?: Parameters<ContentReader["list"]>[0]): IterableIterator<ContentInfo> {
    return this.#contents.list(options);
  }

  refresh(signal?: AbortSignal): Promise<void> {
    return this.#contents.refresh(signal);
  }
}
