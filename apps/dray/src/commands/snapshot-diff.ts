import { findInSnapshot } from "@drayage/datapath";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { printDifferences } from "../engine/tree-differences.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<before>", "a snapshot; the beginning of its id is enough, and latest is the newest")
    .argument("<after>", "another one")
    .action((before: string, after: string, options: RepositoryOptions) =>
      withRepository(options, terminal, { readOnly: true }, async (repository) => {
        const { signal } = terminal;
        const [first, second] = [await repository.snapshots.resolve(before, signal), await repository.snapshots.resolve(after, signal)];
        const roots = { before: await findInSnapshot(repository, first, "", signal), after: await findInSnapshot(repository, second, "", signal) };
        await printDifferences(repository, roots, { json: options.json === true, facts: { before: first.id, after: second.id } }, terminal);
      }),
    );
}
