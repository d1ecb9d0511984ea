import { formatBytes } from "@drayage/base";
import { verifySnapshots } from "@drayage/datapath";
import type { Repository, Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { parseCount } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly full?: boolean;
  readonly parallel?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("[ids...]", "snapshots; all when left out")
    .option("--full", "read and authenticate every byte, not only the index and the packs' lengths")
    .option("--parallel <number>", "files read side by side (default: 4)")
    .action((ids: string[], options: Options) =>
      withRepository(options, terminal, { readOnly: true }, (repository) => verify(repository, ids, options, terminal)),
    );
}

async function verify(repository: Repository, ids: readonly string[], options: Options, terminal: Terminal): Promise<void> {
  const { signal, clock } = terminal;
  const snapshots: Snapshot[] = [];
  for (const id of ids) snapshots.push(await repository.snapshots.resolve(id, signal));
  const listed = ids.length === 0 ? await repository.snapshots.list({ signal }) : { snapshots, unreadable: [] };
  const view = new TransferView(terminal, "Verifying", options.json === true);
  const report = await view.run(() =>
    verifySnapshots({
      ...{ repository, snapshots: listed.snapshots, clock, signal, onProgress: view.onProgress },
      mode: options.full === true ? "full" : "quick",
      ...(options.parallel === undefined ? {} : { parallel: parseCount("--parallel", options.parallel) }),
    }),
  );
  const unreadable = listed.unreadable.map(({ id, error }) => ({ path: id, message: error instanceof Error ? error.message : String(error) }));
  const count = unreadable.length + report.problemCount;
  view.problems([...unreadable, ...report.problems], count, "error");
  view.repaired(report.repairedShards);
  const { mode, files, directories, bytes } = report;
  view.summary(
    { mode, snapshots: listed.snapshots.length, directories, files, bytes, problems: count, repairedShards: report.repairedShards },
    `Verified ${files} files (${formatBytes(bytes)}) of ${listed.snapshots.length} snapshots${mode === "full" ? " to the last byte" : ""}: ${count === 0 ? "no problems" : `${count} problems`}\n`,
  );
  if (count > 0) terminal.exitCode = EXIT.failed;
}
