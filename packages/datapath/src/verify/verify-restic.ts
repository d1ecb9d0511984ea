/**
 * Can the snapshots of a restic repository be restored? Checks the packs, then walks the trees, so that a damaged or missing pack is named together with the files it costs.
 *
 *   quick   every pack that the index names is stored with all its bytes; every tree is read; every content of every file is in a pack that is good
 *   full    besides, every pack is read once from front to back: its bytes are those that its name says, and each content in it opens and is what its id says
 */
import { hash } from "node:crypto";
import { type Clock, DrayError, hasCode, systemClock } from "@drayage/base";
import {
  type ContentIndex,
  decodeTree,
  ID_BYTES,
  listPacks,
  ResticContentDecoder,
  type ResticRepository,
  type ResticSnapshot,
  readPackHeader,
  SEALED_OVERHEAD_BYTES,
} from "@drayage/restic";
import { type EntryProblem, ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { type DataPathProgress, type OnProgress, ProgressMeter } from "../progress.ts";
import { below } from "../upload/source-entry.ts";
import type { VerifyMode } from "./verify-snapshot.ts";

export interface VerifyResticOptions {
  readonly repository: ResticRepository;
  readonly snapshots: readonly ResticSnapshot[];
  /** @default "quick" */
  readonly mode?: VerifyMode;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly clock?: Clock;
}

export interface VerifyResticReport {
  readonly mode: VerifyMode;
  readonly snapshots: number;
  readonly packs: number;
  readonly contents: number;
  readonly directories: number;
  readonly files: number;
  /** Bytes of the files that were checked. */
  readonly bytes: number;
  /** What is wrong: packs and index files by their keys, files by their path below the snapshot's id; the first thousand. */
  readonly problems: readonly EntryProblem[];
  readonly problemCount: number;
  readonly progress: DataPathProgress;
}

/** restic's packs have at most 128 MiB; a longer one is read by its contents. */
const PACK_BYTES_MAX = 160 << 20;
/** Trees and contents that were found good and are not looked at again: some 100 bytes each. */
const REMEMBERED_MAX = 500_000;

/** What is wrong is in the report; throws only when the store cannot be asked (BLOB_*), and the signal's reason. Memory: the index, one pack, one tree a level. */
export async function verifyRestic(options: VerifyResticOptions): Promise<VerifyResticReport> {
  const meter = new ProgressMeter(options.clock ?? systemClock, options.onProgress);
  let endedWell = false;
  try {
    const verification = new ResticVerification(options, meter);
    const report = await verification.run();
    endedWell = true;
    meter.close(true);
    return { ...report, progress: meter.progress };
  } finally {
    if (!endedWell) meter.close(false);
  }
}

class ResticVerification {
  readonly #options: VerifyResticOptions;
  readonly #repository: ResticRepository;
  readonly #meter: ProgressMeter;
  readonly #pacer: Pacer;
  readonly #problems = new ProblemList();
  /** Packs that cannot be used, and why. */
  readonly #bad = new Map<string, string>();
  /** Packs in which something is damaged: what of them is wanted is read. */
  readonly #suspect = new Set<string>();
  readonly #good = new Set<string>();
  #counts = { directories: 0, files: 0, bytes: 0 };

  constructor(options: VerifyResticOptions, meter: ProgressMeter) {
    this.#options = options;
    this.#repository = options.repository;
    this.#meter = meter;
    this.#pacer = new Pacer(options.clock ?? systemClock, options.signal);
  }

  async run(): Promise<Omit<VerifyResticReport, "progress">> {
    const { snapshots, mode = "quick", signal } = this.#options;
    this.#meter.enter("preparing");
    const { index, unreadable, unreadablePacks } = await this.#repository.indexReport(signal);
    for (const { id, error } of unreadable) this.#report(`index/${id}`, error);
    for (const { id, error } of unreadablePacks) this.#report(packPath(id), error);
    this.#meter.enter("verifying");
    await this.#packs(index, mode);
    for (const { id, tree } of snapshots) await this.#tree(index, tree, id);
    return {
      ...{ mode, snapshots: snapshots.length, packs: index.packCount, contents: index.size, ...this.#counts },
      ...{ problems: this.#problems.kept, problemCount: this.#problems.count },
    };
  }

  async #packs(index: ContentIndex, mode: VerifyMode): Promise<void> {
    const { signal } = this.#options;
    const lengths = new Map<string, number>();
    for await (const { id, length } of listPacks(this.#repository.store, signal)) lengths.set(id, length);
    for (const { id, end } of index.packs()) {
      const length = lengths.get(id);
      if (length !== undefined && length >= end) continue;
      this.#bad.set(id, length === undefined ? "is missing" : `has ${length} bytes, its contents reach to ${end}`);
      this.#report(packPath(id), new DrayError("REPO_CORRUPT", `Cannot use pack "${id}": it ${this.#bad.get(id)}`));
    }
    if (mode !== "full") return;
    const decoder = new ResticContentDecoder(this.#repository.opener);
    for (const [id, length] of lengths) {
      this.#meter.counts.bytesTotal += length;
      if (this.#bad.has(id) || !index.hasPack(id)) continue;
      const damage = await this.#damageOf(id, length, decoder);
      this.#meter.counts.bytesHashed += length;
      if (damage === undefined) continue;
      this.#suspect.add(id);
      this.#report(packPath(id), damage);
    }
  }

  /** Reads a pack and everything in it. What is wrong with it, or undefined. */
  async #damageOf(id: string, length: number, decoder: ResticContentDecoder): Promise<unknown> {
    const { signal } = this.#options;
    try {
      const contents = await readPackHeader(this.#repository, id, length, signal);
      const whole = length <= PACK_BYTES_MAX ? await this.#repository.readRange(id, 0, length, signal) : undefined;
      if (whole !== undefined && hash("sha256", whole, "hex") !== id) {
        return new DrayError("REPO_CORRUPT", `Cannot trust pack "${id}": its bytes are not those that its name says`, { context: { pack: id } });
      }
      for (const content of contents) {
        const stored =
          whole === undefined
            ? await this.#repository.readRange(id, content.offset, content.length, signal)
            : whole.subarray(content.offset, content.offset + content.length);
        const isCompressed = content.plainLength > 0;
        const plainLength = isCompressed ? content.plainLength : content.length - SEALED_OVERHEAD_BYTES;
        decoder.decode(stored, { id: Buffer.from(content.id).toString("hex"), pack: id, isCompressed, plainLength });
        await this.#pacer.pace(64);
      }
      return undefined;
    } catch (error) {
      if (!isDamage(error)) throw error;
      return error;
    }
  }

  async #tree(index: ContentIndex, id: Uint8Array, path: string): Promise<void> {
    const key = `tree ${Buffer.from(id).toString("hex")}`;
    if (this.#good.has(key)) return;
    const before = this.#problems.count;
    try {
      for (const node of decodeTree(await this.#repository.readTree(id, this.#options.signal), `tree of "${path}"`)) {
        const where = below(path, node.name);
        if (node.subtree !== undefined) await this.#tree(index, node.subtree, where);
        else if (node.type === "file") await this.#file(index, node.contents, node.size, where);
        await this.#pacer.pace();
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#report(path, error);
    }
    this.#counts.directories++;
    if (this.#problems.count === before) this.#remember(key);
  }

  async #file(index: ContentIndex, contents: Uint8Array, size: number, path: string): Promise<void> {
    let length = 0;
    try {
      for (let at = 0; at < contents.length; at += ID_BYTES) length += await this.#content(index, contents.subarray(at, at + ID_BYTES));
      if (length !== size) throw new DrayError("REPO_CORRUPT", `Cannot use the file: its contents have ${length} bytes, ${size} were wanted`);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#report(path, error);
    }
    this.#counts.files++;
    this.#counts.bytes += size;
    this.#meter.counts.filesDone++;
    this.#meter.counts.bytesDone += size;
  }

  /** Bytes of a content that can be had. */
  async #content(index: ContentIndex, id: Uint8Array): Promise<number> {
    const places = index.places("data", id);
    const [first] = places;
    const hex = Buffer.from(id).toString("hex");
    if (first === undefined) throw new DrayError("REPO_CONTENT_NOT_FOUND", `Cannot find content "${hex}": no index names it`);
    if (places.some(({ pack }) => !this.#bad.has(pack) && !this.#suspect.has(pack))) return first.plainLength;
    const suspect = places.find(({ pack }) => this.#suspect.has(pack));
    if (suspect === undefined) throw new DrayError("REPO_CORRUPT", `Cannot use content "${hex}": its pack "${first.pack}" ${this.#bad.get(first.pack)}`);
    if (!this.#good.has(hex)) {
      await this.#repository.readContent("data", id, this.#options.signal);
      this.#remember(hex);
    }
    return suspect.plainLength;
  }

  #report(path: string, error: unknown): void {
    this.#problems.add(path, error);
    this.#meter.counts.errors++;
  }

  #remember(key: string): void {
    if (this.#good.size < REMEMBERED_MAX) this.#good.add(key);
  }
}

function packPath(id: string): string {
  return `data/${id.slice(0, 2)}/${id}`;
}

function isDamage(error: unknown): error is DrayError {
  return hasCode(error, "REPO_CORRUPT", "REPO_CONTENT_NOT_FOUND", "BLOB_NOT_FOUND", "BLOB_INVALID_RANGE");
}
