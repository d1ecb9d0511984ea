import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { removePlugin } from "../cluster/server-plugins.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "name of its init container, or its image")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async (access) => {
        terminal.out(`Plug-in ${await removePlugin(access, name, terminal)} removed; the server starts anew without it.\n`);
      }),
    );
}
