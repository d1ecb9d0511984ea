import { type Schedule, schedules } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { parseCron } from "@drayage/controllers/schedule";
import { type Command, Option } from "commander";
import { type ClusterOptions, collect, parseOptionalBoolean, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type BackupFlags, backupSpecFrom, metadataFrom, withBackupFlags } from "../cluster/backup-flags.ts";
import type { Terminal } from "../terminal.ts";
import { explainTaken } from "./backup-create.ts";

interface Options extends ClusterOptions, BackupFlags {
  readonly schedule?: string;
  readonly labels?: string[];
  readonly annotations?: string[];
  readonly useOwnerReferencesInBackup?: boolean;
  readonly skipImmediately?: boolean;
  readonly paused?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  const boolean = (flag: string, text: string): Option => new Option(`--${flag} [true|false]`, text).preset(true).argParser(parseOptionalBoolean(`--${flag}`));
  withBackupFlags(withClusterOptions(command))
    .argument("<name>", "name of the schedule")
    .option("--schedule <cron>", "when: five cron fields, @daily and the like, or @every 6h; TZ=Area/City before it names a time zone")
    .option("--labels <pairs>", "labels of the schedule, and of its backups", collect)
    .option("--annotations <pairs>", "annotations of the schedule, and of its backups", collect)
    .addOption(boolean("use-owner-references-in-backup", "backups go with their schedule"))
    .addOption(boolean("skip-immediately", "leave out the first time that has come since it was created"))
    .addOption(boolean("paused", "make no backups yet"))
    .action((name: string, options: Options) => {
      const schedule = scheduleFrom(name, options);
      return withCluster(options, terminal, async ({ client, namespace }) => {
        await client.create(schedules, { ...schedule, metadata: { ...schedule.metadata, namespace } }, { signal: terminal.signal }).catch((error: unknown) => {
          throw explainTaken(error, "schedule", name);
        });
        terminal.out(`Schedule "${name}" created successfully.\n`);
      });
    });
}

/** The Schedule that these flags mean. Throws USAGE, also for an expression that the server would refuse. */
export function scheduleFrom(name: string, options: Options): Schedule {
  const { schedule } = options;
  if (schedule === undefined || schedule === "")
    throw new DrayError("USAGE", `Cannot create schedule "${name}": --schedule is required, as "0 3 * * *" or @daily`);
  try {
    parseCron(schedule, "UTC");
  } catch (error) {
    if (!(error instanceof DrayError)) throw error;
    throw new DrayError("USAGE", error.message, { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) });
  }
  return {
    apiVersion: "velero.io/v1",
    kind: "Schedule",
    metadata: metadataFrom(name, options),
    spec: {
      schedule,
      template: backupSpecFrom(options),
      ...(options.useOwnerReferencesInBackup === undefined ? {} : { useOwnerReferencesInBackup: options.useOwnerReferencesInBackup }),
      ...(options.skipImmediately === undefined ? {} : { skipImmediately: options.skipImmediately }),
      ...(options.paused === undefined ? {} : { paused: options.paused }),
    },
  };
}
