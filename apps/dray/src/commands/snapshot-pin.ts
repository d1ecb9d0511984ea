import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson, gather } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<ids...>", "snapshots; the beginning of an id is enough")
    .option("--add <pin>", "a pin: no policy lets the snapshot expire while it has one; may be repeated", gather)
    .option("--remove <pin>", "a pin to take away; may be repeated", gather)
    .action((ids: readonly string[], options: Options) =>
      withRepository(options, terminal, { readOnly: false }, async (repository) => {
        const { signal } = terminal;
        const { add = [], remove = [] } = options;
        if (add.length + remove.length === 0) throw new DrayError("USAGE", "Cannot pin: neither --add nor --remove names a pin");
        const found = [];
        for (const id of ids) found.push(await repository.snapshots.resolve(id, signal));
        const pinned: { before: string; id: string; pins: readonly string[] }[] = [];
        for (const snapshot of found) {
          const pins = [...new Set([...snapshot.pins, ...add])].filter((pin) => !remove.includes(pin)).sort();
          const isChanged = pins.join("\0") !== [...snapshot.pins].sort().join("\0");
          const id = isChanged ? await repository.snapshots.update({ ...snapshot, pins }, signal) : snapshot.id;
          pinned.push({ before: snapshot.id, id, pins });
        }
        await repository.flush(signal);
        // A manifest cannot be changed, only replaced: the snapshot has another id now.
        for (const { before, id, pins } of pinned) {
          if (options.json === true) terminal.out(formatJson({ type: "summary", previousID: before, snapshotID: id, pins }));
          else terminal.out(`${before === id ? `Snapshot ${id}` : `Snapshot ${before} is now ${id}`}: ${pins.length === 0 ? "no pins" : pins.join(", ")}\n`);
        }
      }),
    );
}
