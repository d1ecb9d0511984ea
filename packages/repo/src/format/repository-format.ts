import { type Clock, DrayError, hasCode, type Logger, nullLogger, type RandomSource, systemRandom } from "@drayage/base";
import type { BlobRetention, BlobStorage, PutBlobOptions } from "@drayage/blob";
import { BLOB_CONFIG_ID, type BlobConfig, decodeBlobConfig, encodeBlobConfig, retentionOf } from "./blob-config.ts";
import { type BlockFormat, type BlockFormatChoices, checkSupported, decodeBlockFormat, encodeBlockFormat, newBlockFormat } from "./block-format.ts";
import { decodeFormatBlob, encodeFormatBlob, FORMAT_BLOB_ID, type FormatBlob } from "./format-blob.ts";
import { DEFAULT_KEY_ALGORITHM, type DeriveFormatKey, deriveFormatKey, deriveMaintenanceKey, openWithFormatKey, sealWithFormatKey } from "./key-hierarchy.ts";

/** How long a client may go on with what it read: whoever changes the format waits that long for everybody to notice. */
const REREAD_AFTER_MS = 15 * 60_000;

export interface FormatOptions {
  readonly password: string;
  readonly clock: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  /** Where format keys come from; by default each is derived anew, which takes 0.2 s. */
  readonly deriveKey?: DeriveFormatKey;
  /** The password that it is about to get: opens what a change that was cut off has encrypted already. */
  readonly nextPassword?: string;
  /** Who upgrades the format: the lock of this owner does not keep it out, any other does, in force or not. */
  readonly upgradeOwner?: string;
}

export interface CreateFormatOptions extends FormatOptions {
  readonly blockFormat?: BlockFormatChoices;
  /** Object lock for everything that is written for good. */
  readonly retention?: BlobConfig["retention"];
  readonly keyAlgorithm?: string;
  /** Written to `kopia.repository` for people who look at it. */
  readonly buildVersion?: string;
}

/**
 * Makes a repository in an empty storage. `kopia.repository` decides: of two creators at once the second is refused, where the storage can refuse, and only the first writes
 * `kopia.blobcfg`, under the key that opens it. With object lock that goes first, so that no repository is ever there without its lock; what a creator left who was killed in between
 * is written over.
 * Throws REPO_ALREADY_EXISTS when the storage holds anything else, REPO_UNSUPPORTED and USAGE for choices that cannot be.
 */
export async function createRepositoryFormat(storage: BlobStorage, options: CreateFormatOptions): Promise<RepositoryFormat> {
  const random = options.random ?? systemRandom;
  const block = newBlockFormat(options.blockFormat ?? {}, random);
  for await (const blob of storage.list("")) {
    if (blob.id === BLOB_CONFIG_ID) continue;
    const there = blob.id === FORMAT_BLOB_ID ? "there is one already" : `the storage is not empty, it holds "${blob.id}"`;
    throw new DrayError("REPO_ALREADY_EXISTS", `Cannot create repository at "${storage.description}": ${there}`, {
      hint: "Open it instead, or choose another place.",
    });
  }
  const uniqueId = random.bytes(32);
  const keyAlgorithm = options.keyAlgorithm ?? DEFAULT_KEY_ALGORITHM;
  const formatKey = await (options.deriveKey ?? deriveFormatKey)(options.password, uniqueId, keyAlgorithm);
  const config: BlobConfig = { retention: options.retention };
  const blob: FormatBlob = {
    tool: "drayage",
    buildVersion: options.buildVersion ?? "",
    buildInfo: "",
    uniqueId,
    keyAlgorithm,
    encryptedBlockFormat: sealWithFormatKey(formatKey, uniqueId, encodeBlockFormat(block), random),
  };
  const bytes = encodeFormatBlob(blob);
  const put = (id: string, data: Uint8Array, ifAbsent: boolean): Promise<void> =>
    storage.put(id, data, putOptions(retentionOf(config, id, options.clock.nowMs()), ifAbsent && storage.capabilities.putIfAbsent));
  const sealedConfig = sealWithFormatKey(formatKey, uniqueId, encodeBlobConfig(config), random);
  if (config.retention !== undefined) await put(BLOB_CONFIG_ID, sealedConfig, false);
  try {
    // Two creators at once: the second must not replace the keys of the first.
    await put(FORMAT_BLOB_ID, bytes, true);
  } catch (cause) {
    if (!hasCode(cause, "BLOB_ALREADY_EXISTS")) throw cause;
    throw new DrayError("REPO_ALREADY_EXISTS", `Cannot create repository at "${storage.description}": somebody else just did`, { cause });
  }
  if (config.retention === undefined) await put(BLOB_CONFIG_ID, sealedConfig, false);
  return new RepositoryFormat(storage, options, { bytes, blob, block, formatKey, config });
}

/**
 * Opens the format of a repository.
 * Throws REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_CORRUPT, REPO_UNSUPPORTED (naming what), REPO_LOCKED.
 */
export async function openRepositoryFormat(storage: BlobStorage, options: FormatOptions, signal?: AbortSignal): Promise<RepositoryFormat> {
  const bytes = await getFormatBlob(storage, signal);
  const blob = decodeFormatBlob(bytes);
  const formatKey = await (options.deriveKey ?? deriveFormatKey)(options.password, blob.uniqueId, blob.keyAlgorithm);
  return new RepositoryFormat(storage, options, await readFormat(storage, options, bytes, blob, formatKey, signal));
}

interface FormatState {
  /** Of `kopia.repository`, as stored. */
  readonly bytes: Uint8Array;
  readonly blob: FormatBlob;
  readonly block: BlockFormat;
  readonly formatKey: Uint8Array;
  readonly config: BlobConfig;
}

/** The format of an open repository: what it says, read again every 15 minutes, and the keys that hang on the password. */
export class RepositoryFormat {
  readonly #storage: BlobStorage;
  readonly #options: FormatOptions;
  #state: FormatState;
  #readAtMs: number;

  constructor(storage: BlobStorage, options: FormatOptions, state: FormatState) {
    this.#storage = storage;
    this.#options = options;
    this.#state = state;
    this.#readAtMs = options.clock.monotonicMs();
  }

  get block(): BlockFormat {
    return this.#state.block;
  }

  get uniqueId(): Uint8Array {
    return this.#state.blob.uniqueId;
  }

  get keyAlgorithm(): string {
    return this.#state.blob.keyAlgorithm;
  }

  get config(): BlobConfig {
    return this.#state.config;
  }

  /** `kopia.repository` as stored, for the copies in packs. */
  get formatBlobBytes(): Uint8Array {
    return this.#state.bytes;
  }

  /** Of `kopia.maintenance`. */
  get maintenanceKey(): Uint8Array {
    const { block, formatKey } = this.#state;
    return deriveMaintenanceKey(block.enablePasswordChange ? block.masterKey : formatKey, this.uniqueId);
  }

  /** What a put of this blob carries: the object lock, where there is one. */
  putOptionsOf(blobId: string, signal?: AbortSignal): PutBlobOptions {
    return putOptions(retentionOf(this.#state.config, blobId, this.#options.clock.nowMs()), false, signal);
  }

  /** Whether what was read is too old to go on with. */
  get isStale(): boolean {
    return this.#options.clock.monotonicMs() - this.#readAtMs >= REREAD_AFTER_MS;
  }

  /** Reads the format again when it is 15 minutes old. Throws as opening does; a repository that was replaced by another is REPO_CORRUPT. */
  async refresh(signal?: AbortSignal): Promise<void> {
    if (!this.isStale) return;
    const startedMs = this.#options.clock.monotonicMs();
    const bytes = await getFormatBlob(this.#storage, signal);
    const blob = decodeFormatBlob(bytes);
    if (!Buffer.from(blob.uniqueId).equals(this.uniqueId)) {
      throw new DrayError("REPO_CORRUPT", `Cannot go on with repository at "${this.#storage.description}": it was replaced by another one`);
    }
    const next = await readFormat(this.#storage, this.#options, bytes, blob, this.#state.formatKey, signal);
    if (!Buffer.from(next.block.masterKey).equals(this.#state.block.masterKey) || !Buffer.from(next.block.secret).equals(this.#state.block.secret)) {
      throw new DrayError("REPO_CORRUPT", `Cannot go on with repository at "${this.#storage.description}": its keys changed`);
    }
    this.#state = next;
    this.#readAtMs = startedMs;
  }

  /** Stores another block format under the same password: steps of an upgrade. */
  async rewrite(block: BlockFormat, signal?: AbortSignal): Promise<void> {
    const { blob, formatKey, config } = this.#state;
    const random = this.#options.random ?? systemRandom;
    const next: FormatBlob = { ...blob, encryptedBlockFormat: sealWithFormatKey(formatKey, this.uniqueId, encodeBlockFormat(block), random) };
    const bytes = encodeFormatBlob(next);
    await this.#storage.put(FORMAT_BLOB_ID, bytes, this.putOptionsOf(FORMAT_BLOB_ID, signal));
    this.#state = { bytes, blob: next, block, formatKey, config };
  }

  /**
   * Encrypts the format under a new password; contents and their keys stay.
   *
   * Two blobs hang on the password, and no store changes both at once. `kopia.blobcfg` says nothing where there is no object lock, so it is taken away first and written again last:
   * whoever is killed in between leaves a repository that one of the two passwords opens. With object lock it cannot be missed, not even for a moment: it goes first, and a change that
   * was cut off behind it is finished by opening with `nextPassword` and changing once more.
   * Throws REPO_UNSUPPORTED where the format forbids it.
   */
  async changePassword(password: string, signal?: AbortSignal): Promise<void> {
    const { blob, block, config } = this.#state;
    const random = this.#options.random ?? systemRandom;
    if (!block.enablePasswordChange) {
      throw new DrayError("REPO_UNSUPPORTED", `Cannot change the password of repository at "${this.#storage.description}": its format does not allow it`, {
        hint: "Format version 1, and what was upgraded from it, ties the password to its packs; copy the snapshots to a new repository.",
      });
    }
    const formatKey = await (this.#options.deriveKey ?? deriveFormatKey)(password, this.uniqueId, blob.keyAlgorithm);
    const nextBlob: FormatBlob = { ...blob, encryptedBlockFormat: sealWithFormatKey(formatKey, this.uniqueId, encodeBlockFormat(block), random) };
    const bytes = encodeFormatBlob(nextBlob);
    const sealedConfig = sealWithFormatKey(formatKey, this.uniqueId, encodeBlobConfig(config), random);
    const put = (id: string, data: Uint8Array): Promise<void> => this.#storage.put(id, data, this.putOptionsOf(id, signal));
    if (config.retention === undefined) await this.#storage.delete(BLOB_CONFIG_ID, signal);
    else await put(BLOB_CONFIG_ID, sealedConfig);
    await put(FORMAT_BLOB_ID, bytes);
    if (config.retention === undefined) await put(BLOB_CONFIG_ID, sealedConfig);
    this.#state = { bytes, blob: nextBlob, block, formatKey, config };
    this.#readAtMs = this.#options.clock.monotonicMs();
  }
}

async function getFormatBlob(storage: BlobStorage, signal?: AbortSignal): Promise<Uint8Array> {
  try {
    return await storage.get(FORMAT_BLOB_ID, signal === undefined ? {} : { signal });
  } catch (cause) {
    if (!hasCode(cause, "BLOB_NOT_FOUND")) throw cause;
    throw new DrayError("REPO_NOT_FOUND", `Cannot open repository at "${storage.description}": there is none`, {
      cause,
      hint: "Check the address, or create the repository first.",
    });
  }
}

async function readFormat(
  storage: BlobStorage,
  options: FormatOptions,
  bytes: Uint8Array,
  blob: FormatBlob,
  formatKey: Uint8Array,
  signal?: AbortSignal,
): Promise<FormatState> {
  const plaintext = openWithFormatKey(formatKey, blob.uniqueId, blob.encryptedBlockFormat);
  if (plaintext === undefined) {
    throw new DrayError("REPO_WRONG_PASSWORD", `Cannot open repository at "${storage.description}": the password does not match "${FORMAT_BLOB_ID}"`, {
      hint: "Check the password; the one of the installation that created the repository is needed.",
    });
  }
  const block = decodeBlockFormat(plaintext);
  const logger = options.logger ?? nullLogger;
  checkSupported(block, options.clock.nowMs(), (message) => logger.warn(`Repository at "${storage.description}": ${message}`), options.upgradeOwner);
  return { bytes, blob, block, formatKey, config: await readConfig(storage, options, blob, formatKey, signal) };
}

/** The settings in `kopia.blobcfg`; none where the blob is missing. */
async function readConfig(storage: BlobStorage, options: FormatOptions, blob: FormatBlob, formatKey: Uint8Array, signal?: AbortSignal): Promise<BlobConfig> {
  const { uniqueId, keyAlgorithm } = blob;
  let sealed: Uint8Array;
  try {
    sealed = await storage.get(BLOB_CONFIG_ID, signal === undefined ? {} : { signal });
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) return { retention: undefined };
    throw error;
  }
  let plaintext = openWithFormatKey(formatKey, uniqueId, sealed);
  if (plaintext === undefined && options.nextPassword !== undefined) {
    const nextKey = await (options.deriveKey ?? deriveFormatKey)(options.nextPassword, uniqueId, keyAlgorithm);
    plaintext = openWithFormatKey(nextKey, uniqueId, sealed);
  }
  if (plaintext === undefined) {
    throw new DrayError(
      "REPO_CORRUPT",
      `Cannot open repository at "${storage.description}": "${BLOB_CONFIG_ID}" does not decrypt under the password of "${FORMAT_BLOB_ID}"`,
      {
        hint: "A change of the password may have been cut off; change it once more, from the same old to the same new one.",
      },
    );
  }
  return decodeBlobConfig(plaintext);
}

function putOptions(retention: BlobRetention | undefined, ifAbsent: boolean, signal?: AbortSignal): PutBlobOptions {
  return { ...(retention === undefined ? {} : { retention }), ...(ifAbsent ? { ifAbsent } : {}), ...(signal === undefined ? {} : { signal }) };
}
