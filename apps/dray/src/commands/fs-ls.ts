import { findInSnapshot } from "@drayage/datapath";
import { type DirectoryEntry, DirectoryListing, encodeDirectoryEntry, type Repository, type SpecialEntry, textOfByteString } from "@drayage/repo";
import type { Command } from "commander";
import { longLine } from "../engine/entry-lines.ts";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly long?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<place>", "ID:/path in a snapshot")
    .option("-l, --long", "modes, owners, sizes and times as well")
    .action(async (place: string, options: Options) => {
      if (isResticRepository(options, terminal))
        return await (await import("../restic/files.ts")).listResticDirectory(place, options.long === true, options, terminal);
      await withRepository(options, terminal, { readOnly: true }, (repository) => list(repository, place, options, terminal));
    });
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
  const listing = new DirectoryListing(repository.objects, found.objectId, terminal.signal, { aroundBytes: 0 });
  for await (const batch of listing.batches()) for (const entry of batch) print(entry);
  for (const special of listing.extension.special) terminal.out(`${specialLine(special, options)}\n`);
}

/** What Kopia has no type for comes after what it has. */
function specialLine(entry: SpecialEntry, options: Options): string {
  if (options.long === true && options.json !== true) return longLine(entry);
  const name = textOfByteString(entry.name);
  return options.json === true ? JSON.stringify({ name, type: entry.kind, uid: entry.uid, gid: entry.gid, device: entry.device }) : name;
}
