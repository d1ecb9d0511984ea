import { type BackupStorageLocation, backupStorageLocations, DRAYAGE_ANNOTATIONS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, collect, parsePairs, withCluster, withClusterOptions } from "../cluster/access.ts";
import { metadataFrom } from "../cluster/backup-flags.ts";
import { parseAccessMode, parseCredential, readCaCert } from "../cluster/location-flags.ts";
import { checkDuration } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";
import { explainTaken } from "./backup-create.ts";

export interface LocationOptions extends ClusterOptions {
  readonly provider?: string;
  readonly bucket?: string;
  readonly prefix?: string;
  readonly config?: string[];
  readonly credential?: string;
  readonly repositoryPassword?: string;
  readonly cacert?: string;
  readonly accessMode?: string;
  readonly backupSyncPeriod?: string;
  readonly validationFrequency?: string;
  readonly default?: boolean;
  readonly labels?: string[];
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "name of the location")
    .option("--provider <name>", "aws (any S3), azure, gcp or fs")
    .option("--bucket <name>", "the bucket")
    .option("--prefix <path>", "folder in the bucket")
    .option("--config <pairs>", "region=…,s3Url=…,s3ForcePathStyle=true", collect)
    .option("--credential <secret=key>", "the entry of a Secret with credentials of its own")
    .option("--repository-password <secret=key>", "the entry of a Secret with the password of its repositories, where it is not that of the installation")
    .option("--cacert <file>", "PEM of a CA that signed the store's certificate")
    .option("--access-mode <mode>", "ReadWrite or ReadOnly")
    .option("--backup-sync-period <duration>", "how often its backups are looked for; 0 for never")
    .option("--validation-frequency <duration>", "how often it is looked at; 0 for once")
    .option("--default", "used by backups that name none")
    .option("--labels <pairs>", "labels of the location", collect)
    .action((name: string, options: LocationOptions) => {
      const location = locationFrom(name, options, terminal);
      return withCluster(options, terminal, async ({ client, namespace }) => {
        await client
          .create(backupStorageLocations, { ...location, metadata: { ...location.metadata, namespace } }, { signal: terminal.signal })
          .catch((error: unknown) => {
            throw explainTaken(error, "backup-location", name);
          });
        terminal.out(`Backup storage location "${name}" configured successfully.\n`);
      });
    });
}

/** The location that these flags mean. Throws USAGE, PATH_NOT_FOUND. */
export function locationFrom(name: string, options: LocationOptions, terminal: Pick<Terminal, "cwd">): BackupStorageLocation {
  const { provider, bucket, prefix } = options;
  if (provider === undefined || bucket === undefined)
    throw new DrayError("USAGE", `Cannot create backup-location "${name}": --provider and --bucket are required`);
  const credential = parseCredential(options.credential);
  const password = parseCredential(options.repositoryPassword, "--repository-password");
  const caCert = readCaCert(options.cacert, terminal);
  const accessMode = parseAccessMode(options.accessMode);
  const sync = checkDuration("--backup-sync-period", options.backupSyncPeriod);
  const validation = checkDuration("--validation-frequency", options.validationFrequency);
  return {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: {
      ...metadataFrom(name, options),
      ...(password === undefined ? {} : { annotations: { [DRAYAGE_ANNOTATIONS.repositoryPassword]: `${password.name}/${password.key}` } }),
    },
    spec: {
      provider,
      objectStorage: { bucket, ...(prefix === undefined ? {} : { prefix }), ...(caCert === undefined ? {} : { caCert }) },
      ...(options.config === undefined ? {} : { config: parsePairs(options.config, "--config") }),
      ...(credential === undefined ? {} : { credential }),
      ...(accessMode === undefined ? {} : { accessMode }),
      ...(sync === undefined ? {} : { backupSyncPeriod: sync }),
      ...(validation === undefined ? {} : { validationFrequency: validation }),
      ...(options.default === true ? { default: true } : {}),
    },
  };
}
