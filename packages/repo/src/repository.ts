/**
 * An open repository: the layers joined, and the one thing that holds them in step: `flush`.
 *
 *   snapshots ─ manifests ─┐
 *   objects ───────────────┴► contents ─► packs, indexes ─► storage
 */
import { type Clock, DrayError, type RandomSource } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import type { Splitter } from "@drayage/kernels";
import type { ContentWriter } from "./content-port.ts";
import { ManifestStore } from "./manifest/manifest-store.ts";
import { type Decompress, ObjectReader } from "./object/object-reader.ts";
import { BufferPool, DEFAULT_METADATA_COMPRESSOR, type ObjectWriterContext } from "./object/object-writer.ts";
import { SnapshotStore } from "./snapshot/snapshot-store.ts";

/** Who is at work: `user@host` of snapshots, and of the maintenance owner. */
export interface RepositoryIdentity {
  readonly userName: string;
  readonly host: string;
}

/** As Velero's pods are, wherever they run. */
export const veleroIdentity: RepositoryIdentity = { userName: "default", host: "default" };

/** The choices that were made when the repository was created, by Kopia's names. */
export interface RepositoryFormatInfo {
  readonly version: number;
  readonly hash: string;
  readonly encryption: string;
  readonly splitter: string;
  readonly keyAlgorithm: string;
  readonly indexVersion: number;
  readonly maxPackBytes: number;
  /** Error correction, where there is some. */
  readonly ecc?: { readonly algorithm: string; readonly overheadPercent: number };
  readonly usesEpochs: boolean;
}

export interface RepositoryParts {
  readonly storage: BlobStorage;
  readonly contents: ContentWriter;
  /** As it is by now: another client may change it. */
  readonly format: () => RepositoryFormatInfo;
  readonly uniqueId: Uint8Array;
  readonly identity: RepositoryIdentity;
  readonly readOnly: boolean;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly createSplitter: (name: string) => Splitter;
  readonly decompress: Decompress;
  readonly changePassword: (password: string) => Promise<void>;
  /** Ends what the lower layers keep running. */
  readonly close: () => Promise<void>;
}

export class Repository {
  readonly storage: BlobStorage;
  readonly contents: ContentWriter;
  readonly uniqueId: Uint8Array;
  readonly identity: RepositoryIdentity;
  readonly readOnly: boolean;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Reads objects. */
  readonly objects: ObjectReader;
  /** What writers of objects are made with. */
  readonly objectWriters: ObjectWriterContext;
  readonly manifests: ManifestStore;
  readonly snapshots: SnapshotStore;
  readonly #parts: RepositoryParts;

  constructor(parts: RepositoryParts) {
    const { contents, clock, random, readOnly } = parts;
    const format = parts.format();
    this.#parts = parts;
    this.storage = parts.storage;
    this.contents = contents;
    this.uniqueId = parts.uniqueId;
    this.identity = parts.identity;
    this.readOnly = readOnly;
    this.clock = clock;
    this.random = random;
    this.objects = new ObjectReader(contents, parts.decompress);
    let minChunkBytes: number | undefined;
    this.objectWriters = {
      contents,
      createSplitter: (name) => parts.createSplitter(name ?? format.splitter),
      get minChunkBytes() {
        minChunkBytes ??= parts.createSplitter(format.splitter).minChunkBytes;
        return minChunkBytes;
      },
      metadataCompressor: format.indexVersion >= 2 ? DEFAULT_METADATA_COMPRESSOR : undefined,
      buffers: new BufferPool(),
    };
    this.manifests = new ManifestStore({ contents, clock, random, readOnly });
    this.snapshots = new SnapshotStore(this.manifests);
  }

  get format(): RepositoryFormatInfo {
    return this.#parts.format();
  }

  /** For messages and logs: where it is, no secret. */
  get description(): string {
    return this.storage.description;
  }

  /** Makes everything written so far durable: manifests into a content, contents into packs, packs into an index. */
  async flush(signal?: AbortSignal): Promise<void> {
    await this.manifests.commit(signal);
    await this.contents.flush(signal);
  }

  /** Seals the keys of the repository under another password. Clients that are open go on; those to come need the new one. Throws REPO_READ_ONLY, REPO_UNSUPPORTED. */
  async changePassword(password: string): Promise<void> {
    if (this.readOnly) throw new DrayError("REPO_READ_ONLY", `Cannot change the password of ${this.description}: the repository was opened for reading only`);
    await this.#parts.changePassword(password);
  }

  /** Gives back what is held. What was not flushed is lost, as if it had never been written. */
  async close(): Promise<void> {
    await this.#parts.close();
  }
}
