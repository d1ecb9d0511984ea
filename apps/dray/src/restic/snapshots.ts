/** `snapshot list` and `snapshot show` of a restic repository. */
import { formatBytes } from "@drayage/base";
import type { ResticSnapshot } from "@drayage/restic";
import type { RepositoryOptions } from "../engine/repository-access.ts";
import { formatStart } from "../engine/snapshot-json.ts";
import { counted } from "../output/counted.ts";
import { type Column, formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";
import { withResticRepository } from "./restic-access.ts";

/** Digits of an id that tell snapshots of one repository apart, as restic shows them; enough for commands. */
const SHORT_ID = 8;

const columns: readonly Column<ResticSnapshot>[] = [
  { header: "ID", value: ({ id }) => id.slice(0, SHORT_ID) },
  { header: "START (UTC)", value: ({ timeNs }) => formatStart(timeNs) },
  { header: "SIZE", value: ({ summary }) => (summary === undefined ? undefined : formatBytes(summary.bytes)) },
  { header: "FILES", value: ({ summary }) => summary?.files },
  { header: "TAGS", value: ({ tags }) => tags.join(",") },
  { header: "SOURCE", value: sourceOf },
];

export function listResticSnapshots(options: RepositoryOptions, terminal: Terminal): Promise<void> {
  return withResticRepository(options, terminal, async (repository) => {
    const { snapshots, unreadable } = await repository.listSnapshots(terminal.signal);
    for (const { error } of unreadable) terminal.err(`dray: warning: ${error instanceof Error ? error.message : String(error)}\n`);
    if (options.json === true) terminal.out(`${JSON.stringify(snapshots.map(snapshotJson), null, 1)}\n`);
    else if (snapshots.length === 0) terminal.err(`No snapshots in ${repository.description}.\n`);
    else terminal.out(formatTable(snapshots, columns));
  });
}

export function showResticSnapshot(id: string, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  return withResticRepository(options, terminal, async (repository) => {
    const snapshot = await repository.findSnapshot(id, terminal.signal);
    terminal.out(options.json === true ? `${JSON.stringify(snapshotJson(snapshot), null, 1)}\n` : describe(snapshot));
  });
}

function describe(snapshot: ResticSnapshot): string {
  const { id, timeNs, tree, tags, parent, programVersion, summary } = snapshot;
  const lines: readonly (readonly [string, string])[] = [
    ["Snapshot", id],
    ["Source", sourceOf(snapshot)],
    ["Start", `${formatStart(timeNs)} UTC`],
    ["Root", Buffer.from(tree).toString("hex")],
    ["Size", summary === undefined ? "not stated" : `${formatBytes(summary.bytes)} in ${counted(summary.files, "file")}`],
    ...(parent === "" ? [] : [["Parent", parent] as const]),
    ...(programVersion === "" ? [] : [["Written by", programVersion] as const]),
    ...tags.map((tag) => ["Tag", tag] as const),
  ];
  return lines.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}\n`).join("");
}

/** The members of kopia's shape that restic knows, so that one script reads both. */
function snapshotJson(snapshot: ResticSnapshot): Record<string, unknown> {
  const { id, timeNs, tree, paths, hostName, userName, tags, summary } = snapshot;
  return {
    id,
    source: { host: hostName, userName, path: paths.join(", ") },
    startTime: new Date(Number(timeNs / 1_000_000n)).toISOString(),
    rootEntry: {
      type: "d",
      obj: Buffer.from(tree).toString("hex"),
      ...(summary === undefined ? {} : { summ: { size: summary.bytes, files: summary.files } }),
    },
    ...(tags.length === 0 ? {} : { tags: Object.fromEntries(tags.map((tag) => [tag, ""])) }),
  };
}

function sourceOf({ userName, hostName, paths }: ResticSnapshot): string {
  return `${userName}@${hostName}:${paths.join(", ")}`;
}
