/**
 * Finds what no snapshot refers to (kopia-format.md 8.6). Only manifests of type `snapshot` are roots; contents with prefix `m`, the manifests themselves, are left alone.
 *
 * Unlike Kopia, which passes over a snapshot that it cannot read and then collects its data, this stops: what cannot be read may still be needed.
 */
import { DrayError } from "@drayage/base";
import type { Contents } from "../content/contents.ts";
import type { ContentId, ContentInfo, ContentReader } from "../content-port.ts";
import { MANIFEST_PREFIX } from "../manifest/manifest-content.ts";
import { type ObjectId, parseObjectId } from "../object/object-id.ts";
import { type Decompress, ObjectReader } from "../object/object-reader.ts";
import type { DirectoryEntry } from "../snapshot/directory-entry.ts";
import { DirectoryListing } from "../snapshot/directory-listing.ts";
import type { SnapshotStore } from "../snapshot/snapshot-store.ts";
import { ContentMarks } from "./content-marks.ts";
import type { MaintenanceTimes } from "./pack-tasks.ts";

/** So many changes are made part of the repository at a time. */
const FLUSH_EVERY = 100_000;
/** Directories that were walked already; of more, some are walked again. */
const REMEMBERED_MAX = 500_000;

export interface CollectionPlan {
  readonly snapshots: number;
  readonly inUse: number;
  readonly inUseBytes: number;
  /** In use, yet marked deleted. */
  readonly toUndelete: readonly ContentId[];
  readonly toDelete: readonly ContentId[];
  readonly toDeleteBytes: number;
  /** Unused, but too young to be taken. */
  readonly tooRecent: number;
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
  return sortContents(on.contents, marks, snapshots.length, times);
}

export async function applyCollection(contents: Contents, plan: CollectionPlan, signal?: AbortSignal): Promise<void> {
  let changes = 0;
  const change = async (work: Promise<void>): Promise<void> => {
    await work;
    if (++changes % FLUSH_EVERY === 0) await contents.flush(signal);
  };
  for (const id of plan.toUndelete) await change(contents.rewrite(id, { deleted: false }, signal));
  for (const id of plan.toDelete) await change(contents.delete(id));
  await contents.flush(signal);
}

function sortContents(contents: Contents, marks: ContentMarks, snapshots: number, { startedMs, safety }: MaintenanceTimes): CollectionPlan {
  const toUndelete: ContentId[] = [];
  const toDelete: ContentId[] = [];
  let inUse = 0;
  let inUseBytes = 0;
  let toDeleteBytes = 0;
  let tooRecent = 0;
  for (const info of contents.list({ includeDeleted: true })) {
    if (info.id.startsWith(MANIFEST_PREFIX)) continue;
    if (marks.has(info.id)) {
      inUse++;
      inUseBytes += info.packedLength;
      if (info.deleted) toUndelete.push(info.id);
    } else if (startedMs - info.timestampSeconds * 1000 < safety.minContentAgeMs) {
      tooRecent++;
    } else if (!info.deleted) {
      toDelete.push(info.id);
      toDeleteBytes += info.packedLength;
    }
  }
  return { snapshots, inUse, inUseBytes, toUndelete, toDelete, toDeleteBytes, tooRecent };
}

/** Marks the contents behind every entry of a tree. */
class LiveWalk {
  readonly #objects: ObjectReader;
  readonly #contents: ContentReader;
  readonly #marks: ContentMarks;
  readonly #signal: AbortSignal | undefined;
  readonly #seen = new Set<ObjectId>();

  constructor({ contents, decompress }: CollectionDependencies, marks: ContentMarks, signal: AbortSignal | undefined) {
    // Whatever is read on the way is in use: listings, and lists of lists.
    this.#contents = contents;
    this.#objects = new ObjectReader(new MarkingReader(contents, marks), decompress);
    this.#marks = marks;
    this.#signal = signal;
  }

  async entry(root: DirectoryEntry): Promise<void> {
    await this.#object(root.objectId);
    const directories: ObjectId[] = root.type === "directory" ? [root.objectId] : [];
    for (let id = directories.pop(); id !== undefined; id = directories.pop()) {
      this.#signal?.throwIfAborted();
      if (this.#seen.has(id)) continue;
      if (this.#seen.size < REMEMBERED_MAX) this.#seen.add(id);
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
    for await (const chunk of this.#objects.chunks(id, this.#signal)) this.#mark(parseObjectId(chunk.objectId).contentId);
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

  get(id: ContentId, signal?: AbortSignal): Promise<Uint8Array> {
    this.#marks.mark(id);
    return this.#contents.get(id, signal);
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
