import { dataMovers } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { explainParameters } from "../describe/explain-parameters.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the mover, and after dots one of its parameters: NAME, NAME.compression, NAME.disks.name")
    .action((subject: string, options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client }) => {
        // A vendor's name may have dots itself: the longest that is registered is meant.
        const parts = subject.split(".");
        for (let length = parts.length; length > 1; length--) {
          const name = parts.slice(0, length).join(".");
          const found = await client.find(dataMovers, { name }, terminal.signal);
          if (found !== undefined) return terminal.out(`${explainParameters({ name, ...found.spec }, parts.slice(length)).join("\n")}\n`);
        }
        const [name = ""] = parts;
        const { spec } = await getNamed(client, dataMovers, { name }, terminal.signal);
        terminal.out(`${explainParameters({ name, ...spec }, parts.slice(1)).join("\n")}\n`);
      }),
    );
}
