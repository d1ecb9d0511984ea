/**
 * An open repository: the layers joined, and the one thing that holds them in step: `flush`.
 *
 *   snapshots ─ manifests ─┐
 *   objects ───────────────┴► contents ─► packs, indexes ─► storage
 */
import type { Clock, RandomSource } from "@drayage/base";
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
  readonly format: RepositoryFormatInfo;
  readonly uniqueId: Uint8Array;
  readonly identity: RepositoryIdentity;
  readonly readOnly: boolean;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly createSplitter: (name: string) => Splitter;
  readonly decompress: Decompress;
  /** Ends what the lower layers keep running. */
  readonly close: () => Promise<void>;
}

export class Repository {
  readonly storage: BlobStorage;
  readonly contents: ContentWriter;
  readonly format: RepositoryFormatInfo;
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
  readonly #close: () => Promise<void>;

  constructor(parts: RepositoryParts) {
    const { contents, clock, random, readOnly, format } = parts;
    this.storage = parts.storage;
    this.contents = contents;
    this.format = format;
    this.uniqueId = parts.uniqueId;
    this.identity = parts.identity;
    this.readOnly = readOnly;
    this.clock = clock;
    this.random = random;
    this.objects = new ObjectReader(contents, parts.decompress);
    this.objectWriters = {
      contents,
      createSplitter: (name) => parts.createSplitter(name ?? format.splitter),
      metadataCompressor: format.indexVersion >= 2 ? DEFAULT_METADATA_COMPRESSOR : undefined,
      buffers: new BufferPool(),
    };
    this.manifests = new ManifestStore({ contents, clock, random, readOnly });
    this.snapshots = new SnapshotStore(this.manifests);
    this.#close = parts.close;
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

  /** Gives back what is held. What was not flushed is lost, as if it had never been written. */
  async close(): Promise<void> {
    await this.#close();
  }
}
