import { DrayError } from "@drayage/base";
import { findInSnapshot } from "@drayage/datapath";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<place>", "ID:/path of a file in a snapshot")
    .action(async (place: string, options: RepositoryOptions) => {
      if (isResticRepository(options, terminal)) return await (await import("../restic/files.ts")).printResticFile(place, options, terminal);
      await withRepository(options, terminal, { readOnly: true }, async (repository) => {
        const { id, path } = parseSnapshotPath(place);
        const { signal } = terminal;
        const snapshot = await repository.snapshots.resolve(id, signal);
        const entry = await findInSnapshot(repository, snapshot, path, signal);
        if (entry.type === "directory") {
          throw new DrayError("USAGE", `Cannot print "${path}": it is a directory`, { hint: `dray fs ls ${id}:/${path} lists it.` });
        }
        for await (const piece of repository.objects.pieces(entry.objectId, { signal })) {
          signal.throwIfAborted();
          await terminal.write(piece);
        }
      });
    });
}
