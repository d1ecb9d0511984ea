import { formatBytes } from "@drayage/base";
import { contentProblem, packLengths, type VerifyReport, verifySnapshots } from "@drayage/datapath";
import { formatSnapshotSource, type Repository, type Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart } from "../engine/snapshot-json.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { parseCount } from "../engine/values.ts";
import { howFar, verifyMode } from "../engine/verify-mode.ts";
import { EXIT } from "../exit-codes.ts";
import { keepYoungGenerationSmall } from "../heap-growth.ts";
import { counted } from "../output/counted.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly full?: boolean;
  readonly sample?: string;
  readonly parallel?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--full", "read, authenticate and hash every byte of every snapshot")
    .option("--sample <percent>", "read a part of the files, chosen anew each time: 5% a night is everything in some weeks")
    .option("--parallel <number>", "threads that decode and hash (default: the CPUs, at most 4)")
    .action(async (options: Options) => {
      if (isResticRepository(options, terminal))
        return await (await import("../restic/repository.ts")).verifyResticRepository(options.full === true, options, terminal);
      await withRepository(options, terminal, { readOnly: true, fresh: true }, (repository) => verifyRepository(repository, options, terminal));
    });
}

/** Every content that the index names, then every snapshot. */
async function verifyRepository(repository: Repository, options: Options, terminal: Terminal): Promise<void> {
  const mode = verifyMode(options);
  keepYoungGenerationSmall();
  const view = new TransferView(terminal, "Verifying", options.json === true);
  await view.run(async () => {
    const { signal, clock } = terminal;
    const packs = await packLengths(repository, signal);
    const problems: { path: string; message: string }[] = [];
    let contents = 0;
    let damagedContents = 0;
    for (const info of repository.contents.list()) {
      contents++;
      const problem = contentProblem(info, packs);
      if (problem === undefined) continue;
      damagedContents++;
      if (problems.length < 1000) problems.push({ path: info.packBlobId, message: problem });
    }
    const { snapshots, unreadable } = await repository.snapshots.list({ signal });
    for (const { id, error } of unreadable) problems.push({ path: id, message: error instanceof Error ? error.message : String(error) });
    const report = await verifySnapshots({
      ...{ repository, snapshots, clock, signal, onProgress: view.onProgress },
      ...mode,
      ...(options.parallel === undefined ? {} : { parallel: parseCount("--parallel", options.parallel) }),
    });
    view.clear();
    const count = damagedContents + unreadable.length + report.problemCount;
    view.problems([...problems, ...report.problems], count, "error");
    view.repaired(report.repairedShards);
    if (options.json !== true) for (const line of damagedLines(report, snapshots)) terminal.err(line);
    const { mode: done, files, filesRead, directories, bytes, damaged } = report;
    view.summary(
      {
        repository: repository.description,
        mode: done,
        contents,
        packs: packs.size,
        snapshots: snapshots.length,
        directories,
        files,
        bytes,
        filesRead,
        problems: count,
        damagedSnapshots: damaged,
        repairedShards: report.repairedShards,
      },
      `Verified ${counted(contents, "content")} in ${counted(packs.size, "pack")}, and ${counted(files, "file")} (${formatBytes(bytes)}) of ${counted(snapshots.length, "snapshot")}${howFar(report)}: ${count === 0 ? "no problems" : counted(count, "problem")}\n`,
    );
    if (count > 0) terminal.exitCode = EXIT.failed;
  });
}

function damagedLines({ damaged }: VerifyReport, snapshots: readonly Snapshot[]): string[] {
  const known = new Map(snapshots.map((snapshot) => [snapshot.id, snapshot]));
  return damaged.map(({ snapshotId, problems }) => {
    const snapshot = known.get(snapshotId);
    const what = snapshot === undefined ? "" : ` of ${formatSnapshotSource(snapshot.source)}, ${formatStart(snapshot.startTimeNs)}`;
    return `damaged: snapshot ${snapshotId}${what}: ${counted(problems, "problem")}\n`;
  });
}
