import { formatBytes } from "@drayage/base";
import { verifySnapshots } from "@drayage/datapath";
import { prepareNativeInBackground } from "@drayage/kernels";
import type { Repository, Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { parseCount } from "../engine/values.ts";
import { howFar, verifyMode } from "../engine/verify-mode.ts";
import { EXIT } from "../exit-codes.ts";
import { counted } from "../output/counted.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly full?: boolean;
  readonly sample?: string;
  readonly parallel?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("[ids...]", "snapshots; all when left out")
    .option("--full", "read, authenticate and hash every byte, not only look at the index and the packs' lengths")
    .option("--sample <percent>", "read a part of the files, chosen anew each time: 5% a night is everything in some weeks")
    .option("--parallel <number>", "threads that decode and hash (default: the CPUs, at most 4)")
    .action((ids: string[], options: Options) =>
      withRepository(options, terminal, { readOnly: true, fresh: true }, (repository) => verify(repository, ids, options, terminal)),
    );
}

async function verify(repository: Repository, ids: readonly string[], options: Options, terminal: Terminal): Promise<void> {
  prepareNativeInBackground(terminal.env);
  const { signal, clock } = terminal;
  const snapshots: Snapshot[] = [];
  for (const id of ids) snapshots.push(await repository.snapshots.resolve(id, signal));
  const listed = ids.length === 0 ? await repository.snapshots.list({ signal }) : { snapshots, unreadable: [] };
  const view = new TransferView(terminal, "Verifying", options.json === true);
  const report = await view.run(() =>
    verifySnapshots({
      ...{ repository, snapshots: listed.snapshots, clock, signal, onProgress: view.onProgress },
      ...verifyMode(options),
      ...(options.parallel === undefined ? {} : { parallel: parseCount("--parallel", options.parallel) }),
    }),
  );
  const unreadable = listed.unreadable.map(({ id, error }) => ({ path: id, message: error instanceof Error ? error.message : String(error) }));
  const count = unreadable.length + report.problemCount;
  view.problems([...unreadable, ...report.problems], count, "error");
  view.repaired(report.repairedShards);
  const { mode, files, directories, bytes, filesRead } = report;
  view.summary(
    { mode, snapshots: listed.snapshots.length, directories, files, bytes, filesRead, problems: count, repairedShards: report.repairedShards },
    `Verified ${counted(files, "file")} (${formatBytes(bytes)}) of ${counted(listed.snapshots.length, "snapshot")}${howFar(report)}: ${count === 0 ? "no problems" : counted(count, "problem")}\n`,
  );
  if (count > 0) terminal.exitCode = EXIT.failed;
}
