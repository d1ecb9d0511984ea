/**
 * What is wrong with a repository, and what can be done about it: a plan, staged on a view of the storage in which the repair has been done. Nobody else may work with the repository
 * meanwhile.
 *
 *   format ─► small blobs ─► index blobs ─► packs ─► contents: found elsewhere, else given up
 *
 * Each thing is first sought in the second copy, where there is one. An index blob that is gone for good is made again from the indexes that packs carry of themselves. A content that is
 * gone for good is marked deleted, so that the next snapshot stores it again instead of counting on it; the snapshots that had it stay, and verification of the view says which files.
 */
import { type Clock, DrayError, hasCode, type Logger, messageOf, nullLogger, type RandomSource, systemClock, systemRandom } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { createKernels } from "@drayage/kernels";
import { type ContentCodec, createContentCodec } from "../content/content-codec.ts";
import { idOfKey, keyOf } from "../content/content-id.ts";
import { type Contents, openContents } from "../content/contents.ts";
import { newSessionId } from "../content/session-id.ts";
import type { ContentId, ContentInfo } from "../content-port.ts";
import type { DeriveFormatKey } from "../format/key-hierarchy.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import { decodeIndex, encodeIndex, shardEntries } from "../index-blobs/index-codec.ts";
import { type IndexEntry, prevails } from "../index-blobs/pack-index.ts";
import { loadSchedule, MAINTENANCE_BLOB_ID } from "../maintenance/maintenance-schedule.ts";
import { readLocalIndex } from "./local-index.ts";
import { repairFormat } from "./repair-format.ts";
import { StagedStorage } from "./staged-storage.ts";

export interface PlanRepairOptions {
  readonly password: string;
  /** A copy of the repository (`syncRepository`), from which is taken what is lost here. */
  readonly copy?: BlobStorage;
  /** Read every content of every pack. Otherwise it is only checked that packs are there and long enough. @default false */
  readonly full?: boolean;
  /** Take up everything that packs say of themselves and no index does. Done by itself where an index blob is lost. @default false */
  readonly rebuildIndex?: boolean;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  readonly deriveKey?: DeriveFormatKey;
  readonly onPack?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

export interface RepairFinding {
  /** The blob that it is about. */
  readonly blob: string;
  readonly problem: string;
  /** What the repair does about it. */
  readonly remedy: string;
}

export interface RepairPlan {
  readonly findings: readonly RepairFinding[];
  /** Contents that are known again by what packs say of themselves. */
  readonly recoveredContents: number;
  /** Contents that are nowhere. */
  readonly lostContents: readonly ContentId[];
  /** The storage as it would be; `apply` does it. */
  readonly staged: StagedStorage;
}

/**
 * Plans a repair. Throws REPO_WRONG_PASSWORD, REPO_LOCKED, REPO_UNSUPPORTED as opening does; REPO_NOT_FOUND and REPO_CORRUPT only when no `kopia.repository` that opens can be found.
 * Memory: some 300 bytes for each content that is lost or recovered, and the entries of one pack at a time besides a list of all, 100 bytes each.
 */
export async function planRepair(storage: BlobStorage, options: PlanRepairOptions): Promise<RepairPlan> {
  const { clock = systemClock, random = systemRandom, logger = nullLogger, signal, password, copy } = options;
  const staged = new StagedStorage(storage, copy, () => clock.nowMs());
  const findings: RepairFinding[] = [];
  const tell = (blob: string, problem: string, remedy: string): void => void findings.push({ blob, problem, remedy });
  const common = { password, clock, random, logger, ...(options.deriveKey === undefined ? {} : { deriveKey: options.deriveKey }) };
  const format = await repairFormat(staged, copy, common, tell, signal);
  const kernels = await createKernels({ random, logger });
  const codec = await createContentCodec(format.block, kernels);
  const work = new RepairWork({ staged, format, codec, clock, random, options, tell });
  await work.smallBlobs();
  const indexLost = await work.indexBlobs();
  const identity = { username: "repair", hostname: "repair" };
  const open = (): Promise<Contents> => openContents(staged, { ...common, identity, kernels, format }, signal);
  const contents = await open();
  try {
    const changes = await work.contents(contents, indexLost || options.rebuildIndex === true);
    return { findings, ...changes, staged };
  } finally {
    await contents.close();
  }
}

interface WorkParts {
  readonly staged: StagedStorage;
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly options: PlanRepairOptions;
  readonly tell: (blob: string, problem: string, remedy: string) => void;
}

const INDEX_PREFIXES = ["xn", "xs", "xr", "n"];
const COMPACTION_LOG_PREFIXES = ["m", "l"];
/** The body of the poison that a format upgrade leaves for old clients is a sentence. */
const POISON = "-repository_unreadable_by_this_kopia_version";

class RepairWork {
  readonly #on: WorkParts;

  constructor(parts: WorkParts) {
    this.#on = parts;
  }

  /** Session markers, compaction logs and the maintenance schedule: any of them that cannot be read stops maintenance. */
  async smallBlobs(): Promise<void> {
    const { staged, format, options } = this.#on;
    const { signal } = options;
    for (const prefix of ["s", ...COMPACTION_LOG_PREFIXES]) {
      for await (const { id } of staged.list(prefix, signal)) {
        if (await this.#decrypts(staged, id, undefined)) continue;
        await this.#restoreOrDelete(
          id,
          "it cannot be decrypted",
          prefix === "s" ? "removed: it only told of a writer" : "removed: what it replaced counts again",
        );
      }
    }
    try {
      await loadSchedule(staged, format, signal);
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      await this.#restoreOrDelete(MAINTENANCE_BLOB_ID, "it cannot be read", "removed: maintenance begins a new record");
    }
  }

  /** Whether an index blob is lost for good. */
  async indexBlobs(): Promise<boolean> {
    const { staged, options } = this.#on;
    let lost = false;
    for (const prefix of INDEX_PREFIXES) {
      for await (const { id } of staged.list(prefix, options.signal)) {
        if (id.includes(POISON) || (await this.#decrypts(staged, id, decodeWhole))) continue;
        lost = !(await this.#restoreOrDelete(id, "it cannot be decrypted or decoded", "removed; what it said is read from the packs", decodeWhole)) || lost;
      }
    }
    return lost;
  }

  /** Checks what the index says against the packs, and writes what has to be said otherwise. */
  async contents(contents: Contents, rebuild: boolean): Promise<Pick<RepairPlan, "recoveredContents" | "lostContents">> {
    const { staged, options } = this.#on;
    const packs = new Map<string, BlobMetadata>();
    for (const letter of ["p", "q"]) for await (const blob of staged.list(letter, options.signal)) packs.set(blob.id, blob);
    const byPack = Map.groupBy(contents.list({ includeDeleted: true }), ({ packBlobId }) => packBlobId);
    const bad = new Map<ContentId, ContentInfo>();
    let done = 0;
    for (const [packId, infos] of byPack) {
      for (const info of await this.#checkPack(packId, packs.get(packId), infos)) bad.set(info.id, info);
      options.onPack?.(++done, byPack.size);
    }
    const live = [...bad.values()].filter(({ deleted }) => !deleted);
    const found = rebuild || live.length > 0 ? await this.#recover(contents, packs, bad, rebuild) : new Map<string, IndexEntry>();
    const lost = live.filter(({ id }) => !found.has(id));
    const nowSeconds = Math.floor(this.#on.clock.nowMs() / 1000);
    const entries = [
      ...found.values(),
      ...lost.map((info) => ({ ...entryOf(info), deleted: true, timestampSeconds: Math.max(nowSeconds, info.timestampSeconds + 1) })),
    ];
    if (entries.length > 0) await this.#writeIndex(contents, entries);
    return { recoveredContents: found.size, lostContents: lost.map(({ id }) => id) };
  }

  /** The contents of a pack that are not there, after the copy was asked. */
  async #checkPack(packId: string, pack: BlobMetadata | undefined, infos: readonly ContentInfo[]): Promise<readonly ContentInfo[]> {
    const { staged, options, tell } = this.#on;
    const bad = await this.#badContents(staged, pack, infos);
    if (bad.length === 0) return [];
    const problem = pack === undefined ? "it is missing" : `${bad.length} of its ${infos.length} contents are damaged or lie behind its end`;
    const { copy, signal } = options;
    const other = copy === undefined ? undefined : await copy.head(packId, signal).catch(ifNotFound);
    if (copy !== undefined && other !== undefined && (await this.#badContents(copy, other, infos, true)).length === 0) {
      staged.restore(packId, other.length);
      tell(packId, problem, "restored from the copy");
      return [];
    }
    tell(packId, problem, "given up, unless its contents lie elsewhere too");
    return bad;
  }

  async #badContents(
    storage: BlobStorage,
    pack: BlobMetadata | undefined,
    infos: readonly ContentInfo[],
    full = this.#on.options.full === true,
  ): Promise<readonly ContentInfo[]> {
    if (pack === undefined) return infos;
    const outside = infos.filter(({ packOffset, packedLength }) => packOffset + packedLength > pack.length);
    if (!full) return outside;
    const inside = infos.filter((info) => !outside.includes(info));
    if (inside.length === 0) return outside;
    const { codec, options } = this.#on;
    const bytes = await storage.get(pack.id, options.signal === undefined ? {} : { signal: options.signal });
    return [...outside, ...inside.filter((info) => !opens(codec, bytes, info))];
  }

  /** Looks through what packs say of themselves: contents that no index names, and other places of those that are damaged. */
  async #recover(
    contents: Contents,
    packs: ReadonlyMap<string, BlobMetadata>,
    bad: ReadonlyMap<ContentId, ContentInfo>,
    rebuild: boolean,
  ): Promise<Map<string, IndexEntry>> {
    const { staged, codec, options, tell } = this.#on;
    const found = new Map<string, IndexEntry>();
    for (const pack of packs.values()) {
      const entries = await readLocalIndex(staged, codec, pack, options.signal);
      if (entries === undefined) {
        if (rebuild) tell(pack.id, "its own index cannot be read", "left as it is: what only it holds cannot be found again");
        continue;
      }
      for (const entry of entries) {
        const id = idOfKey(entry.key);
        const damaged = bad.get(id);
        const isWanted = damaged === undefined ? rebuild && contents.info(id) === undefined : damaged.packBlobId !== pack.id && !damaged.deleted;
        const before = found.get(id);
        if (!isWanted || (before !== undefined && !prevails(entry, before)) || !(await this.#isReadable(pack, entry))) continue;
        // It must win over the entry that leads nowhere.
        const timestampSeconds = damaged === undefined ? entry.timestampSeconds : Math.max(entry.timestampSeconds, damaged.timestampSeconds + 1);
        found.set(id, { ...entry, deleted: false, timestampSeconds });
      }
    }
    return found;
  }

  async #isReadable(pack: BlobMetadata, entry: IndexEntry): Promise<boolean> {
    const { staged, codec, options } = this.#on;
    const { packOffset: offset, packedLength: length } = entry;
    const bytes = await staged.get(pack.id, { offset, length, ...(options.signal === undefined ? {} : { signal: options.signal }) });
    return opens(codec, bytes, { ...entry, packOffset: 0, id: idOfKey(entry.key) });
  }

  async #writeIndex(contents: Contents, entries: readonly IndexEntry[]): Promise<void> {
    const { format, clock, random, options } = this.#on;
    const indexes = shardEntries(entries).map((shard) => encodeIndex(format.block.indexVersion, shard));
    await contents.indexBlobs.write(indexes, newSessionId(random, clock.nowMs()), options.signal);
  }

  /** Whether the blob is good now. */
  async #restoreOrDelete(id: string, problem: string, remedy: string, decode?: (plain: Uint8Array) => void): Promise<boolean> {
    const { staged, options, tell } = this.#on;
    const { copy, signal } = options;
    const other = copy === undefined ? undefined : await copy.head(id, signal).catch(ifNotFound);
    if (copy !== undefined && other !== undefined && (id === MAINTENANCE_BLOB_ID || (await this.#decrypts(copy, id, decode)))) {
      staged.restore(id, other.length);
      tell(id, problem, "restored from the copy");
      return true;
    }
    await staged.delete(id);
    tell(id, problem, remedy);
    return false;
  }

  async #decrypts(storage: BlobStorage, id: string, decode: ((plain: Uint8Array) => void) | undefined): Promise<boolean> {
    try {
      const plain = this.#on.codec.openBlob(id, await storage.get(id, this.#on.options.signal === undefined ? {} : { signal: this.#on.options.signal }));
      decode?.(plain);
      return true;
    } catch (error) {
      if (hasCode(error, "REPO_CORRUPT")) return false;
      throw error;
    }
  }
}

function decodeWhole(plain: Uint8Array): void {
  const index = decodeIndex(plain);
  for (let position = 0; position < index.entryCount; position++) index.entryAt(position);
}

/** Whether a content opens and is what its id says. */
function opens(codec: ContentCodec, pack: Uint8Array, info: Omit<ContentInfo, "deleted" | "timestampSeconds">): boolean {
  try {
    const plain = codec.open(pack.subarray(info.packOffset, info.packOffset + info.packedLength), info);
    // In format version 1 a content that is compressed as an object is hashed as it is stored; what is opened here is that.
    return Buffer.from(codec.hasher.hash(plain)).equals(Buffer.from(keyOf(info.id).subarray(1)));
  } catch (error) {
    if (hasCode(error, "REPO_CORRUPT")) return false;
    throw error instanceof DrayError ? error : new DrayError("INVARIANT", `Cannot check content "${info.id}": ${messageOf(error)}`, { cause: error });
  }
}

function entryOf(info: ContentInfo): IndexEntry {
  const { id, ...rest } = info;
  return { ...rest, key: keyOf(id) };
}

function ifNotFound(error: unknown): undefined {
  if (hasCode(error, "BLOB_NOT_FOUND")) return undefined;
  throw error;
}
