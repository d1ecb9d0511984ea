import { formatBytes } from "@drayage/base";
import { formatSnapshotSource, type Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart, snapshotJson, tagName } from "../engine/snapshot-json.ts";
import { counted } from "../output/counted.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<id>", "a snapshot; the beginning of its id is enough, and latest is the newest")
    .action(async (id: string, options: RepositoryOptions) => {
      if (isResticRepository(options, terminal)) return await (await import("../restic/snapshots.ts")).showResticSnapshot(id, options, terminal);
      await withRepository(options, terminal, { readOnly: true }, async (repository) => {
        const snapshot = await repository.snapshots.resolve(id, terminal.signal);
        terminal.out(options.json === true ? `${JSON.stringify(snapshotJson(snapshot), null, 1)}\n` : describe(snapshot));
      });
    });
}

function describe(snapshot: Snapshot): string {
  const { rootEntry, stats, tags, pins } = snapshot;
  const summary = rootEntry?.summary;
  const lines: readonly (readonly [string, string])[] = [
    ["Snapshot", snapshot.id],
    ["Source", formatSnapshotSource(snapshot.source)],
    ...(snapshot.description === "" ? [] : [["Description", snapshot.description] as const]),
    ["State", snapshot.incomplete ?? "complete"],
    ["Start", `${formatStart(snapshot.startTimeNs)} UTC`],
    ["End", `${formatStart(snapshot.endTimeNs)} UTC`],
    ["Root", rootEntry === undefined ? "missing" : rootEntry.objectId],
    [
      "Size",
      summary === undefined
        ? "not stated"
        : `${formatBytes(summary.size)} in ${counted(summary.files, "file")}, ${counted(summary.symlinks, "link")}, ${counted(summary.directories, "directory", "directories")}`,
    ],
    ["Unchanged", `${stats.cachedFiles} of ${counted(stats.fileCount, "file")}`],
    ["Failed", String(stats.errorCount)],
    ...Object.entries(tags).map(([name, value]) => ["Tag", `${tagName(name)}=${value}`] as const),
    ...(pins.length === 0 ? [] : [["Pins", pins.join(", ")] as const]),
    ...(summary?.errors ?? []).map(({ path, error }) => ["Not read", `${path}: ${error}`] as const),
  ];
  return lines.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}\n`).join("");
}
