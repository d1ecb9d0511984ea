import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { DrayError, formatBytes } from "@drayage/base";
import { findInSnapshot, restoreSnapshot } from "@drayage/datapath";
import { type Repository, textOfByteString } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { counted } from "../output/counted.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly overwrite?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<place>", "ID:/path in a snapshot: a file, or a directory with all that is in it")
    .argument("<target>", "a new path, or a directory to copy into")
    .option("--overwrite", "replace what has the same name")
    .action(async (place: string, target: string, options: Options) => {
      if (isResticRepository(options, terminal))
        return await (await import("../restic/restore.ts")).copyFromRestic(place, target, options.overwrite === true, options, terminal);
      await withRepository(options, terminal, { readOnly: true }, (repository) => copy(repository, place, target, options, terminal));
    });
}

/** As `cp -a` does: into a directory that is there, else under the new name. */
async function copy(repository: Repository, place: string, target: string, options: Options, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const { signal, clock } = terminal;
  const snapshot = await repository.snapshots.resolve(id, signal);
  const entry = await findInSnapshot(repository, snapshot, path, signal);
  const absolute = resolve(terminal.cwd, target);
  const intoDirectory = statSync(absolute, { throwIfNoEntry: false })?.isDirectory() === true;
  if (entry.type === "symlink")
    throw new DrayError("NOT_SUPPORTED", `Cannot copy "${path}": it is a symbolic link`, { hint: "Copy the directory that it is in." });
  const view = new TransferView(terminal, "Copying", options.json === true);
  const { progress, warnings, warningCount } = await view.run(() =>
    restoreSnapshot({
      ...{ repository, clock, signal, root: entry, onProgress: view.onProgress },
      target: { kind: "directory", path: intoDirectory ? join(absolute, textOfByteString(entry.name)) : absolute },
      overwrite: options.overwrite === true,
    }),
  );
  view.problems(warnings, warningCount, "warning");
  view.summary(
    { snapshotID: snapshot.id, path, target, files: progress.filesDone, bytes: progress.bytesDone },
    `Copied ${counted(progress.filesDone, "file")} (${formatBytes(progress.bytesDone)}) to ${target}\n`,
  );
}
