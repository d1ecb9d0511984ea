import { verifySnapshots } from "@drayage/datapath";
import { formatSnapshotSource, openRepository, planRepair, type RepairPlan, type Repository } from "@drayage/repo";
import type { Command } from "commander";
import { localIdentity, type RepositoryOptions, repositoryPassword, repositoryUrl, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart } from "../engine/snapshot-json.ts";
import { formatJson } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { counted } from "../output/counted.ts";
import { storageFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly from?: string;
  readonly full?: boolean;
  readonly rebuildIndex?: boolean;
  readonly dryRun?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--from <url>", "a copy of the repository (dray repo sync-to), from which is taken what is lost here")
    .option("--full", "read every content of every pack, not only whether packs are there and long enough")
    .option("--rebuild-index", "take up everything that packs say of themselves and no index does: when index blobs are missing")
    .option("--dry-run", "say what is wrong, what would be done and which files stay lost, and change nothing")
    .action((options: Options) => repair(options, terminal));
}

/** Nobody else may work with the repository meanwhile; the help page says so. */
async function repair(options: Options, terminal: Terminal): Promise<void> {
  const { signal, clock, random } = terminal;
  const storage = await storageFromUrl(repositoryUrl(options, terminal), terminal);
  const copy = options.from === undefined ? undefined : await storageFromUrl(options.from, terminal);
  try {
    const password = await repositoryPassword(options, terminal);
    const settings = { password, clock, random, signal, full: options.full === true, ...(copy === undefined ? {} : { copy }) };
    let plan = await planRepair(storage, { ...settings, rebuildIndex: options.rebuildIndex === true });
    const open = (): Promise<Repository> => openRepository(plan.staged, { password, clock, random, signal, readOnly: true, identity: localIdentity() });
    let affected = await affectedFiles(await open(), terminal);
    if (affected.some(({ code }) => code === "REPO_CONTENT_NOT_FOUND") && options.rebuildIndex !== true) {
      // Contents that no index names: an index blob is missing, and packs may say what it said.
      plan = await planRepair(storage, { ...settings, rebuildIndex: true });
      affected = await affectedFiles(await open(), terminal);
    }
    if (options.dryRun !== true) await plan.staged.apply(signal);
    print(plan, affected, options, terminal);
    if (affected.length > 0) terminal.exitCode = EXIT.partiallyFailed;
  } finally {
    await copy?.close();
    await storage.close();
  }
}

interface Affected {
  readonly snapshotId: string;
  readonly source: string;
  readonly start: string;
  /** Below the root of the snapshot. */
  readonly path: string;
  readonly message: string;
  readonly code: string | undefined;
}

/** Every file of every snapshot that the repaired repository cannot give back, by name. */
async function affectedFiles(repository: Repository, terminal: Terminal): Promise<readonly Affected[]> {
  try {
    const { snapshots, unreadable } = await repository.snapshots.list({ signal: terminal.signal });
    const affected: Affected[] = unreadable.map(({ id, error }) => ({
      ...{ snapshotId: id, source: "", start: "", path: "/", code: "REPO_CORRUPT" },
      message: error instanceof Error ? error.message : String(error),
    }));
    for (const snapshot of snapshots) {
      const facts = { snapshotId: snapshot.id, source: formatSnapshotSource(snapshot.source), start: formatStart(snapshot.startTimeNs) };
      await verifySnapshots({
        ...{ repository, snapshots: [snapshot], clock: terminal.clock, signal: terminal.signal },
        onProblem: ({ path, message, code }) => void affected.push({ ...facts, path: path.slice(snapshot.id.length) || "/", message, code }),
      });
    }
    return affected;
  } finally {
    await repository.close();
  }
}

function print(plan: RepairPlan, affected: readonly Affected[], options: Options, terminal: Terminal): void {
  const { findings, recoveredContents, lostContents } = plan;
  const dryRun = options.dryRun === true;
  if (options.json === true) {
    for (const finding of findings) terminal.out(formatJson({ type: "finding", ...finding }));
    for (const { code: _code, ...file } of affected) terminal.out(formatJson({ type: "lost", ...file }));
    terminal.out(formatJson({ type: "summary", dryRun, findings: findings.length, recoveredContents, lostContents, lostFiles: affected.length }));
    return;
  }
  for (const { blob, problem, remedy } of findings) terminal.out(`${blob}: ${problem}; ${remedy}\n`);
  if (recoveredContents > 0) terminal.out(`${recoveredContents} contents are found again by what packs say of themselves\n`);
  for (const { snapshotId, source, start, path, message } of affected)
    terminal.out(`lost: ${path} of snapshot ${snapshotId} (${source}, ${start}): ${message}\n`);
  if (findings.length === 0 && recoveredContents === 0 && lostContents.length === 0) {
    terminal.out(affected.length === 0 ? "Nothing to repair\n" : `Nothing can be repaired here; ${counted(affected.length, "file is", "files are")} lost\n`);
    return;
  }
  const lost =
    affected.length === 0
      ? "no file is lost"
      : `${counted(affected.length, "file is", "files are")} lost; the next snapshot stores what is still there to be read`;
  terminal.out(`${dryRun ? "Would repair" : "Repaired"} the repository: ${lost}\n`);
}
