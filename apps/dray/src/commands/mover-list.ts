import { type DataMover, dataMovers } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command).action((options: ClusterOptions) =>
    withCluster(options, terminal, async ({ client }) => {
      const found: DataMover[] = [];
      for await (const mover of client.listAll(dataMovers, { signal: terminal.signal })) found.push(mover);
      const columns = [
        { header: "NAME", value: ({ metadata }: DataMover) => metadata.name },
        { header: "VERSION", value: ({ spec }: DataMover) => spec.version },
        { header: "MOVES", value: ({ spec }: DataMover) => spec.capabilities.kinds.join(",") },
        { header: "DESCRIPTION", value: ({ spec }: DataMover) => spec.description },
      ];
      terminal.out(found.length === 0 ? "No movers are registered beside the built-in one.\n" : formatTable(found, columns));
    }),
  );
}
