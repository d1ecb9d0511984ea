import { resolve } from "node:path";
import { DrayError } from "@drayage/base";
import { type ExpiryDecision, executeExpiry, formatSnapshotSource, parseSnapshotSource, planExpiry, type Repository, type SnapshotSource } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart } from "../engine/snapshot-json.ts";
import { formatJson, gather } from "../engine/values.ts";
import { counted } from "../output/counted.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly source?: readonly string[];
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("[paths...]", "folders of this machine whose snapshots expire")
    .option("--source <user@host:path>", "a source whose snapshots expire; may be repeated", gather)
    .option("--all", "those of every source")
    .option("--dry-run", "say what would expire and why the rest is kept, and change nothing")
    .action((paths: readonly string[], options: Options) =>
      withRepository(options, terminal, { readOnly: options.dryRun === true }, (repository) => expire(repository, paths, options, terminal)),
    );
}

async function expire(repository: Repository, paths: readonly string[], options: Options, terminal: Terminal): Promise<void> {
  const { signal } = terminal;
  const dryRun = options.dryRun === true;
  const decisions: ExpiryDecision[] = [];
  for (const source of sourcesOf(repository, paths, options, terminal)) {
    const plan = await planExpiry(repository, source, signal);
    for (const { id } of plan.unreadable) terminal.err(`dray: warning: snapshot ${id} cannot be read, and is kept\n`);
    decisions.push(...plan.decisions);
  }
  const expired = decisions.filter(({ reasons }) => reasons.length === 0);
  if (!dryRun) await executeExpiry(repository, { decisions, unreadable: [] }, signal);
  if (options.json === true) {
    const shown = decisions.map(({ snapshot, reasons }) => ({ id: snapshot.id, source: snapshot.source, reasons }));
    terminal.out(formatJson({ type: "summary", dryRun, expired: expired.map(({ snapshot }) => snapshot.id), decisions: shown }));
    return;
  }
  for (const { snapshot, reasons } of dryRun ? decisions : expired) {
    const fate = reasons.length > 0 ? `kept: ${reasons.join(" ")}` : dryRun ? "would expire" : "expired";
    terminal.out(`${snapshot.id}  ${formatStart(snapshot.startTimeNs)}  ${formatSnapshotSource(snapshot.source)}  ${fate}\n`);
  }
  const kept = decisions.length - expired.length;
  terminal.out(
    `${dryRun ? "Would expire" : "Expired"} ${counted(expired.length, "snapshot")}, ${kept} ${kept === 1 ? "is" : "are"} kept.${expired.length > 0 && !dryRun ? " Their space comes back with maintenance." : ""}\n`,
  );
}

function sourcesOf(repository: Repository, paths: readonly string[], options: Options, terminal: Terminal): readonly (SnapshotSource | undefined)[] {
  const named = [...paths.map((path) => ({ ...repository.identity, path: resolve(terminal.cwd, path) })), ...(options.source ?? []).map(parseSnapshotSource)];
  if ((options.all === true) === named.length > 0) {
    throw new DrayError(
      "USAGE",
      `Cannot expire snapshots: ${options.all === true ? "--all and single sources exclude each other" : "nothing says of which source"}`,
      {
        hint: "Name folders, --source user@host:/path, or --all. --dry-run shows what would happen.",
      },
    );
  }
  return options.all === true ? [undefined] : named;
}
