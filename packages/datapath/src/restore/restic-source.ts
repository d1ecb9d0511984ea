/** A restic repository as the source of a planned restore: entries from its trees, places of contents from its index. */
import { DrayError, hasCode } from "@drayage/base";
import { byteStringOf } from "@drayage/repo";
import { type ContentPlace, decodeTree, ID_BYTES, type ResticNode, type ResticRepository, type ResticSnapshot } from "@drayage/restic";
import { createDecoder } from "./restic-decoder.ts";
import type {
  ContentDecoder,
  ContentRef,
  DecoderModule,
  Piece,
  ReadRangeOptions,
  RestoreEntry,
  RestoreEntryType,
  RestoreSource,
  SourceListing,
} from "./restore-source.ts";

/** The id of a directory's tree, the ids of a file's contents one after the other, or nothing. */
export type ResticRef = { readonly tree: Uint8Array } | { readonly contents: Uint8Array } | undefined;

const TYPES: Readonly<Record<string, RestoreEntryType>> = {
  file: "file",
  dir: "directory",
  symlink: "symlink",
  dev: "block",
  chardev: "char",
  fifo: "fifo",
  socket: "socket",
};
const BATCH_ENTRIES = 256;
const NO_CONTENTS = new Uint8Array(0);
/** Of a file that has more, pieces come one by one: each takes some 300 bytes. */
const KNOWN_PIECES_MAX = 64;
/** Values of a content's `form`. */
const PLAIN = 0;
const COMPRESSED = 1;

/** The root of a snapshot: a directory of which restic keeps nothing but what is in it. */
export function resticRootOf(snapshot: ResticSnapshot): RestoreEntry<ResticRef> {
  return { name: "", type: "directory", mode: 0o755, uid: 0, gid: 0, mtimeNs: snapshot.timeNs, size: 0, ref: { tree: snapshot.tree } };
}

/** Undefined for what restic could not classify either, and stored without content. */
export function restoreEntryOfNode(node: ResticNode): RestoreEntry<ResticRef> | undefined {
  const type = TYPES[node.type];
  if (type === undefined) return undefined;
  const { name, mode, uid, gid, mtimeNs, xattrs } = node;
  // Written out for files, of which there are most: what is optional is looked at where there may be some.
  if (type === "file") {
    const entry = { name, type, mode, uid, gid, mtimeNs, xattrs, size: node.size, ref: { contents: node.contents } };
    // Names of one file share its inode; restic keeps the device beside it where there are several.
    return node.links > 1 ? { ...entry, linkGroup: `${node.deviceId}:${node.inode}` } : entry;
  }
  const ref = type === "directory" && node.subtree !== undefined ? { tree: node.subtree } : undefined;
  const entry = { name, type, mode, uid, gid, mtimeNs, xattrs, size: type === "symlink" ? node.target.length : 0, ref };
  if (type === "symlink") return { ...entry, linkTarget: Buffer.from(node.target, "latin1") };
  return type === "block" || type === "char" ? { ...entry, device: node.device } : entry;
}

export interface ResticSourceOptions {
  /** Extended attributes that come back; all when left out. */
  readonly keepsAttribute?: (name: string) => boolean;
}

export class ResticSource implements RestoreSource<ResticRef> {
  readonly #repository: ResticRepository;
  readonly #keepsAttribute: ((name: string) => boolean) | undefined;

  constructor(repository: ResticRepository, options: ResticSourceOptions = {}) {
    this.#repository = repository;
    this.#keepsAttribute = options.keepsAttribute;
  }

  /** Contents of large files have 1.5 MiB on average: so many are hashed side by side. Nearly all of a pack comes with one request. */
  readonly rangeBytes: number = 16 << 20;

  /** restic reads several files at once, so that contents of files that come one after the other lie between each other in its packs. */
  readonly windowBytes: number = 8 * 2 ** 30;

  get worker(): DecoderModule {
    return { module: new URL("./restic-decoder.ts", import.meta.url).href, options: this.#repository.decoderOptions };
  }

  get bytesFetched(): number {
    return this.#repository.bytesFetched;
  }

  async createDecoder(): Promise<ContentDecoder> {
    return await createDecoder(this.#repository.decoderOptions);
  }

  list(directory: RestoreEntry<ResticRef>, signal?: AbortSignal): SourceListing<ResticRef> {
    return { batches: () => this.#batches(directory, signal), xattrs: directory.xattrs ?? [] };
  }

  async *#batches({ name, ref }: RestoreEntry<ResticRef>, signal?: AbortSignal): AsyncGenerator<readonly RestoreEntry<ResticRef>[]> {
    if (ref === undefined || !("tree" in ref)) throw new DrayError("REPO_CORRUPT", `Cannot list directory ${JSON.stringify(name)}: it has no tree`);
    const id = Buffer.from(ref.tree).toString("hex");
    let batch: RestoreEntry<ResticRef>[] = [];
    for (const node of decodeTree(await this.#repository.readTree(ref.tree, signal), `tree "${id}"`)) {
      const entry = restoreEntryOfNode(this.#withAttributes(node));
      if (entry !== undefined) batch.push(entry);
      if (batch.length < BATCH_ENTRIES) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }

  #withAttributes(node: ResticNode): ResticNode {
    const keeps = this.#keepsAttribute;
    return keeps === undefined || node.xattrs.length === 0 ? node : { ...node, xattrs: node.xattrs.filter(({ name }) => keeps(name)) };
  }

  pieces({ ref }: RestoreEntry<ResticRef>, signal?: AbortSignal): readonly Piece[] | AsyncIterable<Piece> {
    const contents = ref !== undefined && "contents" in ref ? ref.contents : NO_CONTENTS;
    return this.#knownPieces(contents) ?? this.#pieces(contents, signal);
  }

  /** Of a file with few contents that the loaded index has all of: no waiting, which for small files is as much work as the rest. */
  #knownPieces(contents: Uint8Array): readonly Piece[] | undefined {
    if (contents.length === 0) return [];
    const index = this.#repository.loadedIndex;
    if (index === undefined || contents.length > KNOWN_PIECES_MAX * ID_BYTES) return undefined;
    const pieces: Piece[] = [];
    let offset = 0;
    for (let at = 0; at < contents.length; at += ID_BYTES) {
      const place = index.place("data", contents, at);
      if (place === undefined) return undefined;
      pieces.push(pieceOf(contents, at, offset, place));
      offset += place.plainLength;
    }
    return pieces;
  }

  async *#pieces(contents: Uint8Array, signal?: AbortSignal): AsyncGenerator<Piece> {
    let index = await this.#repository.index(signal);
    let offset = 0;
    for (let at = 0; at < contents.length; at += ID_BYTES) {
      let place = index.place("data", contents, at);
      if (place === undefined) {
        index = (await this.#repository.indexAfter(index, signal)) ?? index;
        place = index.place("data", contents, at);
      }
      if (place === undefined) {
        const id = hexAt(contents, at);
        throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot read content "${id}": no index names it`, { context: { content: id } });
      }
      yield pieceOf(contents, at, offset, place);
      offset += place.plainLength;
    }
  }

  async readRange(pack: string, offset: number, length: number, options: ReadRangeOptions = {}): Promise<Uint8Array> {
    try {
      return await this.#repository.readRange(pack, offset, length, options.signal, options.into);
    } catch (error) {
      if (!hasCode(error, "BLOB_INVALID_RANGE")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot read pack "${pack}": it is shorter than the index says`, { cause: error, context: { pack } });
    }
  }

  async readContent({ id }: ContentRef, signal?: AbortSignal): Promise<Uint8Array> {
    return await this.#repository.readContent("data", Buffer.from(id, "hex"), signal);
  }
}

function pieceOf(contents: Uint8Array, at: number, offset: number, { pack, offset: from, length, plainLength, isCompressed }: ContentPlace): Piece {
  const form = isCompressed ? COMPRESSED : PLAIN;
  return { offset, content: { id: hexAt(contents, at), pack, offset: from, length, originalLength: plainLength, form } };
}

function hexAt(contents: Uint8Array, at: number): string {
  return Buffer.from(contents.buffer, contents.byteOffset + at, ID_BYTES).toString("hex");
}

/** The entry at `path` below a snapshot's root; the root itself for an empty path. Throws PATH_NOT_FOUND, REPO_CORRUPT. */
export async function findInResticSnapshot(
  repository: ResticRepository,
  snapshot: ResticSnapshot,
  path: string,
  signal?: AbortSignal,
): Promise<RestoreEntry<ResticRef>> {
  const source = new ResticSource(repository);
  let entry = resticRootOf(snapshot);
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  for (const [depth, name] of names.entries()) {
    const wanted = byteStringOf(name);
    const found = entry.type === "directory" ? await findEntry(source, entry, wanted, signal) : undefined;
    if (found === undefined) {
      throw new DrayError("PATH_NOT_FOUND", `Cannot find "${names.slice(0, depth + 1).join("/")}" in snapshot "${snapshot.id}": it is not there`);
    }
    entry = found;
  }
  return entry;
}

async function findEntry(
  source: ResticSource,
  directory: RestoreEntry<ResticRef>,
  name: string,
  signal?: AbortSignal,
): Promise<RestoreEntry<ResticRef> | undefined> {
  for await (const batch of source.list(directory, signal).batches()) {
    const found = batch.find((entry) => entry.name === name);
    if (found !== undefined) return found;
  }
  return undefined;
}
