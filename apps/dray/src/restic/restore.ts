/** `snapshot restore` and `fs cp` from a restic repository: the same planned restore as from Kopia's. */
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { formatBytes } from "@drayage/base";
import {
  findInResticSnapshot,
  type ResticRef,
  ResticSource,
  type RestoreEntry,
  type RestoreFromOptions,
  type RestoreResult,
  restoreFrom,
} from "@drayage/datapath";
import { textOfByteString } from "@drayage/repo";
import type { ResticRepository, ResticSnapshot } from "@drayage/restic";
import type { RepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { EXIT } from "../exit-codes.ts";
import { counted } from "../output/counted.ts";
import type { Terminal } from "../terminal.ts";
import { warnOfIndex, warnOfLocks, withResticRepository } from "./restic-access.ts";

/** What of the command line goes into the restore. */
export type ResticRestoreSettings = Pick<RestoreFromOptions, "overwrite" | "verify" | "keepGoing" | "sparse" | "parallel" | "cpu" | "memoryBudget">;

export function restoreResticSnapshot(
  place: string,
  target: string,
  settings: ResticRestoreSettings,
  options: RepositoryOptions,
  terminal: Terminal,
): Promise<void> {
  return withPlace(place, options, terminal, async ({ repository, snapshot, entry, isRoot }) => {
    const startedMs = terminal.clock.monotonicMs();
    const view = new TransferView(terminal, "Restoring", options.json === true);
    const { progress, problemCount, warningCount } = await transfer(view, terminal, {
      ...settings,
      source: new ResticSource(repository),
      root: entry,
      target: { kind: "directory", path: resolve(terminal.cwd, target) },
      ...(isRoot ? { keepRootAttributes: true, ...expectedOf(snapshot) } : {}),
    });
    const elapsedMs = terminal.clock.monotonicMs() - startedMs;
    const failed = problemCount === 0 ? "" : `, ${problemCount} could not be restored`;
    view.summary(
      {
        ...{ snapshotID: snapshot.id, target, files: progress.filesDone, bytes: progress.bytesDone, errors: problemCount, warnings: warningCount },
        elapsedMs: Math.round(elapsedMs),
      },
      `Restored ${counted(progress.filesDone, "file")} (${formatBytes(progress.bytesDone)})${failed} to ${target} in ${(elapsedMs / 1000).toFixed(1)} s\n`,
    );
    if (problemCount > 0) terminal.exitCode = EXIT.partiallyFailed;
  });
}

/** As `cp -a` does: into a directory that is there, else under the new name. */
export function copyFromRestic(place: string, target: string, overwrite: boolean, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  return withPlace(place, options, terminal, async ({ repository, snapshot, entry, path, isRoot }) => {
    const absolute = resolve(terminal.cwd, target);
    const intoDirectory = !isRoot && statSync(absolute, { throwIfNoEntry: false })?.isDirectory() === true;
    const view = new TransferView(terminal, "Copying", options.json === true);
    const { progress } = await transfer(view, terminal, {
      source: new ResticSource(repository),
      root: entry,
      target: { kind: "directory", path: intoDirectory ? join(absolute, textOfByteString(entry.name)) : absolute },
      overwrite,
      ...(isRoot ? { keepRootAttributes: true } : {}),
    });
    view.summary(
      { snapshotID: snapshot.id, path, target, files: progress.filesDone, bytes: progress.bytesDone },
      `Copied ${counted(progress.filesDone, "file")} (${formatBytes(progress.bytesDone)}) to ${target}\n`,
    );
  });
}

interface Place {
  readonly repository: ResticRepository;
  readonly snapshot: ResticSnapshot;
  readonly entry: RestoreEntry<ResticRef>;
  readonly path: string;
  readonly isRoot: boolean;
}

async function withPlace(place: string, options: RepositoryOptions, terminal: Terminal, work: (place: Place) => Promise<void>): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  await withResticRepository(options, terminal, async (repository) => {
    const snapshot = await repository.findSnapshot(id, terminal.signal);
    await warnOfLocks(repository, terminal);
    await warnOfIndex(repository, terminal);
    const entry = await findInResticSnapshot(repository, snapshot, path, terminal.signal);
    await work({ repository, snapshot, entry, path, isRoot: entry.name === "" });
  });
}

async function transfer(view: TransferView, { signal, clock }: Terminal, options: RestoreFromOptions): Promise<RestoreResult> {
  const result = await view.run(() => restoreFrom({ ...options, signal, clock, onProgress: view.onProgress }));
  view.problems(result.warnings, result.warningCount, "warning");
  view.problems(result.problems, result.problemCount, "error");
  return result;
}

function expectedOf({ summary }: ResticSnapshot): Pick<RestoreFromOptions, "expected"> {
  return summary === undefined ? {} : { expected: summary };
}
