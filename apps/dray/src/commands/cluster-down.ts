import { clusterDown } from "@drayage/embedded/cluster";
import type { Command } from "commander";
import { clusterFolder } from "../cluster/embedded.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly dir?: string;
  readonly destroy?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option("--dir <folder>", "where the cluster is kept ($XDG_STATE_HOME/drayage/cluster)")
    .option("--destroy", "remove the folder too, with every volume and bucket in it")
    .action(async (options: Options) => {
      const directory = clusterFolder(options.dir, terminal);
      const { processes, containers } = await clusterDown({ directory, clock: terminal.clock, destroy: options.destroy === true });
      terminal.out(
        options.destroy === true
          ? `The cluster in "${directory}" is gone.\n`
          : `The cluster in "${directory}" is down: ${processes} processes and ${containers} containers ended. Its state is kept for the next \`dray cluster up\`.\n`,
      );
    });
}
