import { formatBytes, isDrayError } from "@drayage/base";
import { formatSnapshotSource, parseSnapshotSource, planExpiry, type Repository, type Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart, hasTags, snapshotJson } from "../engine/snapshot-json.ts";
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
    ...(options.source === undefined ? {} : { source: parseSnapshotSource(options.source) }),
  });
  const tags = parsePairs("--tag", options.tag ?? []);
  const snapshots = found.snapshots.filter((snapshot) => hasTags(snapshot, tags) && (options.incomplete === true || snapshot.incomplete === undefined));
  for (const { id, error } of found.unreadable)
    terminal.err(`dray: warning: snapshot ${id} cannot be read: ${error instanceof Error ? error.message : String(error)}\n`);
  if (options.json === true) {
    const reasons = await reasonsToKeep(repository, options, terminal);
    terminal.out(
      `${JSON.stringify(
        snapshots.map((snapshot) => ({ ...snapshotJson(snapshot), ...reasons(snapshot) })),
        null,
        1,
      )}\n`,
    );
  } else if (snapshots.length === 0) terminal.err(`No snapshots in ${repository.description}.\n`);
  else terminal.out(formatTable(snapshots, columns));
}

/** Why the policy of its source keeps a snapshot, as kopia shows it: among all of the source, whatever is listed. A policy that cannot be read is no reason not to list. */
async function reasonsToKeep(
  repository: Repository,
  options: Options,
  terminal: Terminal,
): Promise<(snapshot: Snapshot) => { retentionReason?: readonly string[] }> {
  const source = options.source === undefined ? undefined : parseSnapshotSource(options.source);
  try {
    const { decisions } = await planExpiry(repository, source, terminal.signal);
    const known = new Map(decisions.map(({ snapshot, reasons }) => [snapshot.id, reasons.filter((reason) => !reason.startsWith("pin:"))]));
    return ({ id }) => {
      const reasons = known.get(id) ?? [];
      return reasons.length === 0 ? {} : { retentionReason: reasons };
    };
  } catch (error) {
    if (!isDrayError(error)) throw error;
    terminal.err(`dray: warning: nobody knows what is kept: ${error.message}\n`);
    return () => ({});
  }
}
