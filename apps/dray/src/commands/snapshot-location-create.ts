import { type VolumeSnapshotLocation, volumeSnapshotLocations } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, collect, parsePairs, withCluster, withClusterOptions } from "../cluster/access.ts";
import { metadataFrom } from "../cluster/backup-flags.ts";
import { parseCredential } from "../cluster/location-flags.ts";
import type { Terminal } from "../terminal.ts";
import { explainTaken } from "./backup-create.ts";

interface Options extends ClusterOptions {
  readonly provider?: string;
  readonly config?: string[];
  readonly credential?: string;
  readonly labels?: string[];
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "name of the location")
    .option("--provider <name>", "the provider of the snapshots")
    .option("--config <pairs>", "settings of the provider", collect)
    .option("--credential <secret=key>", "the entry of a Secret with credentials of its own")
    .option("--labels <pairs>", "labels of the location", collect)
    .action((name: string, options: Options) => {
      const location = snapshotLocationFrom(name, options);
      return withCluster(options, terminal, async ({ client, namespace }) => {
        await client
          .create(volumeSnapshotLocations, { ...location, metadata: { ...location.metadata, namespace } }, { signal: terminal.signal })
          .catch((error: unknown) => {
            throw explainTaken(error, "snapshot-location", name);
          });
        terminal.out(`Snapshot volume location "${name}" configured successfully.\n`);
      });
    });
}

/** The location that these flags mean. Throws USAGE. */
export function snapshotLocationFrom(name: string, options: Options): VolumeSnapshotLocation {
  const credential = parseCredential(options.credential);
  if (options.provider === undefined) throw new DrayError("USAGE", `Cannot create snapshot-location "${name}": --provider is required`);
  return {
    apiVersion: "velero.io/v1",
    kind: "VolumeSnapshotLocation",
    metadata: metadataFrom(name, options),
    spec: {
      provider: options.provider,
      ...(options.config === undefined ? {} : { config: parsePairs(options.config, "--config") }),
      ...(credential === undefined ? {} : { credential }),
    },
  };
}
