import { findInSnapshot } from "@drayage/datapath";
import { type DirectoryEntry, DirectoryListing, encodeDirectoryEntry, type Repository, textOfByteString } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatStart, parseSnapshotPath } from "../engine/snapshot-json.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly long?: boolean;
}

const LETTERS = { file: "-", directory: "d", symlink: "l" } as const;

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<place>", "ID:/path in a snapshot")
    .option("-l, --long", "modes, owners, sizes and times as well")
    .action((place: string, options: Options) =>
      withRepository(options, terminal, { readOnly: true }, (repository) => list(repository, place, options, terminal)),
    );
}

/** Prints as it reads: a directory of millions of entries is not gathered first. */
async function list(repository: Repository, place: string, options: Options, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const snapshot = await repository.snapshots.resolve(id, terminal.signal);
  const found = await findInSnapshot(repository, snapshot, path, terminal.signal);
  const print = (entry: DirectoryEntry): void => {
    if (options.json === true) terminal.out(`${encodeDirectoryEntry(entry)}\n`);
    else terminal.out(`${options.long === true ? longLine(entry) : `${textOfByteString(entry.name)}${entry.type === "directory" ? "/" : ""}`}\n`);
  };
  if (found.type !== "directory") return print(found);
  for await (const batch of new DirectoryListing(repository.objects, found.objectId, terminal.signal).batches()) for (const entry of batch) print(entry);
}

function longLine(entry: DirectoryEntry): string {
  const size = entry.summary?.size ?? entry.size;
  return `${LETTERS[entry.type]}${permissions(entry.mode)} ${entry.uid}:${entry.gid} ${String(size).padStart(12)} ${formatStart(entry.mtimeNs)} ${textOfByteString(entry.name)}`;
}

/** `rwsr-xr-t`. */
function permissions(mode: number): string {
  const special = [
    { bit: 0o4000, letter: "s" },
    { bit: 0o2000, letter: "s" },
    { bit: 0o1000, letter: "t" },
  ];
  return special
    .map(({ bit, letter }, index) => {
      const bits = (mode >> (6 - 3 * index)) & 7;
      const executes = (bits & 1) !== 0;
      const last = (mode & bit) === 0 ? (executes ? "x" : "-") : executes ? letter : letter.toUpperCase();
      return `${(bits & 4) === 0 ? "-" : "r"}${(bits & 2) === 0 ? "-" : "w"}${last}`;
    })
    .join("");
}
