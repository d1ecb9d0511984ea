/**
 * Where runs are kept between commands: one folder a repository, under the state folder of the user. Any number of processes use it at once, without locks:
 *
 *   <blob id>.run        what one index blob says; blob ids hold the hash of the content
 *   m-<hash>.run         what several say together; the hash is that of their names
 *   *.<random>.tmp       in the making; renamed when whole
 *
 * A file is never changed once it has its name, and two processes that make the same one make the same. Removing a file takes nothing from those who have it
 * open. Whoever opens a file renews its time; what nobody opened for an hour, and the repository no longer names, goes; so do the oldest files of all
 * repositories while they take more than `bytesMax`. Files in use may exceed that. Nothing here is worth a failed command: what cannot be kept is not kept.
 */
import { createHash } from "node:crypto";
import { openSync, readdirSync, renameSync, rmdirSync, statSync, unlinkSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, errorFields, isOursAlone, type Logger, makeFolders, type RandomSource, randomHex } from "@drayage/base";
import { BlockCache } from "./block-cache.ts";
import { finishRun, formatOfRun, loadRun, openForReading, RunFile } from "./run-file.ts";
import { RunIndex } from "./run-index.ts";

export interface RunFolderOptions {
  /** Of this repository; undefined: nothing is kept, and what does not fit in memory goes to files without a name. */
  readonly folder?: string | undefined;
  /** Of all repositories beside it, in bytes. @default 2 GiB */
  readonly bytesMax?: number | undefined;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Memory for blocks of runs. @default 8 MiB */
  readonly blockBytesMax?: number | undefined;
}

const DEFAULT_BYTES_MAX = 2 * 2 ** 30;
const DEFAULT_BLOCK_BYTES = 8 << 20;
/** Somebody who listed the folder may be about to open what he saw. */
const UNUSED_AFTER_MS = 3_600_000;
const RUN = ".run";
const MERGED = "m-";
const TEMPORARY = /\.[0-9a-f]{16}\.tmp$/;
const NAME = /^[A-Za-z0-9_.-]{1,200}$/;

export class RunFolder {
  readonly #options: RunFolderOptions;
  readonly #cache: BlockCache;
  readonly #folder: string | undefined;

  constructor(options: RunFolderOptions) {
    this.#options = options;
    this.#cache = new BlockCache(options.blockBytesMax ?? DEFAULT_BLOCK_BYTES);
    this.#folder = options.folder === undefined ? undefined : this.#usable(options.folder);
  }

  /** Whether what is stored here is found by the next command. */
  get keeps(): boolean {
    return this.#folder !== undefined;
  }

  /** The run of one index blob; undefined where there is none, or none that is whole. */
  load(blobId: string): RunIndex | undefined {
    return this.#folder === undefined || !NAME.test(blobId) ? undefined : this.#open(join(this.#folder, blobId + RUN));
  }

  /** The runs that speak for several index blobs. */
  loadMerged(): RunIndex[] {
    if (this.#folder === undefined) return [];
    const names = this.#list(this.#folder).filter((name) => name.startsWith(MERGED) && name.endsWith(RUN));
    return names.flatMap((name) => this.#open(join(this.#folder ?? "", name)) ?? []);
  }

  /**
   * Makes a run: `write` puts an index into an empty file and returns its length. Undefined when no file can be made, for want of space or permission.
   * Throws what `write` throws, and REPO_CORRUPT when what it wrote is no index.
   */
  async make(blobIds: readonly string[], write: (fd: number) => Promise<number> | number): Promise<RunIndex | undefined> {
    for (const folder of this.#folder === undefined ? [undefined] : [this.#folder, undefined]) {
      const draft = this.#draft(folder, blobIds);
      if (draft === undefined) continue;
      try {
        const { file, path } = draft;
        const parts = finishRun(file, await write(file.fd), blobIds);
        const index = new RunIndex(file, formatOfRun(file, parts.indexBytes), parts, this.#cache);
        if (path !== undefined) {
          this.#touch(draft.temporary);
          renameSync(draft.temporary, path);
        }
        return index;
      } catch (error) {
        draft.file.close();
        this.#remove(draft.temporary);
        if (!isFileError(error)) throw error;
        this.#warn("Cannot keep a copy of an index", folder ?? tmpdir(), error);
      }
    }
    return undefined;
  }

  /** Removes what is no longer wanted: of this repository whatever is not among these blobs, and of all of them the oldest that is too much. */
  sweep(active: ReadonlySet<string>): void {
    if (this.#folder === undefined) return;
    const nowMs = this.#options.clock.nowMs();
    const isOld = (file: StoredFile): boolean => nowMs - file.usedMs > UNUSED_AFTER_MS;
    for (const file of this.#files(this.#folder)) {
      const isWanted = file.name.endsWith(RUN) && (file.name.startsWith(MERGED) || active.has(file.name.slice(0, -RUN.length)));
      if (!isWanted && isOld(file)) this.#remove(file.path);
    }
    const parent = join(this.#folder, "..");
    const all = this.#list(parent).flatMap((name) => this.#files(join(parent, name)));
    let bytes = all.reduce((sum, { length }) => sum + length, 0);
    const bytesMax = this.#options.bytesMax ?? DEFAULT_BYTES_MAX;
    for (const file of all.sort((a, b) => a.usedMs - b.usedMs)) {
      if (bytes <= bytesMax || !isOld(file)) break;
      this.#remove(file.path);
      bytes -= file.length;
    }
    this.#removeEmpty(parent);
  }

  /** Removes the runs of single blobs that a merged one speaks for now. */
  forget(blobIds: readonly string[]): void {
    if (this.#folder === undefined) return;
    for (const id of blobIds) if (NAME.test(id)) this.#remove(join(this.#folder, id + RUN));
  }

  #open(path: string): RunIndex | undefined {
    let file: RunFile | undefined;
    try {
      file = openForReading(path);
      const parts = loadRun(file);
      this.#touch(path);
      return new RunIndex(file, formatOfRun(file, parts.indexBytes), parts, this.#cache);
    } catch (error) {
      file?.close();
      if (isFileError(error) && error.code === "ENOENT") return undefined;
      this.#options.logger.warn("Making the copy of an index again, it was damaged", { path, ...errorFields(error) });
      this.#remove(path);
      return undefined;
    }
  }

  /** A file to be filled. */
  #draft(folder: string | undefined, blobIds: readonly string[]): Draft | undefined {
    const name = blobIds.length === 1 && NAME.test(blobIds[0] ?? "") ? (blobIds[0] ?? "") : MERGED + nameOfSet(blobIds);
    const temporary = join(folder ?? tmpdir(), `${folder === undefined ? "dray-index-" : ""}${name}.${randomHex(this.#options.random, 8)}.tmp`);
    try {
      const fd = openSync(temporary, "wx+", 0o600);
      if (folder === undefined) {
        const file = new RunFile(fd, temporary, { temporary: true });
        return { file, temporary, path: undefined };
      }
      const path = join(folder, name + RUN);
      return { file: new RunFile(fd, path), temporary, path };
    } catch (error) {
      this.#warn("Cannot keep a copy of an index", folder ?? tmpdir(), error);
      return undefined;
    }
  }

  /** The folder, made where it is missing; undefined when it is not ours alone to write. */
  #usable(folder: string): string | undefined {
    try {
      makeFolders(folder, 0o700);
      if (isOursAlone(folder)) return folder;
      this.#options.logger.warn("Not keeping indexes between commands: others may write to the folder", { path: folder });
    } catch (error) {
      this.#warn("Not keeping indexes between commands", folder, error);
    }
    return undefined;
  }

  #files(folder: string): StoredFile[] {
    return this.#list(folder).flatMap((name) => {
      if (!name.endsWith(RUN) && !TEMPORARY.test(name)) return [];
      const path = join(folder, name);
      try {
        const { size, mtimeMs } = statSync(path);
        return [{ name, path, length: size, usedMs: mtimeMs }];
      } catch {
        // Another process removed it meanwhile.
        return [];
      }
    });
  }

  #list(folder: string): string[] {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  }

  #touch(path: string): void {
    const seconds = this.#options.clock.nowMs() / 1000;
    try {
      utimesSync(path, seconds, seconds);
    } catch {
      // It may have been removed, or belong to a file system without times: it then goes a little earlier.
    }
  }

  #remove(path: string): void {
    try {
      unlinkSync(path);
    } catch {
      // Somebody was faster.
    }
  }

  #removeEmpty(parent: string): void {
    for (const name of this.#list(parent)) {
      const folder = join(parent, name);
      if (folder === this.#folder || this.#list(folder).length > 0) continue;
      try {
        rmdirSync(folder);
      } catch {
        // In use again, or no folder.
      }
    }
  }

  #warn(message: string, path: string, error: unknown): void {
    this.#options.logger.warn(message, { path, ...errorFields(error) });
  }
}

interface Draft {
  readonly file: RunFile;
  readonly temporary: string;
  readonly path: string | undefined;
}

interface StoredFile {
  readonly name: string;
  readonly path: string;
  readonly length: number;
  readonly usedMs: number;
}

function nameOfSet(blobIds: readonly string[]): string {
  return createHash("sha256")
    .update([...blobIds].sort().join("\n"))
    .digest("hex")
    .slice(0, 32);
}

/** Whether the file system failed, rather than what was read. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error;
}
