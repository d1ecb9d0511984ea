import { DrayError } from "@drayage/base";
import { LATEST } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<ids...>", "snapshots; the beginning of an id is enough")
    .action((ids: string[], options: RepositoryOptions) =>
      withRepository(options, terminal, { readOnly: false }, async (repository) => {
        // All of them are looked up before one is deleted, so that a mistyped id deletes nothing.
        const found: string[] = [];
        if (ids.includes(LATEST)) throw new DrayError("USAGE", `Cannot delete "${LATEST}": which one that is changes`, { hint: "Give its id." });
        for (const id of ids) found.push((await repository.snapshots.resolve(id, terminal.signal)).id);
        for (const id of new Set(found)) await repository.snapshots.delete(id, terminal.signal);
        await repository.flush(terminal.signal);
        if (options.json === true) terminal.out(formatJson({ type: "summary", deleted: found }));
        else terminal.out(`${found.map((id) => `Deleted snapshot ${id}\n`).join("")}Its space comes back with maintenance.\n`);
      }),
    );
}
