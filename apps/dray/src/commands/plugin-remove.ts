import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { rejectWhileBusy, removePlugin } from "../cluster/server-plugins.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly confirm?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "name of its init container, or its image")
    .option("--confirm", "yes, also while backups or restores run, which end with the server")
    .action((name: string, { confirm, ...options }: Options) =>
      withCluster(options, terminal, async (access) => {
        if (confirm !== true) await rejectWhileBusy(access, `remove plug-in "${name}"`, terminal);
        terminal.out(`Plug-in ${await removePlugin(access, name, terminal)} removed; the server starts anew without it.\n`);
      }),
    );
}
