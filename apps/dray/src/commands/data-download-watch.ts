import { dataDownloads } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { watchMovements } from "../cluster/watch-movements.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("[names...]", "data downloads; all that have not ended when left out")
    .option("--json", "one object a line")
    .action((names: string[], options: ClusterOptions & { json?: boolean }) =>
      withCluster(options, terminal, (access) => watchMovements(access, dataDownloads, { names, json: options.json === true }, terminal)),
    );
}
