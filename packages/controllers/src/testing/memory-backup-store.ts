/** A backup location in memory: what was put can be taken out again, and files can be looked at. It knows no file name and no compression; archive's own tests do. */
import type { Backup, BackupStorageLocation } from "@drayage/api";
import { DrayError, fromUtf8 } from "@drayage/base";
import type { GenericObject } from "@drayage/kube";
import { clone } from "@drayage/kube/testing";
import type {
  ArchivedItemRef,
  BackupArchiveReader,
  BackupArchiveWriter,
  BackupFiles,
  BackupStore,
  BackupStores,
  BackupVolumeInfo,
  FinishedArchive,
  ItemOperation,
  OperationResults,
  RestoreFiles,
} from "../ports.ts";

interface ArchivedItem {
  readonly ref: ArchivedItemRef;
  readonly object: GenericObject;
}

export class MemoryBackupStore implements BackupStore, BackupStores {
  readonly backups = new Map<string, BackupFiles>();
  readonly restores = new Map<string, RestoreFiles>();
  /** Items of finished tarballs by the path they were given out under. */
  readonly archives = new Map<string, ArchivedItem[]>();
  /** Tarballs whose writer or reader has not been disposed of. */
  openArchives = 0;
  /** Thrown by every call while it is set. */
  failure: Error | undefined;
  #paths = 0;

  async open(_location: BackupStorageLocation): Promise<BackupStore> {
    this.#check();
    return this;
  }

  async validate(): Promise<{ readonly ok: true }> {
    this.#check();
    return { ok: true };
  }

  async listBackups(): Promise<readonly string[]> {
    this.#check();
    return [...this.backups.keys()].sort();
  }

  async getBackup(name: string): Promise<Backup> {
    return clone(this.#backup(name).backup);
  }

  async backupExists(name: string): Promise<boolean> {
    this.#check();
    return this.backups.has(name);
  }

  async newArchiveWriter(): Promise<BackupArchiveWriter> {
    this.#check();
    const items: ArchivedItem[] = [];
    let open = true;
    this.openArchives++;
    return {
      add: async (ref, object) => void items.push({ ref, object: clone(object) }),
      finish: async () => this.#finished(items),
      dispose: async () => {
        if (open) this.openArchives--;
        open = false;
      },
    };
  }

  async openArchive(backupName: string): Promise<BackupArchiveReader> {
    const items = this.items(backupName);
    this.openArchives++;
    let open = true;
    const of = (groupResource: string): ArchivedItem[] => items.filter(({ ref }) => ref.groupResource === groupResource);
    return {
      formatVersion: "1.1.0",
      resources: () => [...new Set(items.map(({ ref }) => ref.groupResource))].sort(),
      items: (groupResource) => of(groupResource).map(({ ref }) => ref),
      versions: (groupResource) =>
        of(groupResource)
          .slice(0, 1)
          .map(({ ref }) => ({ version: ref.version, preferred: ref.preferred })),
      read: async (ref) => clone(items.find((item) => sameItem(item.ref, ref))?.object ?? missing("item", ref.name)),
      find: (groupResource, namespace, name) => of(groupResource).find(({ ref }) => ref.namespace === namespace && ref.name === name)?.ref,
      dispose: async () => {
        if (open) this.openArchives--;
        open = false;
      },
    };
  }

  /** What lies in a backup's tarball, in its order. */
  items(backupName: string): readonly ArchivedItem[] {
    return this.archives.get(this.#backup(backupName).archive?.path ?? "") ?? [];
  }

  async putBackup(files: BackupFiles): Promise<void> {
    this.#check();
    const name = files.backup.metadata.name ?? "";
    const { archive, ...rest } = files;
    // Only these two of an archive are the store's business; it may carry functions.
    const kept = archive === undefined ? {} : { archive: { path: archive.path, lengthBytes: archive.lengthBytes } };
    this.backups.set(name, { ...this.backups.get(name), ...clone(rest), ...kept });
  }

  async getItemOperations(backupName: string): Promise<readonly ItemOperation[]> {
    return clone(this.#backup(backupName).itemOperations ?? []);
  }

  async getVolumeInfos(backupName: string): Promise<readonly BackupVolumeInfo[]> {
    return clone(this.#backup(backupName).volumeInfos ?? []);
  }

  async getPodVolumeBackups(backupName: string): Promise<readonly GenericObject[]> {
    return clone(this.#backup(backupName).podVolumeBackups ?? []);
  }

  async getResults(backupName: string): Promise<OperationResults> {
    return clone(this.#backup(backupName).results ?? { errors: {}, warnings: {} });
  }

  async getLog(kind: "backup" | "restore", name: string): Promise<Uint8Array> {
    return (kind === "backup" ? this.#backup(name).log : this.#restore(name).log) ?? missing("log", name);
  }

  /** The log of a backup, as text. */
  logText(kind: "backup" | "restore", name: string): string {
    return fromUtf8((kind === "backup" ? this.#backup(name).log : this.#restore(name).log) ?? new Uint8Array());
  }

  async updateArchive(
    backupName: string,
    replacements: readonly { readonly ref: ArchivedItemRef; readonly object: GenericObject }[],
  ): Promise<FinishedArchive & { dispose(): Promise<void> }> {
    const kept = this.items(backupName).filter((item) => !replacements.some(({ ref }) => sameItem(item.ref, ref)));
    const finished = this.#finished([...kept, ...replacements]);
    return { ...finished, dispose: async () => undefined };
  }

  async deleteBackup(backupName: string): Promise<void> {
    this.#check();
    this.backups.delete(backupName);
  }

  async putRestore(files: RestoreFiles): Promise<void> {
    this.#check();
    this.restores.set(files.restoreName, clone({ ...this.restores.get(files.restoreName), ...files }));
  }

  async getRestoreItemOperations(restoreName: string): Promise<readonly ItemOperation[]> {
    return clone(this.#restore(restoreName).itemOperations ?? []);
  }

  async getRestoreResults(restoreName: string): Promise<OperationResults> {
    return clone(this.#restore(restoreName).results ?? { errors: {}, warnings: {} });
  }

  async getRestoreResourceList(restoreName: string): Promise<Readonly<Record<string, readonly string[]>>> {
    return clone(this.#restore(restoreName).resourceList ?? {});
  }

  async deleteRestore(restoreName: string): Promise<void> {
    this.#check();
    this.restores.delete(restoreName);
  }

  async downloadUrl(): Promise<string> {
    throw new DrayError("NOT_SUPPORTED", "Cannot sign an address: this store is in memory");
  }

  #backup(name: string): BackupFiles {
    this.#check();
    return this.backups.get(name) ?? missing("backup", name);
  }

  #restore(name: string): RestoreFiles {
    this.#check();
    return this.restores.get(name) ?? missing("restore", name);
  }

  #finished(items: readonly ArchivedItem[]): FinishedArchive {
    const path = `memory:${this.#paths++}`;
    this.archives.set(path, [...items]);
    return { path, lengthBytes: items.length };
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}

function sameItem(a: ArchivedItemRef, b: ArchivedItemRef): boolean {
  return a.groupResource === b.groupResource && a.namespace === b.namespace && a.name === b.name;
}

function missing(what: string, name: string): never {
  throw new DrayError("BACKUP_NOT_FOUND", `Cannot read ${what} "${name}": it does not exist`);
}
