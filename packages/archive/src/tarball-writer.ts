import { createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { ArchivedItemRef } from "@drayage/api";
import { asBuffer, type Clock, concat, invariant, utf8 } from "@drayage/base";
import { type Pack, pack } from "tar-stream";
import { translateDiskError } from "./disk-error.ts";
import { FORMAT_VERSION, itemEntries, VERSION_ENTRY } from "./layout.ts";

export interface FinishedTarball {
  readonly path: string;
  readonly lengthBytes: number;
}

/** As Velero's entries have it. */
const ENTRY_MODE = 0o755;
/** An entry comes as header, content and padding; each hand-over to the thread that compresses costs more than compressing a few hundred bytes. */
const CHUNK_BYTES = 64 << 10;

/** Writes a backup's tarball to local disk, entry by entry: memory does not grow with their number. */
export class TarballWriter {
  readonly #folder: string;
  readonly #pack: Pack;
  readonly #clock: Clock;
  readonly #written: Promise<void>;
  #failure: unknown;
  /** Ends the entry under way when the pipeline dies, since its callback never comes then. */
  #rejectEntry: ((error: unknown) => void) | undefined;
  #finished = false;
  #disposed = false;

  private constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
    this.#pack = pack();
    this.#written = pipeline(inChunks(this.#pack), createGzip(), createWriteStream(this.path, { mode: 0o600 }))
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .then(() => this.#rejectEntry?.(this.#failure ?? new Error("the tarball was closed")));
  }

  /** Opens a tarball in a new folder below `temporaryFolder`; with the version entry in it, unless entries are to be copied from another. */
  static async create(temporaryFolder: string, clock: Clock, options: { readonly withVersion: boolean } = { withVersion: true }): Promise<TarballWriter> {
    const folder = await mkdtemp(join(temporaryFolder, "backup-")).catch((error: unknown) => {
      throw translateDiskError(error, `Cannot write a backup's tarball in "${temporaryFolder}"`);
    });
    const writer = new TarballWriter(folder, clock);
    if (options.withVersion) await writer.addEntry(VERSION_ENTRY, utf8(`${FORMAT_VERSION}\n`));
    return writer;
  }

  get path(): string {
    return join(this.#folder, "contents.tar.gz");
  }

  async add(ref: ArchivedItemRef, object: object): Promise<void> {
    const bytes = utf8(JSON.stringify(object));
    for (const entry of itemEntries(ref)) await this.addEntry(entry, bytes);
  }

  /** One entry as it is. Throws PATH_IO when the disk does not take it. */
  async addEntry(name: string, bytes: Uint8Array): Promise<void> {
    invariant(!this.#finished && !this.#disposed, `Cannot add "${name}": the tarball is closed`);
    this.#throwFailure();
    await new Promise<void>((resolve, reject) => {
      this.#rejectEntry = reject;
      this.#pack.entry({ name, size: bytes.length, mode: ENTRY_MODE, uid: 0, gid: 0, mtime: new Date(this.#clock.nowMs()) }, asBuffer(bytes), (error) =>
        error ? reject(error) : resolve(),
      );
    }).catch((error: unknown) => {
      this.#failure ??= error;
      this.#throwFailure();
    });
  }

  async finish(): Promise<FinishedTarball> {
    invariant(!this.#finished && !this.#disposed, "Cannot finish a tarball twice");
    this.#finished = true;
    this.#pack.finalize();
    await this.#written;
    this.#throwFailure();
    return { path: this.path, lengthBytes: (await stat(this.path)).size };
  }

  /** Removes what lies on disk; safe at any time, more than once. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!this.#finished) {
      this.#pack.destroy();
      await this.#written;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw translateDiskError(this.#failure, `Cannot write the backup's tarball "${this.path}"`);
  }
}

/** The same bytes in fewer, larger parts. */
async function* inChunks(source: Pack): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let lengthBytes = 0;
  for await (const part of source as AsyncIterable<Uint8Array>) {
    parts.push(part);
    lengthBytes += part.length;
    if (lengthBytes < CHUNK_BYTES) continue;
    yield concat(parts);
    parts = [];
    lengthBytes = 0;
  }
  if (lengthBytes > 0) yield concat(parts);
}
