/**
 * Loads the index files of a repository into one table. Where some are missing or damaged, the packs that no other one names are asked themselves: each says at its end what it
 * holds.
 */
import { forEachLimit, hasCode } from "@drayage/base";
import { decodeIndexFile } from "../format/index-file.ts";
import { corrupt } from "../format/json.ts";
import { decodePackHeader, PACK_TRAILER_BYTES, type PackedContent, packHeaderRange } from "../format/pack-header.ts";
import { type FileKind, listFiles, listPacks } from "../layout.ts";
import { readUnpacked } from "../read-unpacked.ts";
import type { ResticRepository, Unreadable } from "../repository.ts";
import { ContentIndex } from "./content-index.ts";

export interface IndexReport {
  readonly index: ContentIndex;
  readonly files: number;
  /** Index files that could not be read. */
  readonly unreadable: readonly Unreadable[];
  /** Packs whose contents were learned from the packs themselves. */
  readonly packsRead: number;
  /** Packs that no index names and that could not be read either. */
  readonly unreadablePacks: readonly Unreadable[];
}

/** Index files being fetched at once: some 8 MiB each. */
const FILES_AT_ONCE = 4;
const HEADERS_AT_ONCE = 16;
const INDEX: FileKind = "index";

/** Throws BLOB_* when the store cannot be asked; what is damaged is in the report. */
export async function loadIndex(repository: ResticRepository, signal?: AbortSignal): Promise<IndexReport> {
  const index = new ContentIndex();
  const unreadable: Unreadable[] = [];
  const packsOf = new Map<string, string[]>();
  const superseded = new Set<string>();
  await forEachLimit(
    listFiles(repository.store, repository.layout, INDEX, signal),
    FILES_AT_ONCE,
    async ({ id }) => {
      try {
        const json = await readUnpacked(repository, "index", id, signal);
        const packs: string[] = [];
        const decoded = decodeIndexFile(json, `index "${id}" of ${repository.description}`);
        let next = decoded.next();
        for (; next.done !== true; next = decoded.next()) {
          // In force is known when all files were read.
          index.addPack(next.value.id, next.value.contents, false);
          packs.push(next.value.id);
        }
        packsOf.set(id, packs);
        for (const other of next.value) superseded.add(other);
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND")) throw error;
        unreadable.push({ id, error });
      }
    },
    signal,
  );
  for (const [id, packs] of packsOf) if (!superseded.has(id)) for (const pack of packs) index.setInForce(pack);
  const found = unreadable.length > 0 || packsOf.size === 0 ? await addFromPacks(repository, index, signal) : { packsRead: 0, unreadablePacks: [] };
  return { index, files: packsOf.size + unreadable.length, unreadable, ...found };
}

async function addFromPacks(
  repository: ResticRepository,
  index: ContentIndex,
  signal: AbortSignal | undefined,
): Promise<{ readonly packsRead: number; readonly unreadablePacks: readonly Unreadable[] }> {
  let packsRead = 0;
  const unreadablePacks: Unreadable[] = [];
  await forEachLimit(
    listPacks(repository.store, signal),
    HEADERS_AT_ONCE,
    async ({ id, length }) => {
      if (index.hasPack(id)) return;
      try {
        index.addPack(id, await readPackHeader(repository, id, length, signal), true);
        packsRead++;
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT", "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE")) throw error;
        unreadablePacks.push({ id, error });
      }
    },
    signal,
  );
  return { packsRead, unreadablePacks };
}

/** What a pack of `packBytes` bytes says of itself. Throws REPO_CORRUPT, BLOB_NOT_FOUND. */
export async function readPackHeader(repository: ResticRepository, pack: string, packBytes: number, signal?: AbortSignal): Promise<PackedContent[]> {
  const what = `pack "${pack}"`;
  if (packBytes < PACK_TRAILER_BYTES) throw corrupt(what, `it has ${packBytes} bytes`);
  const trailer = await repository.readRange(pack, packBytes - PACK_TRAILER_BYTES, PACK_TRAILER_BYTES, signal);
  const { offset, length } = packHeaderRange(trailer, packBytes, what);
  const header = repository.opener.open(await repository.readRange(pack, offset, length, signal));
  if (header === undefined) throw corrupt(what, "its header is damaged: its authentication does not match");
  return decodePackHeader(header, offset, what);
}
