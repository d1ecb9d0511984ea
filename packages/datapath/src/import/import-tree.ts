/**
 * Walks the tree of a restic snapshot and stores it as Kopia has trees: the contents of each file are read once, cut and hashed anew, and every directory becomes a listing.
 *
 *   tree ─► directories, depth first ─────────────────────────────► listing, in Kopia's order: directories, then everything else
 *     └──► files, a few at a time: a checkpoint has it? ─► taken over
 *                                  └► packs ─► authenticated, hashed ─► cut ─► deduplicated ─► stored
 *
 * What the source cannot give is a problem of its entry; everything else that is thrown ends the import.
 *
 * Memory: the tree of each level, and for each file under way a chunk, and neighbours of one pack.
 */
import { DrayError } from "@drayage/base";
import {
  type DirectoryEntry,
  DirectoryListingWriter,
  EXTENDED_VERSION,
  type ObjectId,
  ObjectWriter,
  type SpecialEntry,
  textOfByteString,
  type WrittenDirectory,
} from "@drayage/repo";
import type { ResticRepository } from "@drayage/restic";
import { isDamage } from "../restore/planned-transfer.ts";
import { type ResticRef, ResticSource } from "../restore/restic-source.ts";
import type { RestoreEntry } from "../restore/restore-source.ts";
import type { DirectoryUnderWay } from "../upload/checkpoints.ts";
import { InOrder } from "../upload/in-order.ts";
import { ParentLookup } from "../upload/parent-lookup.ts";
import { below, extensionOf } from "../upload/source-entry.ts";
import { countContent } from "../upload/upload-context.ts";
import type { ImportContext } from "./import-context.ts";

/** Files that are read side by side: each may hold a chunk of the largest size and a run of its pack. */
const FILES_AT_ONCE = 8;
/** Entries of one directory that wait for their turn in the listing. */
const WAITING_MAX = 256;
/** No file system nests deeper than paths can be long. */
const DEPTH_MAX = 4096;
/** Files with several names whose data is remembered; of more, the further names are read again and deduplicated. */
const LINKED_FILES_MAX = 200_000;
const SPECIAL_KINDS: ReadonlySet<string> = new Set(["fifo", "socket", "char", "block"]);

type Entry = RestoreEntry<ResticRef>;

interface Stored {
  readonly objectId: ObjectId;
  readonly size: number;
}

interface Level {
  readonly path: string;
  readonly depth: number;
  readonly underWay: DirectoryUnderWay;
  readonly parents: readonly ParentLookup[];
}

export class ImportTree {
  readonly #context: ImportContext;
  readonly #repository: ResticRepository;
  readonly #source: ResticSource;
  readonly #linked = new Map<string, Promise<Stored>>();
  #filesUnderWay = 0;
  #wake: (() => void)[] = [];

  constructor(context: ImportContext, repository: ResticRepository) {
    this.#context = context;
    this.#repository = repository;
    this.#source = new ResticSource(repository);
  }

  async root(root: Entry, parents: readonly ObjectId[]): Promise<DirectoryEntry> {
    const underWay = this.#begin(root);
    const { checkpoints } = this.#context;
    checkpoints.root = underWay;
    try {
      return { ...underWay.entry, ...(await this.#directory(root, { path: "", depth: 0, underWay, parents: this.#lookups(parents) })) };
    } finally {
      checkpoints.root = undefined;
    }
  }

  #begin(entry: Entry): DirectoryUnderWay {
    const { repository, meter } = this.#context;
    const listing = new DirectoryListingWriter(repository.objectWriters, countContent(meter));
    const { name, mode, mtimeNs, uid, gid } = entry;
    return { entry: { name, type: "directory", size: 0, mode, mtimeNs, uid, gid }, listing, children: new Set(), files: new Set(), closing: undefined };
  }

  #lookups(parents: readonly ObjectId[]): ParentLookup[] {
    return parents.map((parent) => new ParentLookup(this.#context.repository.objects, parent, this.#context.signal));
  }

  /** Ends when everything in the directory is stored. Throws REPO_CORRUPT or REPO_CONTENT_NOT_FOUND when its own tree cannot be read. */
  async #directory(directory: Entry, level: Level): Promise<WrittenDirectory> {
    const { signal, counts } = this.#context;
    const { underWay, path } = level;
    const order = new InOrder();
    const special: SpecialEntry[] = [];
    try {
      if (level.depth > DEPTH_MAX)
        throw new DrayError("REPO_CORRUPT", `Cannot import directory "${textOfByteString(path)}": it lies ${level.depth} levels deep`);
      // Kopia wants directories before everything else; a tree of restic's has one order for all.
      for await (const entry of this.#entries(directory, path)) if (entry.type === "directory") await this.#subdirectory(entry, level);
      for await (const entry of this.#entries(directory, path)) {
        if (entry.type === "file") await this.#file(entry, level, order);
        else if (entry.type === "symlink") await this.#symlink(entry, level, order);
        else if (SPECIAL_KINDS.has(entry.type)) special.push(specialOf(entry));
        await order.fewerThan(WAITING_MAX);
      }
      await order.end();
      counts.directories++;
      const xattrs = directory.xattrs ?? [];
      underWay.closing = underWay.listing.finish({ mtimeNs: directory.mtimeNs, extension: { version: EXTENDED_VERSION, xattrs, special } }, signal);
      return await underWay.closing;
    } finally {
      await order.settled();
      for (const lookup of level.parents) await lookup.close();
      underWay.listing.abandon();
    }
  }

  /** The entries of a tree, which must be in the order that listings are in. */
  async *#entries(directory: Entry, path: string): AsyncGenerator<Entry> {
    let before: string | undefined;
    for await (const batch of this.#source.list(directory, this.#context.signal).batches()) {
      for (const entry of batch) {
        if (before !== undefined && entry.name <= before) {
          throw new DrayError(
            "REPO_CORRUPT",
            `Cannot import directory "${textOfByteString(path)}": ${JSON.stringify(textOfByteString(entry.name))} is out of order`,
          );
        }
        before = entry.name;
        yield entry;
      }
    }
  }

  async #subdirectory(entry: Entry, level: Level): Promise<void> {
    const path = below(level.path, entry.name);
    const underWay = this.#begin(entry);
    const parents: ObjectId[] = [];
    for (const lookup of level.parents) {
      const found = await lookup.find({ name: entry.name, type: "directory" });
      if (found !== undefined) parents.push(found.objectId);
    }
    level.underWay.children.add(underWay);
    try {
      const written = await this.#directory(entry, { path, depth: level.depth + 1, underWay, parents: this.#lookups(parents) });
      await level.underWay.listing.add({ ...underWay.entry, ...written }, this.#context.signal);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#fail(level, path, error);
    } finally {
      level.underWay.children.delete(underWay);
    }
    await this.#rest();
  }

  async #file(entry: Entry, level: Level, order: InOrder): Promise<void> {
    const { signal, counts, meter } = this.#context;
    const path = below(level.path, entry.name);
    const taken = await this.#taken(entry, level);
    await this.#rest();
    const known = taken === undefined ? this.#otherName(entry) : Promise.resolve(taken);
    if (known === undefined) await this.#room();
    const data = known ?? this.#read(entry, path);
    if (entry.linkGroup !== undefined && this.#linked.size < LINKED_FILES_MAX) this.#linked.set(entry.linkGroup, data);
    const outcome = data.then(
      (stored) => ({ stored }),
      (error: unknown) => {
        if (!isDamage(error)) throw error;
        return { error };
      },
    );
    order.push(outcome, async (result) => {
      if ("error" in result) return this.#fail(level, path, result.error);
      const { objectId, size } = result.stored;
      counts.files++;
      counts.bytes += size;
      meter.counts.filesDone++;
      if (known !== undefined) {
        counts.cachedFiles++;
        meter.counts.bytesDone += size;
      }
      await level.underWay.listing.add(entryOf(entry, "file", size, objectId), signal);
    });
  }

  /** What a checkpoint of this very snapshot has of the file. */
  async #taken(entry: Entry, { parents }: Level): Promise<Stored | undefined> {
    let found: DirectoryEntry | undefined;
    for (const lookup of parents) found ??= await lookup.find({ name: entry.name, type: "file" });
    if (found === undefined || found.size !== entry.size || found.mtimeNs !== entry.mtimeNs) return undefined;
    return { objectId: found.objectId, size: found.size };
  }

  #otherName({ linkGroup }: Entry): Promise<Stored> | undefined {
    return linkGroup === undefined ? undefined : this.#linked.get(linkGroup);
  }

  /** Reads one file and stores it. Throws REPO_CORRUPT, also when it is not as long as its entry says. */
  async #read(entry: Entry, path: string): Promise<Stored> {
    const { repository, signal, meter, compressor } = this.#context;
    const { ref, size } = entry;
    this.#filesUnderWay++;
    const options = { onContent: countContent(meter), ...(compressor === undefined ? {} : { compressor }) };
    const object = new ObjectWriter(repository.objectWriters, options);
    try {
      for await (const piece of this.#repository.readFile(ref !== undefined && "contents" in ref ? ref.contents : new Uint8Array(0), signal)) {
        await object.write(piece, signal);
        meter.counts.bytesDone += piece.length;
        await this.#rest(2);
      }
      if (object.length !== size) {
        throw new DrayError("REPO_CORRUPT", `Cannot import "${textOfByteString(path)}": its contents have ${object.length} bytes, its entry says ${size}`);
      }
      const { objectId } = await object.finish(signal);
      return { objectId, size };
    } finally {
      object.abandon();
      this.#filesUnderWay--;
      for (const wake of this.#wake.splice(0)) wake();
    }
  }

  async #symlink(entry: Entry, level: Level, order: InOrder): Promise<void> {
    const { repository, meter, signal } = this.#context;
    const store = async (): Promise<DirectoryEntry> => {
      const object = new ObjectWriter(repository.objectWriters, { onContent: countContent(meter) });
      try {
        await object.write(entry.linkTarget ?? new Uint8Array(0), signal);
        return entryOf(entry, "symlink", entry.size, (await object.finish(signal)).objectId);
      } finally {
        object.abandon();
      }
    };
    order.push(await store(), (stored) => level.underWay.listing.add(stored, signal));
  }

  #fail(level: Level, path: string, error: unknown): void {
    const { message } = this.#context.problems.add(path, error);
    this.#context.meter.counts.errors++;
    level.underWay.listing.addFailure({ path: textOfByteString(path), error: message });
  }

  async #room(): Promise<void> {
    while (this.#filesUnderWay >= FILES_AT_ONCE) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async #rest(cost = 1): Promise<void> {
    const { pacer, checkpoints } = this.#context;
    await pacer.pace(cost);
    await checkpoints.saveIfDue();
  }
}

function entryOf(entry: Entry, type: "file" | "symlink", size: number, objectId: ObjectId): DirectoryEntry {
  const { name, mode, mtimeNs, uid, gid, linkGroup, xattrs } = entry;
  return { name, type, mode, size, mtimeNs, uid, gid, objectId, ...extensionOf({ linkGroup, holes: [], xattrs }) };
}

function specialOf(entry: Entry): SpecialEntry {
  const { name, type, mode, mtimeNs, uid, gid, device, linkGroup, xattrs } = entry;
  return {
    ...{ name, kind: type as SpecialEntry["kind"], mode, mtimeNs, uid, gid },
    ...(device === undefined ? {} : { device }),
    ...extensionOf({ linkGroup, holes: [], xattrs }),
  };
}
