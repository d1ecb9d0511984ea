/** Creates and opens repositories: the format, the contents, and what a new repository holds before anybody has stored anything. */
import { type Clock, DrayError, type Logger, nullLogger, type RandomSource, systemClock, systemRandom } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { createKernels } from "@drayage/kernels";
import type { IndexCachePlace } from "./content/committed-index.ts";
import { openContents } from "./content/contents.ts";
import { FORMAT_BLOB_ID } from "./format/format-blob.ts";
import type { DeriveFormatKey } from "./format/key-hierarchy.ts";
import { type CreateFormatOptions, createRepositoryFormat, openRepositoryFormat, type RepositoryFormat } from "./format/repository-format.ts";
import { writeUdmRepository } from "./format/udm-repository.ts";
import { maintenanceLabels, maintenanceParameters } from "./maintenance/maintenance-parameters.ts";
import { defaultPolicy } from "./policy/default-policy.ts";
import { encodePolicy } from "./policy/policy-document.ts";
import { globalTarget, policyLabels } from "./policy/policy-target.ts";
import { Repository, type RepositoryFormatInfo, type RepositoryIdentity, veleroIdentity } from "./repository.ts";

export interface OpenRepositoryOptions {
  readonly password: string;
  /** Who works with it. @default default@default, as Velero does */
  readonly identity?: RepositoryIdentity;
  /** Nothing is written; what tries to is refused with REPO_READ_ONLY. @default false */
  readonly readOnly?: boolean;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  /** Bytes of complete packs on their way to the storage. @default 48 MiB, two packs of the usual size; one on a local file system */
  readonly packBytesInFlightMax?: number;
  /** Bytes of packs kept for reading. @default 32 MiB */
  readonly cacheBytesMax?: number;
  /** A folder where copies of indexes are kept for the next client on this machine, of all repositories; temporary files without it. */
  readonly indexCache?: IndexCachePlace | undefined;
  /** How a password becomes a key; one that remembers saves a process that opens many repositories the stretching. */
  readonly deriveKey?: DeriveFormatKey;
  /** The password that it is about to get: a change that was cut off can then be finished. */
  readonly nextPassword?: string;
  readonly signal?: AbortSignal;
}

export interface CreateRepositoryOptions extends OpenRepositoryOptions {
  /** Hash, encryption, splitter, error correction, format version; Kopia's defaults where left out. */
  readonly format?: NonNullable<CreateFormatOptions["blockFormat"]>;
  readonly retention?: CreateFormatOptions["retention"];
  /** Sets the repository up as Velero does: default@default maintains it, and the blob that tells Velero so is there. */
  readonly velero?: { readonly fullMaintenanceIntervalMs?: number };
}

/**
 * Makes a repository in an empty storage and opens it. It holds the global policy and the maintenance parameters, as one that Kopia made.
 * Throws REPO_ALREADY_EXISTS when the storage holds anything, REPO_UNSUPPORTED for a choice that is not known.
 */
export async function createRepository(storage: BlobStorage, options: CreateRepositoryOptions): Promise<Repository> {
  const { clock = systemClock, random = systemRandom, logger = nullLogger, signal, password, format, retention, velero } = options;
  for await (const { id } of storage.list(FORMAT_BLOB_ID, signal)) {
    if (id !== FORMAT_BLOB_ID) continue;
    throw new DrayError("REPO_ALREADY_EXISTS", `Cannot create repository at "${storage.description}": there is one already`, {
      hint: "Open it instead, or choose another place.",
    });
  }
  const made = await createRepositoryFormat(storage, {
    ...{ password, clock, random, logger },
    ...(format === undefined ? {} : { blockFormat: format }),
    ...(options.deriveKey === undefined ? {} : { deriveKey: options.deriveKey }),
    ...(retention === undefined ? {} : { retention }),
  });
  const repository = await openOver(storage, { ...options, readOnly: false }, made);
  const { userName, host } = velero === undefined ? repository.identity : veleroIdentity;
  const interval = velero?.fullMaintenanceIntervalMs;
  await repository.manifests.put(policyLabels(globalTarget), encodePolicy(defaultPolicy), signal);
  await repository.manifests.put(
    maintenanceLabels,
    maintenanceParameters({
      owner: `${userName}@${host}`,
      ...(interval === undefined ? {} : { fullIntervalMs: interval }),
      // Locks that nobody extends run out while the blobs are still needed.
      extendObjectLocks: retention !== undefined,
    }),
    signal,
  );
  await repository.flush(signal);
  // Last: a Velero that finds it takes everything before for done.
  if (velero !== undefined) await writeUdmRepository(storage, repository.uniqueId, signal);
  return repository;
}

/**
 * Opens a repository and loads its index.
 * Throws REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_LOCKED, REPO_UNSUPPORTED naming what is not known, REPO_CORRUPT naming the blob.
 */
export async function openRepository(storage: BlobStorage, options: OpenRepositoryOptions): Promise<Repository> {
  const { nextPassword, password, deriveKey, clock = systemClock, random = systemRandom, logger = nullLogger } = options;
  if (nextPassword === undefined) return await openOver(storage, options, undefined);
  const format = { password, nextPassword, clock, random, logger, ...(deriveKey === undefined ? {} : { deriveKey }) };
  return await openOver(storage, options, await openRepositoryFormat(storage, format, options.signal));
}

async function openOver(storage: BlobStorage, options: OpenRepositoryOptions, format: RepositoryFormat | undefined): Promise<Repository> {
  const { clock = systemClock, random = systemRandom, logger = nullLogger, readOnly = false, identity = veleroIdentity, signal } = options;
  const kernels = await createKernels({ random, logger });
  const contents = await openContents(
    storage,
    {
      ...{ password: options.password, clock, random, logger, readOnly, kernels },
      identity: { username: identity.userName, hostname: identity.host },
      ...(format === undefined ? {} : { format }),
      ...(options.deriveKey === undefined ? {} : { deriveKey: options.deriveKey }),
      packBytesInFlightMax: options.packBytesInFlightMax ?? (storage.capabilities.isLocal === true ? LOCAL_IN_FLIGHT_BYTES : DEFAULT_IN_FLIGHT_BYTES),
      ...(options.cacheBytesMax === undefined ? {} : { cacheBytesMax: options.cacheBytesMax }),
      indexCache: options.indexCache,
    },
    signal,
  );
  return new Repository({
    ...{ storage, contents, clock, random, readOnly, identity },
    format: () => formatInfoOf(contents.format),
    uniqueId: contents.format.uniqueId,
    createSplitter: (name) => kernels.splitter(name),
    decompress: (headerId, payload) => kernels.compressorByHeader(headerId).decompress(payload, CHUNK_BYTES_MAX),
    changePassword: (next) => contents.format.changePassword(next),
    close: () => contents.close(),
  });
}

const DEFAULT_IN_FLIGHT_BYTES = 48 << 20;
const LOCAL_IN_FLIGHT_BYTES = 24 << 20;
/** No splitter makes larger chunks. */
const CHUNK_BYTES_MAX = 16 << 20;

function formatInfoOf({ block, keyAlgorithm }: RepositoryFormat): RepositoryFormatInfo {
  return {
    version: block.version,
    hash: block.hash,
    encryption: block.encryption,
    splitter: block.splitter,
    keyAlgorithm,
    indexVersion: block.indexVersion,
    maxPackBytes: block.maxPackBytes,
    ...(block.eccOverheadPercent === 0 ? {} : { ecc: { algorithm: block.ecc, overheadPercent: block.eccOverheadPercent } }),
    usesEpochs: block.epochParameters.enabled,
  };
}
