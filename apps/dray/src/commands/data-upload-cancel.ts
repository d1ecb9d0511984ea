import { dataUploads } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withClusterOptions } from "../cluster/access.ts";
import { cancelMovements } from "../cluster/data-movement.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "data uploads")
    .action((names: string[], options: ClusterOptions) => cancelMovements(dataUploads, names, options, terminal));
}
