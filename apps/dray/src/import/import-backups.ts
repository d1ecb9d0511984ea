/**
 * `import volsync` from a bucket: each backup of OADP 1.1 or 1.2 gets a second one beside it, `<name>-imported`, that restores with today's data mover. The first is left as it is.
 *
 *   VolumeSnapshotBackups of the backup ─► restic repository of each ─► kopia/<namespace> ─► DataUploads ─► the new backup, written last
 *
 * Cut off anywhere it begins again: snapshots that are complete are found by their tags, one under way goes on from its checkpoint, and a backup is there only when all of it is.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backup } from "@drayage/api";
import { ArchiveBackupStore } from "@drayage/archive";
import { DrayError, formatBytes } from "@drayage/base";
import { matchesLabels, parseLabelSelector } from "@drayage/kube";
import { type RepositoryOptions, repositoryPassword } from "../engine/repository-access.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { formatJson } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { type Column, formatTable } from "../output/table.ts";
import { objectStoreFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";
import { convertedBackup } from "./converted-backup.ts";
import { importVolume } from "./import-volume.ts";
import { type MovedVolume, type PlannedBackup, planBackup, sizeOf } from "./planned-backup.ts";
import { resticPasswordOf } from "./restic-source.ts";

export interface BackupImportOptions extends Pick<RepositoryOptions, "passwordFile" | "json"> {
  readonly resticPasswordFile?: string;
  readonly prefix?: string;
  readonly backup?: readonly string[];
  readonly selector?: string;
  readonly all?: boolean;
  readonly namespace?: string;
  readonly dryRun?: boolean;
  readonly keepGoing?: boolean;
  readonly verify?: boolean;
}

export const IMPORTED_SUFFIX = "-imported";

/** What one import works with. */
export interface BucketImport {
  /** Of the bucket's root. */
  readonly url: string;
  /** Of the location, without slashes around it; empty for none. */
  readonly prefix: string;
  readonly resticPassword: string;
  readonly options: BackupImportOptions;
  readonly terminal: Terminal;
}

export async function importBackups(url: string, options: BackupImportOptions, terminal: Terminal): Promise<void> {
  const prefix = (options.prefix ?? "").replace(/^\/+|\/+$/g, "");
  const resticPassword = (await resticPasswordOf(options.resticPasswordFile, terminal)) ?? (await repositoryPassword(options, terminal));
  const bucket: BucketImport = { url, prefix, resticPassword, options, terminal };
  const temporaryFolder = await mkdtemp(join(tmpdir(), "dray-import-"));
  const objects = await objectStoreFromUrl(url, terminal, prefix === "" ? {} : { below: prefix });
  const store = new ArchiveBackupStore({ store: objects, temporaryFolder, clock: terminal.clock });
  try {
    const planned: PlannedBackup[] = [];
    for (const backup of await chooseBackups(store, options, terminal.signal)) planned.push(await planBackup(bucket, store, backup));
    if (options.dryRun === true) tellPlan(planned, options, terminal);
    else for (const plan of planned) await importBackup(bucket, store, plan);
  } finally {
    await store.close();
    await rm(temporaryFolder, { recursive: true, force: true });
  }
}

async function chooseBackups(store: ArchiveBackupStore, { backup: names = [], selector, all }: BackupImportOptions, signal: AbortSignal): Promise<Backup[]> {
  if (names.length === 0 && selector === undefined && all !== true) {
    throw new DrayError("USAGE", "Cannot choose backups: nothing says which", { hint: "Give --backup NAME, --selector or --all." });
  }
  const parsed = selector === undefined ? undefined : parseLabelSelector(selector);
  const chosen: Backup[] = [];
  for (const name of names.length > 0 ? names : await store.listBackups(signal)) {
    // What this command made holds nothing for it.
    if (names.length === 0 && name.endsWith(IMPORTED_SUFFIX)) continue;
    const backup = await store.getBackup(name, signal);
    if (parsed === undefined || matchesLabels(parsed, backup.metadata.labels)) chosen.push(backup);
  }
  return chosen;
}

/** Imports the volumes of one backup and writes its successor. */
async function importBackup(bucket: BucketImport, store: ArchiveBackupStore, plan: PlannedBackup): Promise<void> {
  const { terminal, options } = bucket;
  const { backup, volumes } = plan;
  const name = backup.metadata.name ?? "";
  const view = new TransferView(terminal, `Importing ${name}`, options.json === true);
  if (plan.importedAs !== undefined) {
    view.summary({ backup: name, importedAs: plan.importedAs, known: true }, `Backup ${name} is backup ${plan.importedAs} already\n`);
    return;
  }
  if (volumes.length === 0) {
    view.summary({ backup: name, volumes: 0 }, `Backup ${name} has no volume that VolSync moved\n`);
    return;
  }
  const imported = [];
  for (const volume of volumes) imported.push(await importVolume(bucket, volume, view));
  const successor = await convertedBackup(store, backup, imported, {
    ...{ name: `${name}${IMPORTED_SUFFIX}`, random: terminal.random, nowMs: terminal.clock.nowMs(), signal: terminal.signal },
    namespace: options.namespace ?? backup.metadata.namespace ?? "velero",
  });
  try {
    await store.putBackup(successor.files, terminal.signal);
  } finally {
    await successor.dispose();
  }
  const problems = imported.reduce((sum, { problemCount }) => sum + problemCount, 0);
  const bytes = imported.reduce((sum, one) => sum + one.bytes, 0);
  view.summary(
    { backup: name, importedAs: `${name}${IMPORTED_SUFFIX}`, volumes: imported.length, bytes, errors: problems },
    `Backup ${name} is backup ${name}${IMPORTED_SUFFIX} now: ${imported.length} volumes, ${formatBytes(bytes)}\n`,
  );
  if (problems > 0) terminal.exitCode = EXIT.partiallyFailed;
}

interface Row {
  readonly backup: string;
  readonly importedAs: string | undefined;
  readonly volume: MovedVolume | undefined;
}

const columns: readonly Column<Row>[] = [
  { header: "BACKUP", value: ({ backup }) => backup },
  { header: "VOLUME", value: ({ volume }) => (volume === undefined ? undefined : `${volume.namespace}/${volume.facts.claimName}`) },
  { header: "SIZE", value: ({ volume }) => (volume?.bytes === undefined ? undefined : formatBytes(volume.bytes)) },
  { header: "FILES", value: ({ volume }) => volume?.files },
  { header: "RESTIC SNAPSHOT", value: ({ volume }) => (volume === undefined ? undefined : (volume.snapshotId?.slice(0, 8) ?? "empty volume")) },
  { header: "IMPORTED", value: ({ importedAs }) => importedAs },
];

function tellPlan(planned: readonly PlannedBackup[], options: BackupImportOptions, terminal: Terminal): void {
  const toDo = planned.filter(({ importedAs, volumes }) => importedAs === undefined && volumes.length > 0);
  const size = sizeOf(toDo.flatMap(({ volumes }) => volumes));
  if (options.json === true) {
    const backups = planned.map(({ backup, volumes, importedAs }) => ({
      name: backup.metadata.name,
      ...(importedAs === undefined ? {} : { importedAs }),
      volumes: volumes.map(({ namespace, facts, snapshotId, files, bytes }) => ({
        namespace,
        claim: facts.claimName,
        resticSnapshot: snapshotId,
        files,
        bytes,
      })),
    }));
    terminal.out(formatJson({ type: "summary", dryRun: true, backups, bytes: size.bytes }));
    return;
  }
  const rows = planned.flatMap(({ backup, volumes, importedAs }): Row[] => {
    const of = { backup: backup.metadata.name ?? "", importedAs };
    return volumes.length === 0 ? [{ ...of, volume: undefined }] : volumes.map((volume) => ({ ...of, volume }));
  });
  terminal.out(formatTable(rows, columns));
  terminal.out(`Would import ${toDo.length} of ${planned.length} backups: ${size.isKnown ? "" : "at least "}${formatBytes(size.bytes)}\n`);
}
