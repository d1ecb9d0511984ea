import { dataMovers } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "movers")
    .action((names: string[], options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client }) => {
        for (const name of names) await getNamed(client, dataMovers, { name }, terminal.signal);
        for (const name of names) {
          await client.delete(dataMovers, { name }, { signal: terminal.signal });
          terminal.out(`Mover "${name}" is no longer registered. What it moved can be restored and deleted once it is again.\n`);
        }
      }),
    );
}
