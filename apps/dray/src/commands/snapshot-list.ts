import { formatBytes } from "@drayage/base";
import { formatSnapshotSource, parseSnapshotSource, type Repository, type Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart, snapshotJson } from "../engine/snapshot-json.ts";
import { gather, parsePairs } from "../engine/values.ts";
import { type Column, formatTable } from "../output/table.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly source?: string;
  readonly tag?: readonly string[];
  readonly incomplete?: boolean;
}

const columns: readonly Column<Snapshot>[] = [
  { header: "ID", value: ({ id }) => id },
  { header: "START (UTC)", value: ({ startTimeNs }) => formatStart(startTimeNs) },
  { header: "SIZE", value: ({ rootEntry }) => formatBytes(rootEntry?.summary?.size ?? 0) },
  { header: "FILES", value: ({ rootEntry }) => rootEntry?.summary?.files ?? 0 },
  { header: "FAILED", value: ({ stats }) => stats.errorCount },
  { header: "STATE", value: ({ incomplete }) => incomplete ?? "complete" },
  { header: "SOURCE", value: ({ source }) => formatSnapshotSource(source) },
];

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--source <user@host:path>", "only those of this source")
    .option("--tag <name=value>", "only those with this tag; may be repeated", gather)
    .option("--incomplete", "also those that are not complete: checkpoints of uploads that ended early")
    .action(async (options: Options) => {
      if (isResticRepository(options, terminal)) return await (await import("../restic/snapshots.ts")).listResticSnapshots(options, terminal);
      await withRepository(options, terminal, { readOnly: true }, (repository) => listSnapshots(repository, options, terminal));
    });
}

async function listSnapshots(repository: Repository, options: Options, terminal: Terminal): Promise<void> {
  const found = await repository.snapshots.list({
    signal: terminal.signal,
    tags: parsePairs("--tag", options.tag ?? []),
    ...(options.source === undefined ? {} : { source: parseSnapshotSource(options.source) }),
  });
  const snapshots = found.snapshots.filter((snapshot) => options.incomplete === true || snapshot.incomplete === undefined);
  for (const { id, error } of found.unreadable)
    terminal.err(`dray: warning: snapshot ${id} cannot be read: ${error instanceof Error ? error.message : String(error)}\n`);
  if (options.json === true) terminal.out(`${JSON.stringify(snapshots.map(snapshotJson), null, 1)}\n`);
  else if (snapshots.length === 0) terminal.err(`No snapshots in ${repository.description}.\n`);
  else terminal.out(formatTable(snapshots, columns));
}
