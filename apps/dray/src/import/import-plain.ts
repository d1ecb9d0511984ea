/** `import volsync` from a restic repository that no backup of Velero's knows: snapshot by snapshot into a repository of Kopia's format. */
import { DrayError, formatBytes } from "@drayage/base";
import { findImported, type ImportResult, importResticSnapshot } from "@drayage/datapath";
import { formatSnapshotSource, parseSnapshotSource, type Repository, type SnapshotSource } from "@drayage/repo";
import type { ResticRepository, ResticSnapshot } from "@drayage/restic";
import { type RepositoryOptions, repositoryPassword, withRepository } from "../engine/repository-access.ts";
import { formatStart } from "../engine/snapshot-json.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { formatJson } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { type Column, formatTable } from "../output/table.ts";
import { warnOfIndex, warnOfLocks } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";
import { chooseSnapshots, type ResticChoice, resticPasswordOf, withResticAt } from "./restic-source.ts";

export interface PlainImportOptions extends ResticChoice, Pick<RepositoryOptions, "passwordFile" | "json"> {
  readonly resticPasswordFile?: string;
  readonly source?: string;
  readonly dryRun?: boolean;
  readonly keepGoing?: boolean;
  readonly verify?: boolean;
}

interface Planned {
  readonly snapshot: ResticSnapshot;
  readonly source: SnapshotSource;
  /** The snapshot that it became already. */
  readonly imported: string | undefined;
}

const columns: readonly Column<Planned>[] = [
  { header: "RESTIC SNAPSHOT", value: ({ snapshot }) => snapshot.id.slice(0, 8) },
  { header: "START (UTC)", value: ({ snapshot }) => formatStart(snapshot.timeNs) },
  { header: "SIZE", value: ({ snapshot }) => (snapshot.summary === undefined ? undefined : formatBytes(snapshot.summary.bytes)) },
  { header: "FILES", value: ({ snapshot }) => snapshot.summary?.files },
  { header: "BECOMES", value: ({ source }) => formatSnapshotSource(source) },
  { header: "IMPORTED", value: ({ imported }) => imported },
];

/** @param from - the URL without `restic+` */
export async function importPlain(from: string, to: string, options: PlainImportOptions, terminal: Terminal): Promise<void> {
  const target: RepositoryOptions = { ...options, repository: to };
  // Who gave one password for the whole command meant both.
  const password = (await resticPasswordOf(options.resticPasswordFile, terminal)) ?? (await repositoryPassword(target, terminal));
  await withResticAt({ url: from }, password, terminal, async (restic) => {
    const snapshots = await chooseSnapshots(restic, options, terminal.signal);
    await withRepository(target, terminal, { readOnly: options.dryRun === true }, async (repository) => {
      const planned: Planned[] = [];
      for (const snapshot of snapshots) {
        const source = sourceFor(snapshot, options.source);
        planned.push({ snapshot, source, imported: (await findImported(repository, source, snapshot, terminal.signal))?.id });
      }
      if (options.dryRun === true) tellPlan(planned, options, terminal);
      else await importAll(restic, repository, planned, options, terminal);
    });
  });
}

function sourceFor({ userName, hostName, paths }: ResticSnapshot, chosen: string | undefined): SnapshotSource {
  if (chosen !== undefined) return parseSnapshotSource(chosen);
  const [path] = paths;
  if (path === undefined || userName === "" || hostName === "") {
    throw new DrayError("USAGE", "Cannot name the imported snapshot: restic's does not say whose it is", { hint: "Give --source user@host:path." });
  }
  return { userName, host: hostName, path };
}

function tellPlan(planned: readonly Planned[], options: PlainImportOptions, terminal: Terminal): void {
  const toDo = planned.filter(({ imported }) => imported === undefined);
  const bytes = toDo.reduce((sum, { snapshot }) => sum + (snapshot.summary?.bytes ?? 0), 0);
  const unknown = toDo.some(({ snapshot }) => snapshot.summary === undefined);
  if (options.json === true) {
    const snapshots = planned.map(({ snapshot, source, imported }) => ({
      resticSnapshot: snapshot.id,
      source: formatSnapshotSource(source),
      ...(snapshot.summary === undefined ? {} : { files: snapshot.summary.files, bytes: snapshot.summary.bytes }),
      ...(imported === undefined ? {} : { snapshotID: imported }),
    }));
    terminal.out(formatJson({ type: "summary", dryRun: true, snapshots, bytes }));
    return;
  }
  terminal.out(formatTable(planned, columns));
  terminal.out(`Would import ${toDo.length} of ${planned.length} snapshots: ${unknown ? "at least " : ""}${formatBytes(bytes)}\n`);
}

async function importAll(
  restic: ResticRepository,
  repository: Repository,
  planned: readonly Planned[],
  options: PlainImportOptions,
  terminal: Terminal,
): Promise<void> {
  await warnOfLocks(restic, terminal);
  await warnOfIndex(restic, terminal);
  for (const { snapshot, source } of planned) {
    const view = new TransferView(terminal, "Importing", options.json === true);
    const result = await view.run(() =>
      importResticSnapshot({
        ...{ from: restic, snapshot, repository, snapshotSource: source },
        ...{ keepGoing: options.keepGoing === true, verify: options.verify !== false },
        ...{ signal: terminal.signal, clock: terminal.clock, onProgress: view.onProgress },
      }),
    );
    tellResult(view, { resticSnapshot: snapshot.id, source: formatSnapshotSource(source) }, result);
    if (result.problemCount > 0) terminal.exitCode = EXIT.partiallyFailed;
  }
}

/** What became of one snapshot. */
export function tellResult(view: TransferView, subject: Readonly<Record<string, string>>, result: ImportResult): void {
  const { snapshotId, isKnown, files, bytes, problemCount, problems, progress, verifiedBytes } = result;
  view.problems(problems, problemCount, "error");
  const left = problemCount === 0 ? "" : `, ${problemCount} could not be read`;
  const done = isKnown
    ? `Restic snapshot ${subject["resticSnapshot"]?.slice(0, 8)} is snapshot ${snapshotId} already`
    : `Imported restic snapshot ${subject["resticSnapshot"]?.slice(0, 8)}: ${files} files (${formatBytes(bytes)})${left}, ${formatBytes(progress.bytesUploaded)} stored, as snapshot ${snapshotId}`;
  const { bytesHashed, bytesUploaded, bytesDeduplicated } = progress;
  view.summary(
    { ...subject, snapshotID: snapshotId, known: isKnown, files, bytes, errors: problemCount, bytesHashed, bytesDeduplicated, bytesUploaded, verifiedBytes },
    `${done}${verifiedBytes === 0 ? "" : `; ${formatBytes(verifiedBytes)} read back`}\n`,
  );
}
