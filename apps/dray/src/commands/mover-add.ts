import { resolve } from "node:path";
import { type DataMover, DRAYAGE_API_VERSION, dataMovers } from "@drayage/api";
import { describeMover } from "@drayage/mover-sdk";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly image?: string;
  readonly path?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<module>", "the file whose default export is the mover")
    .option("--image <name>", "the image that has the file; that of the installation when left out")
    .option("--path <path>", "where the file is in the image; the same place when left out")
    .action((file: string, options: Options) =>
      withCluster(options, terminal, async ({ client }) => {
        const { mover } = await loadMover(resolve(terminal.cwd, file));
        const { name, capabilities, targets, ...description } = describeMover(mover);
        const registered: DataMover = {
          apiVersion: DRAYAGE_API_VERSION,
          kind: "DataMover",
          metadata: { name },
          spec: {
            ...description,
            capabilities: { ...capabilities, kinds: [...capabilities.kinds] },
            targets: [...targets],
            module: options.path ?? resolve(terminal.cwd, file),
            ...(options.image === undefined ? {} : { image: options.image }),
          },
        };
        await client.apply(dataMovers, registered, { fieldManager: "dray-mover", force: true, signal: terminal.signal });
        terminal.out(`Mover "${name}" ${mover.version} is registered.\n`);
      }),
    );
}
