import { promisify } from "node:util";
import { gunzip, gzip } from "node:zlib";
import type { ArchivedItemRef, Backup, BackupVolumeInfo, DownloadTargetKind, ItemOperation, OperationResults } from "@drayage/api";
import { asBuffer, type Clock, compareUtf8, DrayError, forEachLimit, fromUtf8, hasCode, messageOf, utf8 } from "@drayage/base";
import type { ObjectStore } from "@drayage/blob";
import {
  backupFile,
  backupFolder,
  downloadKey,
  isOfVolumeRepository,
  itemEntries,
  parseEntry,
  restoreFile,
  restoreFolder,
  TOP_LEVEL_FOLDERS,
} from "./layout.ts";
import { readEntries, TarballReader } from "./tarball-reader.ts";
import { type FinishedTarball, TarballWriter } from "./tarball-writer.ts";

const gzipped = promisify(gzip);
const gunzipped = promisify(gunzip);

/** A log or a list; resources are in the tarball. */
const UNPACKED_BYTES_MAX = 1 << 30;
const DELETIONS_AT_ONCE = 8;
/** A message names no more foreign folders than this. */
const FOREIGN_NAMED = 3;
/** Each costs a request. A data mover has one folder for each installation that used the bucket. */
const FOREIGN_LOOKED_INTO = 16;

/** What a bucket keeps of a restored or backed-up object. */
type StoredObject = { metadata: Record<string, unknown>; [field: string]: unknown };

export interface StoredBackupFiles {
  readonly backup: Backup;
  readonly archive?: FinishedTarball;
  readonly log?: Uint8Array;
  readonly results?: OperationResults;
  readonly itemOperations?: readonly ItemOperation[];
  readonly resourceList?: Readonly<Record<string, readonly string[]>>;
  readonly volumeInfos?: readonly BackupVolumeInfo[];
  readonly podVolumeBackups?: readonly object[] | null;
  readonly volumeSnapshots?: readonly unknown[] | null;
}

export interface StoredRestoreFiles {
  readonly restoreName: string;
  readonly log?: Uint8Array;
  readonly results?: OperationResults;
  readonly itemOperations?: readonly ItemOperation[];
  readonly resourceList?: Readonly<Record<string, readonly string[]>>;
  readonly volumeInfos?: readonly Record<string, unknown>[];
}

export interface BackupStoreOptions {
  readonly store: ObjectStore;
  /** Where tarballs are written and unpacked; one folder an operation, removed with it. */
  readonly temporaryFolder: string;
  readonly clock: Clock;
}

/** One backup location in Velero's layout. `store` is rooted at the location's prefix. Implements the controllers' BackupStore port. */
export class ArchiveBackupStore {
  readonly #store: ObjectStore;
  readonly #temporaryFolder: string;
  readonly #clock: Clock;

  constructor({ store, temporaryFolder, clock }: BackupStoreOptions) {
    this.#store = store;
    this.#temporaryFolder = temporaryFolder;
    this.#clock = clock;
  }

  async validate(signal?: AbortSignal): Promise<{ ok: true } | { ok: false; reason: string }> {
    try {
      await this.#store.check(signal);
      const { prefixes } = await this.#store.listLevel("", signal);
      const unknown = prefixes.map((prefix) => prefix.replace(/\/$/, "")).filter((folder) => !TOP_LEVEL_FOLDERS.has(folder));
      const foreign = unknown.length > FOREIGN_LOOKED_INTO ? unknown : await this.#foreign(unknown, signal);
      if (foreign.length === 0) return { ok: true };
      // In Velero's words, which people search for.
      const [count, named] = foreign.length > FOREIGN_NAMED ? [`${foreign.length} `, [...foreign.slice(0, FOREIGN_NAMED), "..."]] : ["", foreign];
      return {
        ok: false,
        reason: `Backup store contains ${count}invalid top-level directories: [${named.join(" ")}]; only ${[...TOP_LEVEL_FOLDERS].join(", ")} may lie in a location`,
      };
    } catch (error) {
      signal?.throwIfAborted();
      return { ok: false, reason: messageOf(error) };
    }
  }

  /** Folders that belong neither to backups nor to the data mover of OADP 1.1 and 1.2. */
  async #foreign(folders: readonly string[], signal: AbortSignal | undefined): Promise<readonly string[]> {
    const foreign: string[] = [];
    for (const folder of folders) {
      for await (const { key } of this.#store.listAll(`${folder}/`, signal)) {
        if (!isOfVolumeRepository(key)) foreign.push(folder);
        // The first says it: nobody else writes into that folder.
        break;
      }
    }
    return foreign;
  }

  async listBackups(signal?: AbortSignal): Promise<readonly string[]> {
    const { prefixes } = await this.#store.listLevel("backups/", signal);
    const names: string[] = [];
    await forEachLimit(
      prefixes.map((prefix) => prefix.slice("backups/".length, -1)),
      DELETIONS_AT_ONCE,
      async (name) => {
        if (await this.backupExists(name, signal)) names.push(name);
      },
      signal,
    );
    return names.sort(compareUtf8);
  }

  async backupExists(name: string, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#store.head(backupFile.metadata(name), signal);
      return true;
    } catch (error) {
      if (hasCode(error, "BLOB_NOT_FOUND")) return false;
      throw error;
    }
  }

  async getBackup(name: string, signal?: AbortSignal): Promise<Backup> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#store.get(backupFile.metadata(name), signal);
    } catch (error) {
      if (hasCode(error, "BLOB_NOT_FOUND"))
        throw new DrayError("BACKUP_NOT_FOUND", `Cannot find backup "${name}" in ${this.#store.description}`, { cause: error });
      throw error;
    }
    const backup = this.#parse(bytes, backupFile.metadata(name)) as Partial<Backup> | null;
    if (backup?.kind !== "Backup" || backup.metadata?.name !== name || typeof backup.spec !== "object") {
      throw new DrayError("ARCHIVE_CORRUPT", `Cannot read backup "${name}" in ${this.#store.description}: its velero-backup.json is not that Backup`);
    }
    return backup as Backup;
  }

  newArchiveWriter(_backupName: string): Promise<TarballWriter> {
    return TarballWriter.create(this.#temporaryFolder, this.#clock);
  }

  async openArchive(backupName: string, signal?: AbortSignal, options: { readonly anyVersion?: boolean } = {}): Promise<TarballReader> {
    return TarballReader.open(await this.#contents(backupName, signal), backupName, this.#temporaryFolder, options);
  }

  /** The metadata goes last: a backup exists when it does, and then everything else is there. */
  async putBackup(files: StoredBackupFiles, signal?: AbortSignal): Promise<void> {
    const name = files.backup.metadata.name ?? "";
    if (files.archive !== undefined) await this.#store.putFile(backupFile.contents(name), files.archive.path, signal);
    if (files.log !== undefined) await this.#putPacked(backupFile.log(name), files.log, signal);
    await this.#putJson(backupFile.results(name), files.results, signal);
    await this.#putJson(backupFile.itemOperations(name), files.itemOperations, signal);
    await this.#putJson(backupFile.resourceList(name), files.resourceList, signal);
    await this.#putJson(backupFile.volumeInfos(name), files.volumeInfos, signal);
    await this.#putJson(backupFile.podVolumeBackups(name), files.podVolumeBackups, signal);
    await this.#putJson(backupFile.volumeSnapshots(name), files.volumeSnapshots, signal);
    const { apiVersion: _apiVersion, kind: _kind, ...rest } = files.backup;
    await this.#store.put(backupFile.metadata(name), utf8(`${JSON.stringify({ kind: "Backup", apiVersion: "velero.io/v1", ...rest }, null, 2)}\n`), signal);
  }

  async getItemOperations(backupName: string, signal?: AbortSignal): Promise<readonly ItemOperation[]> {
    return ((await this.#getJson(backupFile.itemOperations(backupName), signal)) ?? []) as ItemOperation[];
  }

  async getVolumeInfos(backupName: string, signal?: AbortSignal): Promise<readonly BackupVolumeInfo[]> {
    return ((await this.#getJson(backupFile.volumeInfos(backupName), signal)) ?? []) as BackupVolumeInfo[];
  }

  async getPodVolumeBackups(backupName: string, signal?: AbortSignal): Promise<readonly StoredObject[]> {
    return ((await this.#getJson(backupFile.podVolumeBackups(backupName), signal)) ?? []) as StoredObject[];
  }

  async getResults(backupName: string, signal?: AbortSignal): Promise<OperationResults> {
    return ((await this.#getJson(backupFile.results(backupName), signal)) ?? { errors: {}, warnings: {} }) as OperationResults;
  }

  async getLog(kind: "backup" | "restore", name: string, signal?: AbortSignal): Promise<Uint8Array> {
    const key = kind === "backup" ? backupFile.log(name) : restoreFile.log(name);
    return this.#unpack(await this.#store.get(key, signal), key);
  }

  /** Copies the stored tarball with these items replaced, or added at its end, and without those that are omitted. The result lies on local disk until it is disposed of. */
  async updateArchive(
    backupName: string,
    replacements: readonly { readonly ref: ArchivedItemRef; readonly object: object }[],
    signal?: AbortSignal,
    omits: (ref: ArchivedItemRef) => boolean = () => false,
  ): Promise<FinishedTarball & { dispose(): Promise<void> }> {
    const pending = new Map(replacements.flatMap(({ ref, object }) => itemEntries(ref).map((entry) => [entry, utf8(JSON.stringify(object))] as const)));
    const writer = await TarballWriter.create(this.#temporaryFolder, this.#clock, { withVersion: false });
    try {
      for await (const { name, bytes } of readEntries(await this.#contents(backupName, signal), backupName)) {
        signal?.throwIfAborted();
        const ref = parseEntry(name);
        if (ref !== undefined && omits(ref)) continue;
        await writer.addEntry(name, pending.get(name) ?? bytes);
        pending.delete(name);
      }
      for (const [name, bytes] of pending) await writer.addEntry(name, bytes);
      return { ...(await writer.finish()), dispose: () => writer.dispose() };
    } catch (error) {
      await writer.dispose();
      throw error;
    }
  }

  /** The metadata goes first: what is left after a failure in the middle is not listed as a backup. */
  async deleteBackup(backupName: string, signal?: AbortSignal): Promise<void> {
    await this.#store.delete(backupFile.metadata(backupName), signal);
    await this.#deleteFolder(backupFolder(backupName), signal);
  }

  async putRestore(files: StoredRestoreFiles, signal?: AbortSignal): Promise<void> {
    const name = files.restoreName;
    if (files.log !== undefined) await this.#putPacked(restoreFile.log(name), files.log, signal);
    await this.#putJson(restoreFile.results(name), files.results, signal);
    await this.#putJson(restoreFile.itemOperations(name), files.itemOperations, signal);
    await this.#putJson(restoreFile.resourceList(name), files.resourceList, signal);
    await this.#putJson(restoreFile.volumeInfos(name), files.volumeInfos, signal);
  }

  async getRestoreItemOperations(restoreName: string, signal?: AbortSignal): Promise<readonly ItemOperation[]> {
    return ((await this.#getJson(restoreFile.itemOperations(restoreName), signal)) ?? []) as ItemOperation[];
  }

  /** Throws BLOB_NOT_FOUND. */
  async getRestoreResults(restoreName: string, signal?: AbortSignal): Promise<OperationResults> {
    return this.#requireJson<OperationResults>(restoreFile.results(restoreName), signal);
  }

  /** Throws BLOB_NOT_FOUND. */
  async getRestoreResourceList(restoreName: string, signal?: AbortSignal): Promise<Readonly<Record<string, readonly string[]>>> {
    return this.#requireJson(restoreFile.resourceList(restoreName), signal);
  }

  async deleteRestore(restoreName: string, signal?: AbortSignal): Promise<void> {
    await this.#deleteFolder(restoreFolder(restoreName), signal);
  }

  downloadUrl(kind: DownloadTargetKind, name: string, validForMs: number): Promise<string> {
    return this.#store.signedUrl(downloadKey[kind](name), validForMs);
  }

  async close(): Promise<void> {
    await this.#store.close();
  }

  async #contents(backupName: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    try {
      return await this.#store.getStream(backupFile.contents(backupName), signal);
    } catch (error) {
      if (hasCode(error, "BLOB_NOT_FOUND")) {
        throw new DrayError("ARCHIVE_CORRUPT", `Cannot read backup "${backupName}" in ${this.#store.description}: its tarball is missing`, { cause: error });
      }
      throw error;
    }
  }

  async #deleteFolder(folder: string, signal?: AbortSignal): Promise<void> {
    await forEachLimit(this.#store.listAll(folder, signal), DELETIONS_AT_ONCE, ({ key }) => this.#store.delete(key, signal), signal);
  }

  /** `undefined` means that the file is left as it is; `null` is stored. */
  async #putJson(key: string, value: unknown, signal?: AbortSignal): Promise<void> {
    if (value !== undefined) await this.#putPacked(key, utf8(`${JSON.stringify(value)}\n`), signal);
  }

  async #putPacked(key: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#store.put(key, await gzipped(bytes), signal);
  }

  async #getJson(key: string, signal?: AbortSignal): Promise<unknown> {
    try {
      return await this.#requireJson(key, signal);
    } catch (error) {
      // Older releases did not write every file.
      if (hasCode(error, "BLOB_NOT_FOUND")) return undefined;
      throw error;
    }
  }

  async #requireJson<T>(key: string, signal?: AbortSignal): Promise<T> {
    return this.#parse(await this.#unpack(await this.#store.get(key, signal), key), key) as T;
  }

  async #unpack(bytes: Uint8Array, key: string): Promise<Uint8Array> {
    try {
      return await gunzipped(asBuffer(bytes), { maxOutputLength: UNPACKED_BYTES_MAX });
    } catch (error) {
      throw new DrayError("ARCHIVE_CORRUPT", `Cannot unpack "${key}" in ${this.#store.description}: ${messageOf(error)}`, { cause: error });
    }
  }

  #parse(bytes: Uint8Array, key: string): unknown {
    try {
      return JSON.parse(fromUtf8(bytes));
    } catch (error) {
      throw new DrayError("ARCHIVE_CORRUPT", `Cannot read "${key}" in ${this.#store.description}: it is not JSON`, { cause: error });
    }
  }
}
