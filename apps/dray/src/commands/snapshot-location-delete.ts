import { volumeSnapshotLocations } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "locations")
    .option("--confirm", "yes, delete")
    .action((names: string[], options: ClusterOptions & { confirm?: boolean }) =>
      withCluster(options, terminal, async ({ client, namespace }) => {
        for (const name of names) await getNamed(client, volumeSnapshotLocations, { namespace, name }, terminal.signal);
        if (options.confirm !== true) throw new DrayError("USAGE", `Cannot delete ${names.map((name) => `"${name}"`).join(", ")} without --confirm`);
        for (const name of names) {
          await client.delete(volumeSnapshotLocations, { namespace, name }, { signal: terminal.signal });
          terminal.out(`Snapshot volume location "${name}" deleted successfully.\n`);
        }
      }),
    );
}
