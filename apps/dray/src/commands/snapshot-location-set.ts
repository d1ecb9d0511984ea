import { volumeSnapshotLocations } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseCredential } from "../cluster/location-flags.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly credential?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the location")
    .option("--credential <secret=key>", "the entry of a Secret with credentials of its own")
    .action((name: string, options: Options) => {
      const credential = parseCredential(options.credential);
      if (credential === undefined) throw new DrayError("USAGE", "Cannot set anything: say what with --credential");
      return withCluster(options, terminal, async ({ client, namespace }) => {
        await getNamed(client, volumeSnapshotLocations, { namespace, name }, terminal.signal);
        await client.patch(volumeSnapshotLocations, { namespace, name }, "merge", { spec: { credential } }, { signal: terminal.signal });
        terminal.out(`Snapshot volume location "${name}" configured successfully.\n`);
      });
    });
}
