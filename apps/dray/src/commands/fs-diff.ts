import { findInSnapshot } from "@drayage/datapath";
import type { DirectoryEntry, Repository } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { printDifferences } from "../engine/tree-differences.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<before>", "ID:/path of a file or a directory in a snapshot")
    .argument("<after>", "another one, of the same snapshot or not")
    .action((before: string, after: string, options: RepositoryOptions) =>
      withRepository(options, terminal, { readOnly: true }, async (repository) => {
        const roots = { before: await entryAt(repository, before, terminal.signal), after: await entryAt(repository, after, terminal.signal) };
        await printDifferences(repository, roots, { json: options.json === true, facts: { before, after } }, terminal);
      }),
    );
}

async function entryAt(repository: Repository, place: string, signal: AbortSignal): Promise<DirectoryEntry> {
  const { id, path } = parseSnapshotPath(place);
  return await findInSnapshot(repository, await repository.snapshots.resolve(id, signal), path, signal);
}
